"""What every stream promises about closing, about the peer's closing, and about its attributes."""

from __future__ import annotations

import functools
import gc
import os
import socket
import sys
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import ClosedResourceError, EndOfStream
from anyio.abc import SocketAttribute

from tests.unit.streams.steps import (
    PATTERN,
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
async def test_every_send_that_has_returned_arrives_even_if_the_next_one_never_ends(pair: Pair) -> None:
    ours, peer = pair
    piece = b"x" * 1000
    count = [0]
    async with anyio.create_task_group() as tasks:
        sending = await start(tasks, lambda: send_until_blocked(ours, piece, count))
        await anyio.wait_all_tasks_blocked()
        await ours.aclose()
        await sending.wait()
    assert isinstance(sending.error, ClosedResourceError)
    assert len(await receive_to_end(peer)) >= count[0] * len(piece) > 0


@bounded
async def test_aclose_completes_in_a_cancelled_scope(pair: Pair, kind: Kind) -> None:
    ours, peer = pair
    sock = ours.extra(SocketAttribute.raw_socket) if kind.on_sockets else None
    with anyio.CancelScope() as cancel_scope:
        cancel_scope.cancel()
        await ours.aclose()
        if sock is not None:
            assert sock.fileno() == -1
    assert not cancel_scope.cancelled_caught
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
