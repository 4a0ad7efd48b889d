"""Pings: when they are sent, what counts as life, and when a peer is given up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio
import pytest
import trio

from tests.support.websocket import CLOSE, CONTINUATION, PING, PONG, TEXT, frame, serving_websockets
from tests.unit.connection.websocket_applications import TICK, Journal, accept, echo, say

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send
    from tests.support.websocket import WebSocketClient

pytestmark = pytest.mark.anyio


def within_a_tick(seconds: float) -> object:
    return pytest.approx(seconds + TICK / 2, abs=TICK / 2 + 1e-6)


async def sleeps(receive: Receive, send: Send) -> None:
    await anyio.sleep(10_000)


busy_or_not = pytest.mark.parametrize("before", [None, sleeps], ids=["receives", "busy"])


async def pinged(client: WebSocketClient) -> tuple[float, bytes]:
    """Wait for a ping: how long it took, and its payload."""
    began = anyio.current_time()
    one = await client.frame()
    assert one.opcode == PING, one
    return anyio.current_time() - began, one.payload


@busy_or_not
async def test_pings_are_sent_at_their_interval_whatever_the_application_does(before: object) -> None:
    async with serving_websockets(Journal(before)) as served:  # type: ignore[arg-type]
        client = await served.open()
        payloads = []
        began = anyio.current_time()
        for _ in range(5):
            _, payload = await pinged(client)
            payloads.append(payload)
            await client.send(frame(PONG, payload))
        assert anyio.current_time() - began == pytest.approx(100, abs=5 * TICK)
    assert len(set(payloads)) == 5


@busy_or_not
async def test_a_peer_that_does_not_answer_is_closed_with_1011(before: object) -> None:
    app = Journal(before)  # type: ignore[arg-type]
    async with serving_websockets(app, ws_ping_interval=5, ws_ping_timeout=3) as served:
        client = await served.open()
        assert (await pinged(client))[0] == within_a_tick(5)
        began = anyio.current_time()
        one = await client.frame()
        assert (one.opcode, one.code, one.reason) == (CLOSE, 1011, "keepalive ping timeout")
        assert anyio.current_time() - began == within_a_tick(3)
        assert await client.is_closed()
        await app.ended.wait()
    assert app.disconnect == (1011, "keepalive ping timeout")


@pytest.mark.parametrize(
    "life",
    [frame(PONG), frame(PONG, b"of another"), frame(PING), frame(TEXT, b"x"), frame(TEXT, b"x" * 100)[:4]],
    ids=["pong", "other pong", "ping", "text", "part of a frame"],
)
@busy_or_not
async def test_whatever_comes_counts_as_life(life: bytes, before: object) -> None:
    async with serving_websockets(Journal(before), ws_ping_interval=5, ws_ping_timeout=3) as served:  # type: ignore[arg-type]
        client = await served.open()
        await pinged(client)
        await anyio.sleep(2)
        await client.send(life)
        one = await client.frame()
        if one.opcode == PONG:
            one = await client.frame()
        assert one.opcode == PING


async def test_a_large_message_that_takes_long_counts_as_life() -> None:
    app = Journal()
    async with serving_websockets(app, ws_ping_interval=5, ws_ping_timeout=3) as served:
        client = await served.open()
        whole = frame(TEXT, b"x" * 100)
        for start in range(len(whole)):
            await client.send(whole[start : start + 1])
            await anyio.sleep(1)
        await client.close()
        await app.ended.wait()
    assert app.contents == ["x" * 100]


async def test_one_ping_missed_and_the_next_one_answered_is_too_late() -> None:
    async with serving_websockets(echo, ws_ping_interval=2, ws_ping_timeout=3) as served:
        client = await served.open()
        await pinged(client)
        await pinged(client)
        began = anyio.current_time()
        assert (await client.frame()).opcode == CLOSE
        assert anyio.current_time() - began <= 1 + 2 * TICK


@pytest.mark.parametrize("interval", [0, None])
async def test_no_interval_means_no_pings(interval: float | None) -> None:
    async with serving_websockets(echo, ws_ping_interval=interval) as served:
        client = await served.open()
        await client.silence(80_000)


@pytest.mark.parametrize("timeout", [0, None])
async def test_no_timeout_means_pings_without_an_end(timeout: float | None) -> None:
    async with serving_websockets(echo, ws_ping_timeout=timeout) as served:
        client = await served.open()
        for _ in range(100):
            await pinged(client)
        await client.text("still")
        assert await client.message() == "still"


async def test_while_the_application_has_stopped_the_reading_nobody_is_pinged_or_given_up() -> None:
    app = Journal(sleeps)
    async with serving_websockets(app, ws_max_queue=2, ws_ping_interval=5, ws_ping_timeout=3) as served:
        client = await served.open()
        await client.send(frame(TEXT, b"x") * 3)
        await client.silence(9_000)
        # Reading goes on after 10,000 seconds, and the timer starts anew.
        assert (await pinged(client))[0] == pytest.approx(1_005, abs=2 * TICK)
        await client.send(frame(PONG))
        await client.close()
        await app.ended.wait()
    assert (app.contents, app.disconnect[0]) == (["x"] * 3, 1000)


async def test_a_ping_that_was_out_when_the_application_stopped_the_reading_is_forgotten() -> None:
    app = Journal(sleeps)
    async with serving_websockets(app, ws_max_queue=2, ws_ping_interval=5, ws_ping_timeout=3) as served:
        client = await served.open()
        await pinged(client)
        await client.send(frame(TEXT, b"x") * 3 + frame(PONG))
        await client.silence(9_000)
        await client.close()
        await app.ended.wait()
    assert app.disconnect[0] == 1000


async def test_an_application_that_holds_up_the_event_loop_costs_no_healthy_peer() -> None:
    """What came meanwhile has to be read before anybody is given up."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await anyio.sleep(7.9)
        if scope["path"] == "/hold":
            hold_up(30)
        await anyio.sleep(1)
        await say(send, "still")

    jumps: list[float] = []

    def hold_up(seconds: float) -> None:
        # The loop's clock has moved on, as it has after a long calculation; the pong came meanwhile.
        jumps.append(seconds)
        move_clock(seconds)
        client.stream.send_nowait(frame(PONG))

    async with serving_websockets(app, ws_ping_interval=5, ws_ping_timeout=3) as served:
        client = await served.open("/hold")
        await pinged(client)
        one = await client.frame()
        while one.opcode == PING:
            one = await client.frame()
        assert (one.opcode, one.payload) == (TEXT, b"still")
    assert jumps == [30]


