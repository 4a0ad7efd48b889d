"""A worker's thread that hears the supervisor: in which order, until when, and how the event loop learns of it."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Final

import anyio
import pytest

from asgiserve.backend import reached_by_threads
from asgiserve.process.waiting import Waiting
from asgiserve.supervise.channel import MAX_LINE, say_nowait
from asgiserve.supervise.hearing import GONE, Said, start_hearing
from tests.live.backends import EVERY_LOOP

if TYPE_CHECKING:
    import socket

    from tests.live.backends import Backend

PATIENCE: Final = 10.0


@pytest.fixture(params=EVERY_LOOP)
def anyio_backend(request: pytest.FixtureRequest) -> Backend:
    """Real time: a thread waits at a socket."""
    backend: Backend = request.param
    return backend


def test_everybody_is_told_what_is_said_in_order_and_the_end_last(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    one, other = queue.SimpleQueue[Said](), queue.SimpleQueue[Said]()
    start_hearing(theirs, one.put, other.put)

    say_nowait(ours, "ping")
    say_nowait(ours, "stop", last=False)
    say_nowait(ours, "abort", last=True)
    ours.close()

    for told in (one, other):
        assert [told.get(timeout=PATIENCE) for _ in range(4)] == [
            Said("ping", last=False),
            Said("stop", last=False),
            Said("abort", last=True),
            Said(GONE, last=True),
        ]


@pytest.mark.parametrize(
    "line", [b"hello\n", b"{}\n", b"\xff\n", b" " * MAX_LINE], ids=["no JSON", "no word", "no text", "too long"]
)
def test_what_is_no_object_with_a_word_is_the_end_of_it(pair: tuple[socket.socket, socket.socket], line: bytes) -> None:
    ours, theirs = pair
    told = queue.SimpleQueue[Said]()
    start_hearing(theirs, told.put)

    ours.sendall(line)

    assert told.get(timeout=PATIENCE) == Said(GONE, last=True)


def test_what_is_said_while_the_thread_waits_at_the_same_socket_waits_for_nobody(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    start_hearing(pair[1], lambda said: None)

    while say_nowait(pair[1], "leaving"):
        pass  # until the other end, which never reads, takes no more


@pytest.mark.anyio
async def test_an_idle_loop_wakes_for_what_the_thread_has_heard(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    heard: Waiting[Said] = Waiting(reached_by_threads())
    start_hearing(theirs, heard.put)
    words: list[str] = []

    async def hear() -> None:
        async for said in heard:
            words.append(said.word)
            if said.word == GONE:
                return
            say_nowait(theirs, "alive")

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            group.start_soon(hear)
            for word in ("ping", "stop"):
                await anyio.wait_all_tasks_blocked()
                say_nowait(ours, word)
                await anyio.wait_readable(ours)
                ours.recv(4096)
            ours.close()
    assert words == ["ping", "stop", GONE]


def test_what_is_heard_behind_the_end_of_the_loop_is_told_to_whoever_does_not_need_it(
    pair: tuple[socket.socket, socket.socket], anyio_backend: Backend
) -> None:
    ours, theirs = pair
    told = queue.SimpleQueue[Said]()

    async def main() -> None:
        heard: Waiting[Said] = Waiting(reached_by_threads())
        start_hearing(theirs, heard.put, told.put)

    anyio.run(main, backend=anyio_backend[0], backend_options=anyio_backend[1])
    say_nowait(ours, "abort", last=True)

    assert told.get(timeout=PATIENCE) == Said("abort", last=True)
