"""Who writes, in which order, and what is left when a peer does not read."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asgiserve.backend import clock
from asgiserve.connection.deadlines import Deadlines, Watcher
from asgiserve.connection.outlet import ALL, Outlet, Taken
from asgiserve.testing import memory_stream_pair

if TYPE_CHECKING:
    from asgiserve.testing import MemoryStream

pytestmark = pytest.mark.anyio


def outlet(capacity: int = 4) -> tuple[Outlet, MemoryStream]:
    """An outlet, and the peer's end; so many bytes fit in between."""
    ours, theirs = memory_stream_pair(capacity)
    service: Any = SimpleNamespace(clock=clock(), timeouts=SimpleNamespace(write=30.0))
    return Outlet(ours, Deadlines(Watcher((), service.clock)), service), theirs


async def test_what_fits_is_written_at_once() -> None:
    one, peer = outlet()
    assert one.write_nowait(b"abcd") is ALL
    assert await peer.receive() == b"abcd"


async def test_the_rest_of_what_does_not_fit_follows_without_a_gap() -> None:
    one, peer = outlet()
    taken = one.write_nowait(b"abcdef")
    assert taken is Taken.PART
    async with anyio.create_task_group() as group:
        group.start_soon(one.write_rest, taken, b"abcdef")
        await anyio.wait_all_tasks_blocked()
        assert one.write_nowait(b"x") is Taken.NOTHING
        group.start_soon(one.write, b"gh")
        received = b""
        while len(received) < 8:
            received += await peer.receive()
    assert received == b"abcdefgh"
    assert not one.broken


async def test_nothing_is_written_past_somebody_who_waits() -> None:
    one, peer = outlet()
    async with anyio.create_task_group() as group:
        group.start_soon(one.write, b"abcdef")
        await anyio.wait_all_tasks_blocked()
        taken = one.write_nowait(b"gh")
        assert taken is Taken.NOTHING
        group.start_soon(one.write_rest, taken, b"gh")
        await anyio.wait_all_tasks_blocked()
        received = b""
        while len(received) < 8:
            received += await peer.receive()
    assert received == b"abcdefgh"


async def test_a_peer_that_is_gone_breaks_the_outlet_without_an_error() -> None:
    one, peer = outlet()
    peer.abort()
    taken = one.write_nowait(b"a")
    assert taken is Taken.NOTHING
    assert one.broken
    assert not await one.write_rest(taken, b"a")


async def test_a_peer_that_goes_while_the_rest_waits_breaks_the_outlet() -> None:
    one, peer = outlet()
    taken = one.write_nowait(b"abcdef")
    said: list[bool] = []

    async def rest() -> None:
        said.append(await one.write_rest(taken, b"abcdef"))

    async with anyio.create_task_group() as group:
        group.start_soon(rest)
        await anyio.wait_all_tasks_blocked()
        peer.abort()
    assert said == [False]
    assert one.broken


async def test_a_rest_that_is_cancelled_breaks_the_outlet_and_frees_the_turn() -> None:
    one, _ = outlet()
    taken = one.write_nowait(b"abcdef")
    with anyio.move_on_after(1):
        await one.write_rest(taken, b"abcdef")
    assert one.broken
    with anyio.fail_after(1):
        assert not await one.write(b"x")


async def test_a_deadline_watches_only_while_something_waits() -> None:
    one, peer = outlet()
    deadlines = one._deadlines
    assert one.write_nowait(b"abcd") is ALL
    assert deadlines.soonest() == math.inf
    taken = one.write_nowait(b"ef")
    async with anyio.create_task_group() as group:
        group.start_soon(one.write_rest, taken, b"ef")
        await anyio.wait_all_tasks_blocked()
        assert deadlines.soonest() < math.inf
        await peer.receive()
        await peer.receive()
    assert deadlines.soonest() == math.inf
