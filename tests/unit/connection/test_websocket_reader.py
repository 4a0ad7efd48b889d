"""Somebody reads a WebSocket at any time, whatever its application does: the reader on demand, and who takes its place.

A ping that is answered shows that somebody reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asgiserve.errors import ClientDisconnected
from tests.support.websocket import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    Frame,
    close_frame,
    frame,
    handshake,
    serving_websockets,
)
from tests.unit.connection.websocket_applications import TICK, accept, hear, say

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asgiserve.types import Receive, Scope, Send
    from tests.support.websocket import WebSocketClient

    Part = Callable[[Receive, Send], Awaitable[None]]

pytestmark = pytest.mark.anyio


def in_a_child(part: Part) -> Any:
    """An application whose own coroutine waits for one child task, which does everything."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(part, receive, send)

    return app


def by_itself(part: Part) -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await part(receive, send)

    return app


both_ways = pytest.mark.parametrize("run_by", [by_itself, in_a_child])


async def is_read(client: WebSocketClient) -> None:
    began = anyio.current_time()
    await client.send(frame(PING, b"?"))
    assert await client.frame() == Frame(PONG, b"?")
    assert anyio.current_time() - began <= 2 * TICK


# --- whenever the application does not read ---


@both_ways
async def test_somebody_reads_from_the_acceptance_on(run_by: Any) -> None:
    async def part(receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await anyio.sleep(1000)

    async with serving_websockets(run_by(part), ws_ping_interval=0) as served:
        client = await served.open()
        await is_read(client)
        await anyio.sleep(5)
        await is_read(client)


@both_ways
async def test_somebody_reads_when_the_application_has_received_and_goes_away(run_by: Any) -> None:
    async def part(receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await hear(receive)
        await anyio.sleep(1000)

    async with serving_websockets(run_by(part), ws_ping_interval=0) as served:
        client = await served.open()
        await anyio.sleep(5)
        await client.text("now")
        await anyio.sleep(5)
        await is_read(client)


@pytest.mark.parametrize("patience", [0, 1])
@both_ways
async def test_somebody_reads_when_a_receive_was_cancelled(run_by: Any, patience: float) -> None:
    async def part(receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await anyio.sleep(5)
        with anyio.move_on_after(patience):
            await receive()
        await anyio.sleep(1000)

    async with serving_websockets(run_by(part), ws_ping_interval=0) as served:
        client = await served.open()
        await anyio.sleep(10)
        await is_read(client)


@both_ways
async def test_somebody_reads_when_the_inbox_was_full_and_has_room_again(run_by: Any) -> None:
    async def part(receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await anyio.sleep(5)
        await hear(receive)
        await anyio.sleep(1000)

    async with serving_websockets(run_by(part), ws_max_queue=2, ws_ping_interval=0) as served:
        client = await served.open()
        await client.send(frame(TEXT, b"x") * 2 + frame(PING, b"late"))
        await client.silence(4.5)
        assert await client.frame() == Frame(PONG, b"late")


@both_ways
async def test_a_message_that_was_kept_is_received_without_waiting(run_by: Any) -> None:
    received: list[float] = []

    async def part(receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await anyio.sleep(5)
        for _ in range(2):
            began = anyio.current_time()
            await hear(receive)
            received.append(anyio.current_time() - began)

    async with serving_websockets(run_by(part)) as served:
        client = await served.open()
        await client.text("kept")
        await anyio.sleep(7)
        await client.text("read")
        assert (await client.frame()).opcode == CLOSE
    assert received == [0, pytest.approx(2)]


@pytest.mark.parametrize("room", [0, 1], ids=["full before", "full afterwards"])
@both_ways
async def test_a_lost_peer_is_found_although_a_full_inbox_has_stopped_the_reading(run_by: Any, room: int) -> None:
    raised: list[BaseException] = []

    async def part(receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await anyio.sleep(5)
        for _ in range(room):
            await hear(receive)
        try:
            await say(send, "x")
        except ClientDisconnected as error:
            raised.append(error)
        await anyio.sleep(1000)

    async with serving_websockets(run_by(part), ws_max_queue=2, ws_ping_interval=0, limit_connections=1) as served:
        client = await served.open()
        await client.send(frame(TEXT, b"x") * 3)
        await anyio.sleep(1)
        client.stream.abort()
        began = anyio.current_time()
        await served.open()
        assert anyio.current_time() - began <= 5
    assert len(raised) == 1


# --- before the acceptance ---


async def test_bytes_that_arrive_in_the_moment_of_the_acceptance_are_not_lost() -> None:
    for _ in range(10):
        received: list[str | bytes] = []
        go_on = anyio.Event()

        async def app(
            scope: Scope,
            receive: Receive,
            send: Send,
            received: list[str | bytes] = received,
            go_on: anyio.Event = go_on,
        ) -> None:
            await receive()

            async def listen() -> None:
                received.append(await hear(receive))

            async with anyio.create_task_group() as group:
                group.start_soon(listen)
                await go_on.wait()
                await send({"type": "websocket.accept"})

        async with serving_websockets(app) as served:
            client = served.connect()
            await client.send(handshake())
            await anyio.sleep(1)
            go_on.set()
            client.stream.send_nowait(frame(TEXT, b"now"))
            await client.read_until(b"\r\n\r\n")
            assert (await client.frame()).opcode == CLOSE
        assert received == ["now"]


async def test_a_receive_that_waits_behind_too_many_early_bytes_goes_on_with_the_acceptance() -> None:
    received: list[str | bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

        async def listen() -> None:
            received.extend([await hear(receive) for _ in range(80)])
            await say(send, "all")

        async with anyio.create_task_group() as group:
            group.start_soon(listen)
            await anyio.sleep(5)
            await send({"type": "websocket.accept"})

    async with serving_websockets(app) as served:
        client = served.connect(capacity=1_000_000)
        await client.send(handshake() + frame(TEXT, b"x" * 1000) * 80)
        await client.read_until(b"\r\n\r\n")
        assert await client.message() == "all"
    assert received == ["x" * 1000] * 80


# --- control frames that cannot go at once ---


async def test_a_ping_that_fits_only_in_part_is_completed_and_blocks_nobody_for_ever() -> None:
    async def part(receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await hear(receive)
        await say(send, b"x" * 97)
        await anyio.sleep(10)
        await say(send, "after")
        await receive()

    async with serving_websockets(by_itself(part), ws_ping_interval=5, ws_ping_timeout=0) as served:
        client = await served.open(capacity=100)
        await client.text("now")
        await anyio.sleep(7)
        assert await client.message() == b"x" * 97
        assert (await client.frame()).opcode == PING
        after = [await client.frame() for _ in range(2)]
        assert [one.payload for one in after if one.opcode == TEXT] == [b"after"]


async def test_nothing_comes_behind_our_close() -> None:
    async def part(receive: Receive, send: Send) -> None:
        await accept(receive, send)
        async with anyio.create_task_group() as group:
            group.start_soon(say, send, b"x" * 200_000)
            await anyio.sleep(2)
            await send({"type": "websocket.close"})

    async with serving_websockets(by_itself(part)) as served:
        client = await served.open()
        for payload in (b"1", b"2", b"3"):
            await anyio.sleep(0.4)
            await client.send(frame(PING, payload))
        await anyio.sleep(2)
        assert await client.message() == b"x" * 200_000
        while (one := await client.frame()).opcode == PONG:
            pass
        assert one.opcode == CLOSE
        await client.send(close_frame())
        assert await client.is_closed()
