"""trio only: when `receive` looks again after a turn of the loop instead of waiting, and when it gives that up."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing

from asgiserve.streams import open_stream, trio_stream
from tests.unit.streams.steps import bounded

pytestmark = pytest.mark.anyio

ROUNDS = 200


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one for each wait for the descriptor."""
    counted: list[int] = []

    async def counting(fd: int) -> None:
        counted.append(fd)
        await trio.lowlevel.wait_readable(fd)

    monkeypatch.setattr(trio_stream, "wait_readable", counting)
    return counted


async def answer(sock: socket.socket) -> None:
    """Send a byte whenever the other side has begun to wait."""
    for _ in range(ROUNDS):
        await trio.testing.wait_all_tasks_blocked()
        sock.send(b"x")


@bounded
async def test_bytes_that_come_within_a_turn_of_the_loop_cost_no_wait(waits: list[int]) -> None:
    server, client = socket.socketpair()
    with client:
        async with await open_stream(server) as stream:
            for _ in range(ROUNDS):
                client.send(b"x")
                assert await stream.receive() == b"x"
    assert len(waits) < 5


@bounded
async def test_looks_in_vain_become_rare(waits: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[None] = []

    async def counting() -> None:
        looks.append(None)
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(trio_stream, "checkpoint", counting)
    server, client = socket.socketpair()
    with client:
        async with await open_stream(server) as stream, trio.open_nursery() as nursery:
            nursery.start_soon(answer, client)
            for _ in range(ROUNDS):
                assert await stream.receive() == b"x"
    assert len(waits) == ROUNDS
    assert len(looks) < 10


@bounded
async def test_a_receive_that_is_cancelled_while_it_looks_loses_nothing(waits: list[int]) -> None:
    server, client = socket.socketpair()
    with client:
        async with await open_stream(server) as stream:
            for _ in range(3):  # it looks from here on
                client.send(b"x")
                await stream.receive()
            with trio.CancelScope() as scope:
                scope.cancel()
                await stream.receive()
            assert scope.cancelled_caught
            client.send(b"y")
            with trio.CancelScope() as scope:
                scope.cancel()
                assert await stream.receive() == b"y"
    assert len(waits) < 3


@bounded
async def test_an_interrupt_ends_a_look(waits: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    server, client = socket.socketpair()
    with client:
        async with await open_stream(server) as stream:
            for _ in range(3):
                client.send(b"x")
                await stream.receive()

            async def interrupted() -> None:
                stream.interrupt()
                await trio.lowlevel.checkpoint()

            monkeypatch.setattr(trio_stream, "checkpoint", interrupted)
            before = len(waits)
            assert await stream.receive() == b""
            assert len(waits) == before
