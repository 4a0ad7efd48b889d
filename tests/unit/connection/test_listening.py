"""An application that waits for a disconnect: until when, and what it never takes with it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.unit.connection.applications import (
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


async def test_who_listened_for_a_while_takes_no_body_from_the_request_behind_it() -> None:
    """The watcher has been asked for the FIN on behalf of the first request, and must forget it with that."""
    data = b"x" * 100_000

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/first":
            await receive()
            with anyio.move_on_after(10.1):
                await receive()
            await reply(send, b"first")
            return
        await anyio.sleep(10)
        await reply(send, b"%d" % len(await read_body(receive)))

    async with serving_http(app) as served:
        client = served.connect(capacity=65_536)
        await client.send(get("/first") + post(b"", length=len(data)))
        await anyio.sleep(1)
        await client.send(data[:50_000])
        await anyio.sleep(1)
        await client.send(data[50_000:])
        assert (await client.response()).body == b"first"
        await client.stream.send_eof()
        assert (await client.response()).body == b"100000"