def move_clock(seconds: float) -> None:
    """Let time pass without a turn of the loop."""
    if trio.lowlevel.in_trio_run():
        trio.lowlevel.current_clock().jump(seconds)  # type: ignore[attr-defined]
    else:
        asyncio.get_running_loop()._jumping.jumped += seconds  # type: ignore[attr-defined]


async def test_a_slow_fragmented_message_does_not_hide_a_dead_peer() -> None:
    async with serving_websockets(echo, ws_ping_interval=5, ws_ping_timeout=3) as served:
        client = await served.open()
        await client.send(frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b", fin=False))
        await pinged(client)
        assert (await client.frame()).code == 1011


async def test_a_writer_that_is_blocked_is_not_pinged_but_watched() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        with pytest.raises(OSError, match="peer"):
            await say(send, b"x" * 10_000)

    async with serving_websockets(app, ws_ping_interval=1, ws_ping_timeout=1, timeout_write=20) as served:
        client = await served.open(capacity=2_000)
        for _ in range(3):
            await anyio.sleep(19)
            # No ping is on the wire, nor was one missed: the peer is alive while it reads.
            assert set(await client.read()) <= set(b"\x82\x7e\x27\x10x")
        await anyio.sleep(21)
        with pytest.raises(anyio.BrokenResourceError):
            await client.read_all()


async def test_idle_websockets_keep_the_watcher_parked_between_pings() -> None:
    looks = 0

    async with serving_websockets(echo) as served:
        for _ in range(3):
            await served.open()
        await anyio.sleep(5)
        service = served.server._stopping._service
        real = service.watcher._expire

        def count(now: float) -> None:
            nonlocal looks
            looks += 1
            real(now)

        service.watcher._expire = count  # type: ignore[method-assign]
        await anyio.sleep(14)
    assert looks == 0
