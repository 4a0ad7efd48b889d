"""`receive()` of an HTTP/1 exchange: what is ready at once, and who waits for what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.unit.connection.applications import (
    chunked,
    get,
    path,
    post,
    read_body,
    reply,
    serving_http,
)

if TYPE_CHECKING:
    from asgiserve.types import Message, Receive, Scope, Send

pytestmark = pytest.mark.anyio


DISCONNECT = {"type": "http.disconnect"}


async def receive_if_ready(receive: Receive) -> Message | None:
    """What Starlette's `is_disconnected()` does: ask inside a cancelled scope."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        return await receive()
    return None


# --- what is ready ---


async def test_a_request_without_body_has_its_message_ready_in_a_cancelled_scope() -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend([await receive_if_ready(receive), await receive_if_ready(receive)])
        await reply(send)

    async with serving_http(app) as served:
        await served.connect().get()
    assert seen == [{"type": "http.request", "body": b"", "more_body": False}, None]


@pytest.mark.parametrize("wire", [post(b"body"), chunked(b"bo", b"dy")])
async def test_a_body_is_not_taken_in_a_cancelled_scope(wire: bytes) -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(await receive_if_ready(receive))
        seen.append(await read_body(receive))
        await reply(send)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(wire)
        await client.response()
    assert seen == [None, b"body"]


async def test_a_disconnect_is_ready_as_soon_as_the_fin_has_come() -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert await read_body(receive) == b"body"
        seen.append(await receive_if_ready(receive))
        await anyio.sleep(2)
        seen.extend([await receive_if_ready(receive), await receive_if_ready(receive)])
        await reply(send, b"to a half-closed client")

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(post(b"body"))
        await anyio.sleep(1)
        await client.stream.send_eof()
        assert (await client.response()).body == b"to a half-closed client"
    assert seen == [None, DISCONNECT, DISCONNECT]


async def test_a_disconnect_is_ready_also_behind_unread_pipelined_bytes() -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/first":
            await receive()
            await anyio.sleep(2)
            seen.append(await receive_if_ready(receive))
        await path(scope, receive, send)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get("/first"))
        await anyio.sleep(1)
        await client.send(get("/second"))
        await client.stream.send_eof()
        assert [(await client.response()).body for _ in range(2)] == [b"/first", b"/second"]
    assert seen == [DISCONNECT]


async def test_a_loop_over_repeated_disconnects_lets_other_tasks_run() -> None:
    rounds = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal rounds
        await receive()
        assert await receive() == DISCONNECT
        with anyio.move_on_after(0):
            while True:
                rounds += 1
                assert await receive() == DISCONNECT
        await reply(send)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        await client.stream.send_eof()
        assert (await client.response()).status == 200
    assert rounds < 10


async def test_a_loop_over_disconnects_behind_an_unread_body_ends_when_it_is_cancelled() -> None:
    rounds = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal rounds
        await anyio.sleep(1)
        with anyio.CancelScope() as cancelled:
            cancelled.cancel()
            while rounds < 1000:
                rounds += 1
                assert await receive() == DISCONNECT
        await reply(send)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(post(b"body")[:-1])
        await client.stream.send_eof()
        assert (await client.response()).status == 200
    assert rounds < 10


# --- several at once ---


async def test_a_second_receive_waits_for_its_turn_and_none_is_lost() -> None:
    parts = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def one() -> None:
            parts.append((await receive())["body"])

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(one)
        await reply(send)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(post(b"", length=6))
        for part in (b"ab", b"cd", b"ef"):
            await anyio.sleep(1)
            await client.send(part)
        await client.response()
    assert sorted(parts) == [b"ab", b"cd", b"ef"]


async def test_a_cancelled_receive_loses_nothing() -> None:
    seen: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.move_on_after(1) as waiting:
            await receive()
        seen.append(waiting.cancelled_caught)
        seen.append(await read_body(receive))
        await reply(send)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(post(b"", length=4))
        await anyio.sleep(2)
        await client.send(b"body")
        await client.response()
    assert seen == [True, b"body"]


async def test_a_cancelled_receive_gives_its_place_in_the_queue_away() -> None:
    seen: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def impatient() -> None:
            with anyio.move_on_after(1):
                seen.append(await receive())

        async def patient() -> None:
            seen.append(await read_body(receive))

        async with anyio.create_task_group() as group:
            group.start_soon(impatient)
            await anyio.sleep(0.5)
            group.start_soon(impatient)
            await anyio.sleep(0.1)
            group.start_soon(patient)
        await reply(send)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(post(b"", length=4))
        await anyio.sleep(3)
        await client.send(b"body")
        await client.response()
    assert seen == [b"body"]
