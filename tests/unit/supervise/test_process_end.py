"""A worker's end, of which only the system's part is played: the process that has ended."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, cast

import anyio
import pytest
from anyio.lowlevel import checkpoint

from asgiserve.config import Processes, Timeouts
from asgiserve.supervise.channel import Channel
from asgiserve.supervise.process import Worker
from asgiserve.supervise.states import State, Stop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.abc import Process

    from asgiserve.supervise.states import Ended

pytestmark = pytest.mark.anyio


class Ending:
    """A process, as anyio has it."""

    pid = 1
    returncode: int | None = None

    def __init__(self) -> None:
        self.ended = anyio.Event()

    async def wait(self) -> int:
        await self.ended.wait()
        self.returncode = 0
        return 0

    def kill(self) -> None:
        raise ProcessLookupError

    terminate = kill


class Deaf(Ending):
    """It ends when it is killed."""

    def kill(self) -> None:
        self.ended.set()

    def terminate(self) -> None: ...


class Told:
    """What a worker says to its supervisor."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.ended: list[Ended] = []

    def gone(self, ended: Ended) -> None:
        self.ended.append(ended)

    def ready(self) -> None:
        self.words.append("ready")

    def leaving(self) -> None:
        self.words.append("leaving")

    def wears(self, why: str) -> None: ...
    def blocked(self, why: str) -> None: ...


@asynccontextmanager
async def looked_after(process: Ending, told: Told) -> AsyncIterator[tuple[Worker, socket.socket]]:
    """A worker, until its process has ended, and its end of the line to the supervisor."""
    with ExitStack() as stack:
        (control, one), (inspection, other) = socket.socketpair(), socket.socketpair()
        stack.enter_context(one)
        stack.enter_context(other)
        lines = Channel(control), Channel(inspection)
        worker = Worker(cast("Process", process), *lines, b"plan", Processes(), Timeouts())
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run, told)
            await anyio.wait_all_tasks_blocked()
            yield worker, one


@pytest.mark.parametrize("how", [Stop.GRACEFUL, Stop.ABORT, Stop.KILL])
@pytest.mark.parametrize("turns", range(10))
async def test_a_worker_may_be_told_to_end_in_each_moment_of_its_end(turns: int, how: Stop) -> None:
    """The supervisor learns of the end some turns of the loop later."""
    process, told = Ending(), Told()
    async with looked_after(process, told) as (worker, _):
        process.ended.set()
        for _ in range(turns):
            await checkpoint()

        worker.end(how, last=True)
    assert [ended.code for ended in told.ended] == [0]


async def test_what_a_worker_has_said_before_its_end_is_heard() -> None:
    """Although its end is noticed first, and what it has forked still holds the line."""
    process, told = Ending(), Told()
    async with looked_after(process, told) as (_, line):
        process.ended.set()
        line.send(b'{"word": "ready"}\n{"word": "leaving"}\n')
    assert told.words == ["ready", "leaving"]
    assert len(told.ended) == 1


@pytest.mark.parametrize(
    ("how", "word", "grace"), [(Stop.GRACEFUL, "stop", 25), (Stop.QUICK, "hurry", 5), (Stop.ABORT, "abort", 0)]
)
async def test_one_that_becomes_ready_as_it_is_told_to_end_has_the_time_of_one_that_serves(
    how: Stop, word: str, grace: float
) -> None:
    """It may have taken up a request before the signal came."""
    process, told, timeouts = Deaf(), Told(), Timeouts()
    async with looked_after(process, told) as (worker, line):
        worker.end(how, last=True)
        await anyio.sleep(4)
        began = anyio.current_time()
        line.send(b'{"word": "ready"}\n')
        await anyio.sleep(1)
        heard = line.recv(1000).removeprefix(b"\0\0\0\x04plan")
    assert json.loads(heard) == {"word": word, "last": True}
    assert anyio.current_time() - began == pytest.approx(grace + 1 + timeouts.lifespan_shutdown + 3)
    assert told.words == ["ready"]
    assert len(told.ended) == 1


async def test_a_word_to_one_that_is_ended_because_it_is_blocked_gives_it_no_more_time() -> None:
    """By its own limits it had seven seconds from that word on."""
    process, told = Deaf(), Told()
    async with looked_after(process, told) as (worker, _):
        began = anyio.current_time()
        worker.state = State.READY

        worker.end_blocked()
        await anyio.sleep(1)
        worker.end(Stop.ABORT, last=True)
    assert anyio.current_time() - began == pytest.approx(5)
    assert len(told.ended) == 1
