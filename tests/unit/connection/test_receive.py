"""`receive()` of an HTTP/1 exchange: what is ready at once, who waits for what, and how every wait ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.unit.connection.applications import (
    body,
    chunked,
    get,
    path,
    post,
    read_body,
    reply,
    serving_http,
    start,
)

if TYPE_CHECKING:
    from asgiserve.types import Message, Receive, Scope, Send

pytestmark = pytest.mark.anyio

DISCONNECT = {"type": "http.disconnect"}


async def receive_if_ready(receive: Receive) -> Message | None:
    """What Starlette's `is_disconnected()` does: ask inside a cancelled scope."""
    message = None
    with anyio.CancelScope() as scope:
        scope.cancel()
        message = await receive()
    return message


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
    seen = []

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


# --- the end of the exchange ---


async def test_a_receive_in_a_child_task_is_woken_when_the_response_is_complete() -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def listen() -> None:
            seen.append(await receive())

        if scope["path"] == "/first":
            await receive()
            async with anyio.create_task_group() as group:
                group.start_soon(listen)
                await anyio.sleep(1)
                await reply(send, b"/first")
            return
        await path(scope, receive, send)

    async with serving_http(app) as served:
        client = served.connect()
        assert (await client.get("/first")).body == b"/first"
        assert (await client.get("/second")).body == b"/second"
        await anyio.sleep(1)
        assert seen == [DISCONNECT]


async def test_a_receive_of_the_exchange_before_never_takes_the_next_request() -> None:
    """Three receives wait when the exchange ends; all of them end, and the next body arrives whole."""
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def listen() -> None:
            seen.append(await receive())

        if scope["path"] == "/first":
            await receive()
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(listen)
                await anyio.sleep(1)
                await reply(send)
            return
        await reply(send, await read_body(receive))

    async with serving_http(app) as served:
        client = served.connect()
        await client.get("/first")
        await client.send(post(b"whole", target="/second"))
        assert (await client.response()).body == b"whole"
        await anyio.sleep(1)
        assert seen == [DISCONNECT] * 3


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_receive_of_an_orphan_task_is_woken_when_the_application_has_returned() -> None:
    seen: list[object] = []
    tasks = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def listen() -> None:
            seen.append(await receive())
            await send({"type": "http.response.body", "body": b"late"})
            seen.append(await receive())

        if scope["path"] == "/first":
            await receive()
            tasks.append(asyncio.create_task(listen()))
            await anyio.sleep(1)
            await reply(send, b"/first")
            return
        await path(scope, receive, send)

    async with serving_http(app) as served:
        client = served.connect()
        assert (await client.get("/first")).body == b"/first"
        await tasks[0]
        assert seen == [DISCONNECT, DISCONNECT]
        assert (await client.get("/second")).body == b"/second"


async def test_after_its_exchange_a_receive_says_disconnect_and_reads_nothing() -> None:
    kept: list[Receive] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        kept.append(receive)
        if scope["path"] == "/second":
            await anyio.sleep(1)
            assert await kept[0]() == DISCONNECT
            assert await kept[0]() == DISCONNECT
        await reply(send, await read_body(receive))

    async with serving_http(app) as served:
        client = served.connect()
        await client.get("/first")
        await client.send(post(b"mine", target="/second"))
        assert (await client.response()).body == b"mine"


async def test_after_a_complete_response_receive_says_disconnect_even_with_a_body_unread() -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send)
        seen.append(await receive())

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(post(b"unread"))
        await client.response()
        await anyio.sleep(1)
    assert seen == [DISCONNECT]


# --- pipelined bytes while an application listens ---


async def test_pipelined_bytes_that_came_while_listening_are_the_next_requests() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        with anyio.move_on_after(5):
            await receive()
        await path(scope, receive, send)

    async with serving_http(app) as served:
        client = served.connect()
        for number in range(5):
            await client.send(get(f"/{number}"))
            await anyio.sleep(0.5)
        assert [(await client.response()).body for _ in range(5)] == [b"/%d" % n for n in range(5)]


async def test_too_many_pipelined_bytes_stop_the_reading() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await receive()

    sent = 0
    async with serving_http(app) as served:
        client = served.connect(capacity=65_536)
        await client.send(get())
        with anyio.move_on_after(1000):
            while True:
                await client.send(b"x" * 1024)
                sent += 1024
    assert 65_536 <= sent <= 4 * 65_536


async def test_a_fin_is_noticed_within_a_tick_although_the_reading_has_stopped() -> None:
    seen: list[tuple[Message, float]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        seen.append((await receive(), anyio.current_time()))
        await reply(send, b"ok")

    async with serving_http(app) as served:
        client = served.connect(capacity=65_536)
        await client.send(get())
        await anyio.sleep(1)
        for _ in range(6):
            await client.send(b"x" * 16_384)
        await anyio.sleep(100)
        assert seen == []
        await client.stream.send_eof()
        began = anyio.current_time()
        assert (await client.response()).body == b"ok"
    ((message, when),) = seen
    assert message == DISCONNECT
    assert when - began <= 0.25


async def test_a_wait_with_too_many_pipelined_bytes_ends_with_the_exchange() -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def listen() -> None:
            seen.append(await receive())

        await receive()
        if scope["path"] != "/first":
            await reply(send, b"next")
            return
        async with anyio.create_task_group() as group:
            group.start_soon(listen)
            await anyio.sleep(10)
            await reply(send, b"first")

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get("/first"))
        await anyio.sleep(1)
        await client.send(get("/next", "A: " + "a" * 30_000) * 3)
        assert [(await client.response()).body for _ in range(4)] == [b"first", b"next", b"next", b"next"]
        assert seen == [DISCONNECT]
