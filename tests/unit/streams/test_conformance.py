"""What every stream promises about its bytes and their end, on every kind of stream and every backend.

The promises about tasks that wait are in `test_conformance_waiting`, those about closing and attributes in
`test_conformance_closing`.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import BrokenResourceError, BusyResourceError, ClosedResourceError, EndOfStream, WouldBlock

from tests.unit.streams.steps import (
    PATTERN,
    bounded,
    interrupted_receive,
    receive_exactly,
    receive_to_end,
    start,
    until,
)

if TYPE_CHECKING:
    from tests.unit.streams.conftest import Kind, Pair

pytestmark = pytest.mark.anyio


# --- bytes ------------------------------------------------------------------------------------------------


@bounded
async def test_bytes_arrive_both_ways(pair: Pair) -> None:
    ours, peer = pair
    await ours.send(b"from us")
    await peer.send(memoryview(b"from the peer"))
    assert await receive_exactly(peer, 7) == b"from us"
    assert await receive_exactly(ours, 13) == b"from the peer"


@bounded
async def test_receive_returns_at_most_max_bytes(pair: Pair) -> None:
    ours, peer = pair
    await peer.send(b"abcdefg")
    parts = []
    while sum(map(len, parts)) < 7:
        parts.append(await ours.receive(3))
    assert b"".join(parts) == b"abcdefg"
    assert all(0 < len(part) <= 3 for part in parts)


@bounded
async def test_large_sends_arrive_unchanged_in_both_directions_at_once(pair: Pair) -> None:
    ours, peer = pair
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ours.send, PATTERN)
        tasks.start_soon(peer.send, PATTERN[::-1])
        there = await start(tasks, lambda: receive_exactly(peer, len(PATTERN)))
        back = await receive_exactly(ours, len(PATTERN))
    assert there.value == PATTERN
    assert back == PATTERN[::-1]


@pytest.mark.parametrize(
    "buffers",
    [
        [],
        [b"", b""],
        [b"head", b"", b"body"],
        [b"head", PATTERN],
        [PATTERN, b"", b"tail", PATTERN[:70_000], b"x"],
        [bytes([number % 256]) * (number % 9) for number in range(20_000)],
    ],
    ids=["none", "empty", "small", "small-large", "mixed", "many"],
)
@bounded
async def test_send_buffers_sends_the_same_bytes_as_one_send(pair: Pair, buffers: list[bytes]) -> None:
    ours, peer = pair
    expected = b"".join(buffers)

    async def send() -> None:
        await ours.send_buffers(buffers)
        await ours.send_eof()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        assert await receive_to_end(peer) == expected


@bounded
async def test_sending_nothing_does_nothing(pair: Pair) -> None:
    ours, peer = pair
    await ours.send(b"")
    await ours.send(b"something")
    assert await peer.receive() == b"something"


@bounded
async def test_ready_bytes_are_returned_in_a_cancelled_scope(pair: Pair) -> None:
    ours, peer = pair
    await peer.send(b"ab")
    assert await ours.receive(1) == b"a"
    with anyio.CancelScope() as cancel_scope:
        cancel_scope.cancel()
        assert await ours.receive(1) == b"b"
    assert not cancel_scope.cancelled_caught


@bounded
async def test_bytes_that_came_since_the_last_receive_are_returned_in_a_cancelled_scope(pair: Pair) -> None:
    ours, peer = pair
    await peer.send(b"ready")
    for _ in range(3):
        await anyio.lowlevel.checkpoint()  # the event loop looks at its sockets
    with anyio.CancelScope() as cancel_scope:
        cancel_scope.cancel()
        assert await ours.receive() == b"ready"
    assert not cancel_scope.cancelled_caught


# --- receive_nowait ---------------------------------------------------------------------------------------


@bounded
async def test_receive_nowait_returns_what_has_arrived_and_never_waits(pair: Pair) -> None:
    ours, peer = pair
    with pytest.raises(WouldBlock):
        ours.receive_nowait()
    await peer.send(b"first")
    assert await receive_exactly(ours, 1) == b"f"
    await peer.send(b"second")
    received = bytearray()

    def all_received() -> bool:
        with contextlib.suppress(WouldBlock):
            received.extend(ours.receive_nowait())
        return len(received) >= len(b"irstsecond")

    await until(all_received)
    assert received == b"irstsecond"
    await peer.send(b"third")
    assert await ours.receive() == b"third"


@bounded
async def test_receive_nowait_meets_the_end_of_the_stream(pair: Pair) -> None:
    ours, peer = pair
    await peer.send_eof()
    await until(ours.peer_closed)
    for _ in range(2):
        with pytest.raises(EndOfStream):
            ours.receive_nowait()
    with pytest.raises(EndOfStream):
        await ours.receive()


@bounded
async def test_receive_nowait_meets_a_reset(pair: Pair, kind: Kind) -> None:
    ours, peer = pair
    peer.abort()
    await until(ours.peer_closed)
    with pytest.raises(BrokenResourceError if kind.knows_resets else EndOfStream):
        ours.receive_nowait()


@bounded
async def test_receive_nowait_is_refused_while_another_task_receives_and_after_closing(pair: Pair) -> None:
    ours, _ = pair
    async with anyio.create_task_group() as tasks:
        await start(tasks, ours.receive)
        with pytest.raises(BusyResourceError):
            ours.receive_nowait()
        tasks.cancel_scope.cancel()
    await ours.aclose()
    with pytest.raises(ClosedResourceError):
        ours.receive_nowait()


@bounded
async def test_receive_nowait_makes_room_for_more(pair: Pair) -> None:
    ours, peer = pair
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(peer.send, PATTERN)
        received = bytearray()
        while len(received) < len(PATTERN):
            try:
                received += ours.receive_nowait()
            except WouldBlock:
                received += await ours.receive()
    assert received == PATTERN


# --- the end of a side ------------------------------------------------------------------------------------


@bounded
async def test_end_of_stream_follows_the_last_byte_and_repeats(pair: Pair) -> None:
    ours, peer = pair
    await peer.send(b"last")
    await peer.send_eof()
    assert await receive_exactly(ours, 4) == b"last"
    for _ in range(3):
        with pytest.raises(EndOfStream):
            await ours.receive()


@bounded
async def test_end_of_stream_wakes_a_waiting_receiver(pair: Pair) -> None:
    ours, peer = pair
    async with anyio.create_task_group() as tasks:
        receiving = await start(tasks, ours.receive)
        await peer.send_eof()
        await receiving.wait()
    assert isinstance(receiving.error, EndOfStream)


@bounded
async def test_close_by_the_peer_is_the_end_of_the_stream(pair: Pair) -> None:
    ours, peer = pair
    await peer.send(b"last")
    await peer.aclose()
    assert await receive_exactly(ours, 4) == b"last"
    with pytest.raises(EndOfStream):
        await ours.receive()


@bounded
async def test_either_side_goes_on_after_the_other_has_ended(pair: Pair) -> None:
    ours, peer = pair
    await peer.send_eof()
    with pytest.raises(EndOfStream):
        await ours.receive()
    await ours.send(b"response")
    await ours.send_eof()
    assert await receive_exactly(peer, 8) == b"response"
    with pytest.raises(EndOfStream):
        await peer.receive()


@bounded
async def test_bytes_that_arrived_before_our_send_eof_are_still_received(pair: Pair) -> None:
    ours, peer = pair
    await peer.send(b"first")
    assert await ours.receive(1) == b"f"
    await ours.send_eof()
    assert await receive_exactly(ours, 4) == b"irst"
    await peer.send(b"second")
    assert await receive_exactly(ours, 6) == b"second"


@bounded
async def test_send_eof_may_be_repeated_and_refuses_further_sends(pair: Pair) -> None:
    ours, _ = pair
    await ours.send_eof()
    await ours.send_eof()
    with pytest.raises(ClosedResourceError):
        await ours.send(b"late")
    with pytest.raises(ClosedResourceError):
        await ours.send_buffers([b"late", PATTERN])


# --- a lost connection ------------------------------------------------------------------------------------


@bounded
async def test_reset_by_the_peer_is_a_broken_resource_with_its_cause(pair: Pair, kind: Kind) -> None:
    ours, peer = pair
    async with anyio.create_task_group() as tasks:
        receiving = await start(tasks, ours.receive)
        peer.abort()
        await receiving.wait()
    if not kind.knows_resets:
        assert isinstance(receiving.error, EndOfStream)
        return
    assert isinstance(receiving.error, BrokenResourceError)
    assert isinstance(receiving.error.__cause__, OSError)
    for call in (ours.receive, functools.partial(ours.send, b"late"), ours.send_eof):
        with pytest.raises(BrokenResourceError) as caught:
            await call()
        assert isinstance(caught.value.__cause__, OSError)


@bounded
async def test_bytes_that_arrived_before_a_reset_are_still_received(pair: Pair, kind: Kind) -> None:
    ours, peer = pair
    await peer.send(b"last")
    peer.abort()
    await until(ours.peer_closed)
    assert await receive_exactly(ours, 4) == b"last"
    with pytest.raises(BrokenResourceError if kind.knows_resets else EndOfStream):
        await ours.receive()


@pytest.mark.parametrize("warm", [False, True], ids=["at once", "after waiting"])
@bounded
async def test_bytes_that_arrived_before_a_send_failed_are_still_received(pair: Pair, warm: bool) -> None:
    ours, peer = pair
    if warm:  # on asyncio a transport reads from now on
        await interrupted_receive(ours)
    await ours.send(b"never read")  # so a socket of the peer's resets when it is closed
    await peer.send(b"last words")
    await peer.aclose()

    def send_often() -> None:  # without a turn of the loop, in which it would read
        for _ in range(1000):
            ours.send_nowait(b"x")

    with pytest.raises(BrokenResourceError):
        send_often()
    assert await receive_exactly(ours, 10) == b"last words"
    for _ in range(2):
        with pytest.raises((BrokenResourceError, EndOfStream)):
            await ours.receive()


@bounded
async def test_sending_to_a_peer_that_has_closed_soon_fails(pair: Pair) -> None:
    ours, peer = pair
    await peer.aclose()

    async def send_often() -> None:
        # The first may succeed: only the answer to it tells that nobody is there.
        for _ in range(100):
            await ours.send(b"x" * 1000)
            await anyio.lowlevel.checkpoint()

    with pytest.raises(BrokenResourceError) as caught:
        await send_often()
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(BrokenResourceError):
        await ours.send_buffers([b"head", PATTERN])


@bounded
async def test_reset_by_the_peer_wakes_a_waiting_sender(pair: Pair) -> None:
    ours, peer = pair
    async with anyio.create_task_group() as tasks:
        sending = await start(tasks, lambda: ours.send(PATTERN))
        assert sending.blocked
        peer.abort()
        await sending.wait()
    assert isinstance(sending.error, BrokenResourceError)
