"""`send()` of an HTTP/1 exchange: when bytes go out, and which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from tests.unit.connection.applications import (
    Turns,
    body,
    counting,
    get,
    reply,
    serving_http,
    start,
)

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio


HELLO = b"hello, world"


# --- when bytes go out ---


async def test_a_response_of_known_length_is_one_write() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, HELLO)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        wire = await client.read()
    assert wire.startswith(b"HTTP/1.1 200 OK\r\n")
    assert wire.endswith(b"\r\n\r\n" + HELLO)


async def test_a_response_of_unknown_length_shows_its_head_at_once() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, headers=[(b"content-type", b"text/event-stream")])
        await anyio.sleep(10)
        await body(send, b"event", more=True)
        await anyio.sleep(10)
        await body(send)

    async with serving_http(app) as served:
        client = served.connect()
        began = anyio.current_time()
        await client.send(get())
        head = await client.read()
        assert anyio.current_time() == began
        assert head.endswith(b"\r\n\r\n")
        assert b"transfer-encoding: chunked\r\n" in head
        assert await client.read() == b"5\r\nevent\r\n"
        assert anyio.current_time() - began == pytest.approx(10)
        assert await client.read() == b"0\r\n\r\n"


async def test_a_held_head_goes_out_after_a_tick_when_the_application_suspends() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=5)
        await anyio.sleep(10)
        await body(send, b"later")

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        began = anyio.current_time()
        assert (await client.read()).endswith(b"\r\n\r\n")
        assert 0.2 <= anyio.current_time() - began <= 0.5
        assert await client.read() == b"later"


async def test_a_held_head_goes_out_although_the_application_suspends_again_and_again() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=5)
        for _ in range(100):
            await anyio.sleep(0.1)
        await body(send, b"later")

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        began = anyio.current_time()
        assert (await client.read()).endswith(b"\r\n\r\n")
        assert anyio.current_time() - began <= 0.5


async def test_a_held_head_goes_out_also_when_a_child_task_has_started_the_response() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def respond() -> None:
            await anyio.sleep(1)
            await start(send, length=5)
            await anyio.sleep(10)
            await body(send, b"later")

        async with anyio.create_task_group() as group:
            group.start_soon(respond)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        began = anyio.current_time()
        assert (await client.read()).endswith(b"\r\n\r\n")
        assert 1.2 <= anyio.current_time() - began <= 1.5
        assert await client.read() == b"later"


async def test_a_head_whose_body_follows_within_a_tick_is_not_split_off() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=len(HELLO))
        await anyio.sleep(0.1)
        await body(send, HELLO)

    async with serving_http(app) as served:
        client = served.connect()
        for _ in range(3):
            await client.send(get())
            assert (await client.read()).endswith(b"\r\n\r\n" + HELLO)
            await anyio.sleep(0.2)


async def test_an_application_that_only_sends_lets_others_run() -> None:
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        if scope["path"] != "/endless":
            await reply(send)
            return
        await start(send)
        while True:
            await body(send, b"x", more=True)
            sent += 1

    async with serving_http(app) as served:
        endless, other = served.connect(capacity=1 << 20), served.connect()
        await endless.send(get("/endless"))
        assert (await other.get("/")).status == 200
    assert sent < 100


async def test_an_application_that_waits_before_each_part_owes_no_other_turn() -> None:
    turns = Turns()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with counting(turns):
            await start(send)
            for _ in range(80):
                await checkpoint()
                await body(send, b"x", more=True)
        await body(send)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        assert (await client.read_until(b"0\r\n\r\n")).count(b"1\r\nx\r\n") == 80
    assert 79 <= turns.count <= 82


async def test_a_peer_that_does_not_read_stops_the_application() -> None:
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await start(send)
        while True:
            await body(send, b"x" * 1000, more=True)
            sent += 1000

    async with serving_http(app, timeout_write=None) as served:
        client = served.connect(capacity=65_536)
        await client.send(get())
        await anyio.sleep(1000)
        assert 60_000 <= sent <= 131_072


# --- bodies ---


@pytest.mark.parametrize("length", [None, 1_000_003])
async def test_a_large_body_arrives_exactly(length: int | None) -> None:
    data = (bytes(range(251)) * 4000)[:1_000_003]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=length)
        await body(send, data[:400_000], more=True)
        await body(send, data[400_000:])

    async with serving_http(app) as served:
        assert (await served.connect().get()).body == data


async def test_a_large_body_in_one_message_arrives_exactly() -> None:
    data = bytes(range(251)) * 4000

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, data)

    async with serving_http(app) as served:
        client = served.connect()
        for _ in range(2):
            assert (await client.get()).body == data


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_a_body_may_be_any_kind_of_bytes(kind: Any) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=len(HELLO))
        await body(send, kind(HELLO))

    async with serving_http(app) as served:
        assert (await served.connect().get()).body == HELLO


async def test_a_response_to_head_has_fields_and_no_body() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=12)
        await body(send, b"hello, ", more=True)
        await body(send, b"world")

    async with serving_http(app) as served:
        client = served.connect()
        for _ in range(2):
            await client.send(b"HEAD / HTTP/1.1\r\nHost: test\r\n\r\n")
            response = await client.response("HEAD")
            assert (response.status, response.body, response.headers["content-length"]) == (200, b"", "12")


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_body_has_none_whatever_is_sent(status: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=5, status=status)
        await body(send, b"hello")

    async with serving_http(app) as served:
        client = served.connect()
        for _ in range(2):
            await client.send(get())
            wire = await client.read()
            assert wire.startswith(b"HTTP/1.1 %d " % status)
            assert wire.endswith(b"\r\n\r\n")
            assert b"transfer-encoding" not in wire
            assert (b"content-length" in wire) == (status == 304)


async def test_what_is_sent_after_the_last_body_is_ignored() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, HELLO)
        await body(send, b"more")
        await start(send, status=500)
        await send({"type": "http.response.trailers", "headers": []})

    async with serving_http(app) as served:
        client = served.connect()
        for _ in range(2):
            response = await client.get()
            assert (response.status, response.body) == (200, HELLO)


async def test_two_tasks_that_send_at_once_do_not_mix_their_bytes() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        async with anyio.create_task_group() as group:
            for letter in b"abc":
                group.start_soon(body_of, send, bytes([letter]) * 100_000)
        await body(send)

    async def body_of(send: Send, data: bytes) -> None:
        await body(send, data, more=True)

    async with serving_http(app) as served:
        data = (await served.connect().get()).body
    parts = [data[:100_000], data[100_000:200_000], data[200_000:]]
    assert sorted(parts) == [b"a" * 100_000, b"b" * 100_000, b"c" * 100_000]
