"""What every stream promises, tested on every kind of stream and on every backend."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import socket
import sys
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import BrokenResourceError, BusyResourceError, ClosedResourceError, EndOfStream, WouldBlock
from anyio.abc import SocketAttribute

from tests.unit.streams.steps import (
    bounded,
    receive_exactly,
    receive_to_end,
    send_until_blocked,
    start,
    until,
)

if TYPE_CHECKING:
    from tests.unit.streams.conftest import Kind, Pair

pytestmark = pytest.mark.anyio

# More than any kind of stream holds between its two ends.
LARGE = 8 * 1024 * 1024
PATTERN = bytes(range(251)) * (LARGE // 251)


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
    with contextlib.suppress(WouldBlock):
        while True:
            received += ours.receive_nowait()
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


# --- cancellation -----------------------------------------------------------------------------------------


@bounded
async def test_a_cancelled_receive_loses_no_bytes(pair: Pair) -> None:
    ours, peer = pair
    async with anyio.create_task_group() as tasks:
        receiving = await start(tasks, ours.receive)
        assert receiving.blocked
        receiving.cancel_scope.cancel()
        await receiving.wait()
        assert receiving.value is None
        await peer.send(b"kept")
        assert await receive_exactly(ours, 4) == b"kept"


@bounded
async def test_a_receive_cancelled_as_bytes_arrive_returns_or_keeps_them(pair: Pair) -> None:
    ours, peer = pair
    async with anyio.create_task_group() as tasks:
        receiving = await start(tasks, ours.receive)
        await peer.send(b"once")
        receiving.cancel_scope.cancel()
        await receiving.wait()
        await peer.send_eof()
        assert (receiving.value or b"") + await receive_to_end(ours) == b"once"


@bounded
async def test_nothing_can_be_sent_after_a_cancelled_send(pair: Pair) -> None:
    ours, peer = pair
    async with anyio.create_task_group() as tasks:
        sending = await start(tasks, lambda: ours.send(PATTERN))
        assert sending.blocked
        sending.cancel_scope.cancel()
        await sending.wait()
    for call in (
        functools.partial(ours.send, b"late"),
        functools.partial(ours.send_buffers, [b"late", PATTERN]),
        ours.send_eof,
    ):
        with pytest.raises(BrokenResourceError):
            await call()
    await peer.send(b"still heard")
    assert await receive_exactly(ours, 11) == b"still heard"


@pytest.mark.parametrize("several", [False, True], ids=["send", "send_buffers"])
@bounded
async def test_what_a_cancelled_send_had_left_is_never_sent(pair: Pair, several: bool) -> None:
    ours, peer = pair
    send = functools.partial(ours.send_buffers, [PATTERN] * 3) if several else lambda: ours.send(PATTERN)
    async with anyio.create_task_group() as tasks:
        sending = await start(tasks, send)
        sending.cancel_scope.cancel()
        await sending.wait()
    await ours.aclose()
    received = await receive_to_end(peer)
    assert len(received) < len(PATTERN)
    assert PATTERN.startswith(received)


# --- concurrent use ---------------------------------------------------------------------------------------


@bounded
async def test_a_second_receiver_is_refused_and_the_first_is_not_disturbed(pair: Pair) -> None:
    ours, peer = pair
    async with anyio.create_task_group() as tasks:
        receiving = await start(tasks, ours.receive)
        with pytest.raises(BusyResourceError):
            await ours.receive()
        await peer.send(b"for the first")
        await receiving.wait()
    assert receiving.value == b"for the first"


@bounded
async def test_a_second_sender_is_refused_and_the_first_is_not_disturbed(pair: Pair) -> None:
    ours, peer = pair
    async with anyio.create_task_group() as tasks:
        sending = await start(tasks, lambda: ours.send(PATTERN))
        assert sending.blocked
        for call in (
            functools.partial(ours.send, b"second"),
            functools.partial(ours.send_buffers, [b"second", PATTERN]),
            ours.send_eof,
        ):
            with pytest.raises(BusyResourceError):
                await call()
        assert await receive_exactly(peer, len(PATTERN)) == PATTERN
        await sending.wait()
    assert sending.error is None


# --- back-pressure ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["to the peer", "to us"])
@bounded
async def test_a_sender_waits_while_its_reader_does_not_read(pair: Pair, direction: str) -> None:
    sender, reader = pair if direction == "to the peer" else reversed(pair)
    piece = b"x" * 16384
    count = [0]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send_until_blocked, sender, piece, count)
        await anyio.wait_all_tasks_blocked()
        held = count[0]
        # Kernel buffers on both sides, one read of asyncio's transport (256 KiB) and our high-water mark.
        assert 0 < held * len(piece) < 1024 * 1024
        await receive_exactly(reader, held * len(piece))
        await until(lambda: count[0] > held)
        tasks.cancel_scope.cancel()


# --- closing ----------------------------------------------------------------------------------------------


@bounded
async def test_abort_wakes_waiting_tasks(pair: Pair) -> None:
    ours, _ = pair
    async with anyio.create_task_group() as tasks:
        receiving = await start(tasks, ours.receive)
        sending = await start(tasks, lambda: ours.send(PATTERN))
        assert receiving.blocked
        assert sending.blocked
        ours.abort()
        await receiving.wait()
        await sending.wait()
    assert isinstance(receiving.error, ClosedResourceError)
    assert isinstance(sending.error, ClosedResourceError)


@bounded
async def test_aclose_wakes_waiting_tasks(pair: Pair) -> None:
    ours, _ = pair
    async with anyio.create_task_group() as tasks:
        receiving = await start(tasks, ours.receive)
        sending = await start(tasks, lambda: ours.send(PATTERN))
        await ours.aclose()
        await receiving.wait()
        await sending.wait()
    assert isinstance(receiving.error, ClosedResourceError)
    assert isinstance(sending.error, ClosedResourceError)


@pytest.mark.parametrize("how", ["aclose", "abort"])
@bounded
async def test_a_closed_stream_refuses_everything_but_closing(pair: Pair, how: str) -> None:
    ours, peer = pair
    await peer.send(b"unread")
    if how == "abort":
        ours.abort()
    for _ in range(2):
        await ours.aclose()
        ours.abort()
    for call in (
        ours.receive,
        functools.partial(ours.send, b"late"),
        functools.partial(ours.send_buffers, [b"late", PATTERN]),
        ours.send_eof,
    ):
        with pytest.raises(ClosedResourceError):
            await call()
    assert ours.peer_closed()


@bounded
async def test_two_tasks_may_close_at_once(pair: Pair) -> None:
    ours, peer = pair
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ours.aclose)
        tasks.start_soon(ours.aclose)
    with pytest.raises(EndOfStream):
        await peer.receive()


@bounded
async def test_what_was_sent_before_aclose_arrives(pair: Pair) -> None:
    ours, peer = pair
    await ours.send(PATTERN[:20_000])
    await ours.aclose()
    assert await receive_exactly(peer, 20_000) == PATTERN[:20_000]
    with pytest.raises(EndOfStream):
        await peer.receive()


@bounded
async def test_aclose_completes_in_a_cancelled_scope(pair: Pair, kind: Kind) -> None:
    ours, peer = pair
    sock = ours.extra(SocketAttribute.raw_socket) if kind.on_sockets else None
    with anyio.CancelScope() as cancel_scope:
        cancel_scope.cancel()
        await ours.aclose()
        if sock is not None:
            assert sock.fileno() == -1
    with pytest.raises(EndOfStream):
        await peer.receive()


# --- peer_closed ------------------------------------------------------------------------------------------


@bounded
async def test_peer_closed_sees_an_end_behind_unread_bytes(pair: Pair) -> None:
    ours, peer = pair
    assert not ours.peer_closed()
    await peer.send(b"unread")
    await anyio.lowlevel.checkpoint()
    assert not ours.peer_closed()
    await peer.send_eof()
    await until(ours.peer_closed)
    assert await receive_exactly(ours, 6) == b"unread"
    with pytest.raises(EndOfStream):
        await ours.receive()
    assert ours.peer_closed()


@bounded
async def test_peer_closed_is_not_confused_by_our_own_end(pair: Pair) -> None:
    ours, peer = pair
    await ours.send_eof()
    with pytest.raises(EndOfStream):
        await peer.receive()
    assert peer.peer_closed()
    assert not ours.peer_closed()


@bounded
async def test_peer_closed_sees_an_end_that_reading_is_paused_in_front_of(pair: Pair) -> None:
    ours, peer = pair
    async with anyio.create_task_group() as tasks:
        sending = await start(tasks, lambda: peer.send(PATTERN))
        await anyio.wait_all_tasks_blocked()
        assert sending.blocked
        assert not ours.peer_closed()
        peer.abort()
        await until(ours.peer_closed)


# --- attributes and resources -----------------------------------------------------------------------------


@bounded
async def test_addresses_are_typed_attributes(pair: Pair, kind: Kind) -> None:
    ours, peer = pair
    family = ours.extra(SocketAttribute.family)
    if kind.name == "unix":
        assert family == socket.AF_UNIX
        assert ours.extra(SocketAttribute.local_address) == ""
        assert ours.extra(SocketAttribute.local_port, None) is None
        return
    assert family == socket.AF_INET
    host, port = ours.extra(SocketAttribute.remote_address)
    assert host == "127.0.0.1"
    assert port == ours.extra(SocketAttribute.remote_port)
    assert ours.extra(SocketAttribute.remote_address) == peer.extra(SocketAttribute.local_address)
    assert ours.extra(SocketAttribute.local_address) == peer.extra(SocketAttribute.remote_address)
    assert ours.extra(SocketAttribute.local_port) == peer.extra(SocketAttribute.remote_port)


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
@bounded
async def test_closed_streams_leave_nothing_open(kind: Kind) -> None:
    async def open_use_and_close(rudely: bool) -> None:
        ours, peer = await kind.open()
        await ours.send(b"x")
        if rudely:
            ours.abort()
        await ours.aclose()
        await peer.aclose()

    await open_use_and_close(rudely=False)  # the event loop may open something on first use
    before = set(os.listdir("/proc/self/fd"))
    for number in range(10):
        await open_use_and_close(rudely=number % 2 == 0)
    assert set(os.listdir("/proc/self/fd")) == before
    gc.collect()  # an unclosed socket or transport would warn here, and warnings are errors
