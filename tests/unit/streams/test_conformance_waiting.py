"""What every stream promises to tasks that wait in it: cancellation, a second task, back-pressure."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import BrokenResourceError, BusyResourceError, ClosedResourceError

from tests.unit.streams.steps import (
    PATTERN,
    bounded,
    interrupted_receive,
    receive_exactly,
    receive_to_end,
    send_until_blocked,
    start,
    until,
)

if TYPE_CHECKING:
    from asgiserve.streams import Stream
    from tests.unit.streams.conftest import Pair

pytestmark = pytest.mark.anyio


# --- flush ------------------------------------------------------------------------------------------------


def send_until_full(stream: Stream) -> None:
    while stream.send_nowait(PATTERN[:16384]):
        pass


@bounded
async def test_a_flush_uses_room_that_was_made_before_it_was_called(pair: Pair) -> None:
    ours, peer = pair
    assert not ours.send_nowait(PATTERN)
    async with anyio.create_task_group() as tasks:
        receiving = await start(tasks, lambda: receive_exactly(peer, len(PATTERN)))
        await anyio.wait_all_tasks_blocked()  # it has taken what was there, and waits for more
        while not await ours.flush():
            pass
        assert (await receiving.wait()).value == PATTERN


@pytest.mark.parametrize("how", ["aclose", "abort"])
@bounded
async def test_a_flush_after_closing_is_refused(pair: Pair, how: str) -> None:
    ours, _ = pair
    send_until_full(ours)
    if how == "abort":
        ours.abort()
    await ours.aclose()
    with pytest.raises(ClosedResourceError):
        await ours.flush()


@bounded
async def test_a_flush_after_a_reset_by_the_peer_is_refused(pair: Pair) -> None:
    ours, peer = pair
    await interrupted_receive(ours)  # on asyncio a transport notices the reset by itself
    send_until_full(ours)
    peer.abort()
    assert await receive_to_end(ours) == b""
    with pytest.raises(BrokenResourceError):
        await ours.flush()


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


# --- interruption -----------------------------------------------------------------------------------------


@bounded
async def test_an_interrupted_receive_returns_nothing_and_loses_nothing(pair: Pair) -> None:
    ours, peer = pair
    async with anyio.create_task_group() as tasks:
        for word in (b"first", b"second"):
            receiving = await start(tasks, ours.receive)
            assert receiving.blocked
            ours.interrupt()
            await receiving.wait()
            assert (receiving.value, receiving.error) == (b"", None)
            await peer.send(word)
            assert await receive_exactly(ours, len(word)) == word


@bounded
async def test_an_interruption_is_not_kept_for_the_next_receive(pair: Pair) -> None:
    ours, peer = pair
    ours.interrupt()
    async with anyio.create_task_group() as tasks:
        receiving = await start(tasks, ours.receive)
        assert receiving.blocked
        ours.interrupt()
        ours.interrupt()
        await receiving.wait()
        receiving = await start(tasks, ours.receive)
        await anyio.wait_all_tasks_blocked()
        assert receiving.blocked
        await peer.send(b"late")
        assert (await receiving.wait()).value == b"late"


@bounded
async def test_bytes_that_arrive_with_an_interruption_are_received(pair: Pair) -> None:
    ours, peer = pair
    async with anyio.create_task_group() as tasks:
        receiving = await start(tasks, ours.receive)
        await peer.send(b"once")
        ours.interrupt()
        await receiving.wait()
        await peer.send_eof()
        assert receiving.error is None
        assert (receiving.value or b"") + await receive_to_end(ours) == b"once"


@bounded
async def test_an_interrupted_receive_does_not_disturb_a_sender_that_waits(pair: Pair) -> None:
    ours, peer = pair
    async with anyio.create_task_group() as tasks:
        receiving = await start(tasks, ours.receive)
        sending = await start(tasks, lambda: ours.send(PATTERN))
        assert sending.blocked
        ours.interrupt()
        await receiving.wait()
        assert receiving.value == b""
        assert await receive_exactly(peer, len(PATTERN)) == PATTERN
        assert (await sending.wait()).error is None


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
