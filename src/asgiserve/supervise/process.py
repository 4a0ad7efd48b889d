"""A worker as the supervisor sees it: a process that it has started, the line to it, and the waits that belong to it.

Started afresh, never forked: a copy of a running event loop is of no use to anybody. It has a session of its own, so
that Ctrl+C at a terminal reaches the supervisor alone, which then says how to end. Which worker is started or ended,
and when, is decided in fleet.py; the other end of the line is worker.py.
"""

from __future__ import annotations

import errno
import math
import random
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio

from asgiserve import logs
from asgiserve.supervise.channel import Channel
from asgiserve.supervise.interpreter import worker_words
from asgiserve.supervise.memory import resident_bytes, size_text
from asgiserve.supervise.pulse import Pulse, Verdict
from asgiserve.supervise.states import Ended, State, Stop
from asgiserve.supervise.stop_limits import limit_of_a_start, limit_of_one_that_serves

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anyio.abc import Process, TaskGroup

    from asgiserve.config import Processes, Timeouts

__all__ = ["Events", "Worker", "spawn"]

_BLOCKED_SECONDS: Final = 5.0
"""Between SIGTERM and SIGKILL for a worker whose loop does not turn: it may yet come back, and then ends by itself."""

_ANSWER_SECONDS: Final = 2.0
"""For a worker's overview, which a thread of it writes, whatever its loop does."""

_STEP_SECONDS: Final = 1.0
"""How much of the wait for a worker's end goes by where time itself has made a leap."""

_LOOK_SECONDS: Final = 1.0
"""How often a worker with limits is looked at."""

_COMMANDS: Final = {Stop.GRACEFUL: "stop", Stop.QUICK: "hurry", Stop.ABORT: "abort"}


class Events(Protocol):
    """Who is told what becomes of a worker."""

    def ready(self) -> None: ...
    def leaving(self) -> None: ...
    def wears(self, why: str) -> None:
        """It is to be replaced."""

    def blocked(self, why: str) -> None:
        """Its loop does not turn."""

    def gone(self, ended: Ended) -> None: ...


async def spawn(plan: bytes, sockets: Sequence[int], processes: Processes, timeouts: Timeouts) -> Worker:
    """Start a worker's process. Raises OSError, also where what it takes beside the process is a thread."""
    control, theirs = socket.socketpair()
    inspection, their_inspection = socket.socketpair()
    try:
        process = await anyio.open_process(
            worker_words((theirs.fileno(), their_inspection.fileno())),
            stdin=None,
            stdout=None,
            stderr=None,
            pass_fds=(*sockets, theirs.fileno(), their_inspection.fileno()),
            start_new_session=True,
        )
    except BaseException as error:
        control.close()
        inspection.close()
        if isinstance(error, RuntimeError):  # "can't start new thread": some loops take one for a process
            raise OSError(errno.EAGAIN, str(error)) from None
        raise
    finally:
        theirs.close()
        their_inspection.close()
    return Worker(process, Channel(control), Channel(inspection), plan, processes, timeouts)


class Worker:
    """One process, from its start to its end."""

    def __init__(
        self,
        process: Process,
        control: Channel,
        inspection: Channel,
        plan: bytes,
        processes: Processes,
        timeouts: Timeouts,
    ) -> None:
        self._process = process
        self._control = control
        self._inspection = inspection
        self._plan = plan
        self._processes = processes
        self._timeouts = timeouts
        self._group: TaskGroup | None = None
        self._kills: anyio.CancelScope | None = None
        """The wait after which it is killed."""
        self._killed_at = math.inf
        """When that is over."""
        self._told: tuple[Stop, bool] | None = None
        """How it was told to end while it was starting, and whether as the last one."""
        self._pulse: Pulse | None = None
        self._memory_limit: int | None = None
        self._inspecting = anyio.Lock()
        self._asked = 0
        """Questions so far."""
        self.pid = process.pid
        self.state = State.STARTING
        self.since = anyio.current_time()
        """When its state began."""

    async def run(self, events: Events) -> None:
        """See it through to its end. When this is cancelled the line breaks, and the worker stops by itself."""
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                group.start_soon(self._listen, events)
                await self._process.wait()
                self._group = None  # trio takes nobody into a group whose last task has ended, and it is not left yet
                group.cancel_scope.cancel()
            self._hear_rest(events)
        finally:
            self._become(State.GONE)
            self._group = None
            self._control.close()
            self._inspection.close()
        code = self._process.returncode
        assert code is not None
        events.gone(Ended(code))

    def end(self, how: Stop, *, last: bool) -> None:
        """Tell it to end, and kill it if it does not. `last`: no other worker accepts after it."""
        if how is Stop.KILL:
            self._kill()
        elif self.state is State.STARTING:
            # Until it is ready nobody reads its end of the line: it imports, perhaps for minutes.
            self._told = how, last
            self._signal_term()
        else:
            # If that fails it has closed its end, and ends anyway: a signal would make a crash of that.
            self._control.send_nowait(_COMMANDS[how], last=last)
        self._kill_after(self._limit(how, last=last), "has not ended by then")

    def end_blocked(self) -> None:
        """Its loop does not turn, and reads no commands."""
        self._signal_term()
        self._kill_after(_BLOCKED_SECONDS, "still does not turn its event loop")

    def leave(self, how: Stop) -> None:
        """The supervisor's process ends now: called beside its loop, which may be blocked, and has said nothing.

        With that the line breaks, and a worker that serves stops by itself: what it has in flight nobody has told of a
        stop yet. What only more signals ask for it is told; and one that is starting may not hear the line yet.
        """
        if how is Stop.KILL:
            self._kill()
        elif self.state is State.STARTING:
            self._signal_term()
        elif how is Stop.ABORT:
            self._control.send_nowait(_COMMANDS[how], last=True)

    async def overview(self) -> dict[str, Any] | None:
        """What it says of itself: `text` and `stacks`. None if nothing in it answers."""
        async with self._inspecting:
            self._asked += 1
            with anyio.move_on_after(_ANSWER_SECONDS):
                self._inspection.send_nowait("tell", number=self._asked)
                while (told := await self._inspection.receive()) is not None:
                    if told.get("number") == self._asked:
                        return told
                    # An answer to an earlier question, from a process that had stood still.
        return None

    # --- its tasks ---

    async def _listen(self, events: Events) -> None:
        try:
            await self._control.send_plan(self._plan)
        except OSError:
            return  # it has ended before it could read it
        while (said := await self._control.receive()) is not None:
            self._hear(said, events)

    def _hear_rest(self, events: Events) -> None:
        """What it has said at last. Nothing is waited for: what it has forked may hold the line open."""
        with suppress(anyio.WouldBlock):
            while (said := self._control.receive_nowait()) is not None:
                self._hear(said, events)

    def _hear(self, said: dict[str, Any], events: Events) -> None:
        word = said["word"]
        if word == "ready":
            self._become(State.READY)
            events.ready()
            if self._told is not None:
                # The word and the signal have crossed: it serves, and has the time of one that does.
                self._killed_at = math.inf
                how, last = self._told
                self.end(how, last=last)
            if self._group is not None:
                self._group.start_soon(self._look_after, events)
        elif word == "leaving":
            self._become(State.DRAINING)
            events.leaving()
        elif word == "spent":
            events.wears(f"has taken up {_number(said)} requests, its limit")
        elif word == "alive" and self._pulse is not None:
            self._pulse.answered()

    async def _look_after(self, events: Events) -> None:
        """Look at it from time to time, if it has limits that are seen from here."""
        limits, began = self._processes, anyio.current_time()
        lifetime = limits.limit_worker_lifetime + random.uniform(0, limits.limit_worker_lifetime_jitter)
        self._pulse = pulse = Pulse(limits.timeout_worker_healthcheck, began)
        self._memory_limit = self._usable_memory_limit()
        often = min(math.inf if self._memory_limit is None else _LOOK_SECONDS, pulse.interval)
        if math.inf == often == lifetime:
            return
        while self.state is State.READY:
            await anyio.sleep(min(often, max(began + lifetime - anyio.current_time(), 0.0)))
            now = anyio.current_time()
            if now - began >= lifetime:
                lifetime = math.inf
                events.wears(f"has served for {now - began:.0f} s, its limit")
            self._look_at_memory(events)
            if (verdict := pulse.look(now)) is Verdict.ASK:
                self._control.send_nowait("ping")
            elif verdict is Verdict.BLOCKED:
                await self._tell_blocked(events)
                return

    def _usable_memory_limit(self) -> int | None:
        """None also if the limit is below what it has from the start: a successor would have that too, and so on."""
        limit, resident = self._processes.limit_worker_memory, resident_bytes(self.pid)
        if limit is None or resident is None or resident <= limit:
            return limit
        logs.log_warning(
            f"Worker [{self.pid}] has {size_text(resident)} of memory when it is ready, its limit is"
            f" {size_text(limit)}: the limit is not kept."
        )
        return None

    def _look_at_memory(self, events: Events) -> None:
        limit = self._memory_limit
        if limit is not None and (resident := resident_bytes(self.pid)) is not None and resident > limit:
            events.wears(f"has {size_text(resident)} of memory, its limit is {size_text(limit)}")

    async def _tell_blocked(self, events: Events) -> None:
        limit = self._processes.timeout_worker_healthcheck
        told = await self.overview()
        where = "nothing in it answers, not even another thread" if told is None else _text(told, "text", "stacks")
        logs.log_error(f"Worker [{self.pid}] has not turned its event loop for {limit:g} s:\n{where}")
        events.blocked(f"has not turned its event loop for {limit:g} s")

    # --- its end ---

    def _become(self, state: State) -> None:
        if state is not self.state:
            self.state, self.since = state, anyio.current_time()

    def _limit(self, how: Stop, *, last: bool) -> float:
        """How long its stop takes at most, by its own limits."""
        if self.state is State.STARTING:
            return limit_of_a_start(self._timeouts)
        return limit_of_one_that_serves(self._timeouts, how, last=last)

    def _kill_after(self, seconds: float, why: str) -> None:
        """Never lengthens what is left: its loop may be known to be blocked when it is told to end."""
        killed_at = anyio.current_time() + seconds
        if self._group is None or killed_at >= self._killed_at:
            return
        self._killed_at = killed_at
        if self._kills is not None:
            self._kills.cancel()
        self._kills = anyio.CancelScope()
        self._group.start_soon(self._wait_and_kill, self._kills, seconds, why)

    async def _wait_and_kill(self, wait: anyio.CancelScope, seconds: float, why: str) -> None:
        with wait:
            left = seconds
            while left > 0:  # a step at a time: what stops this process as a whole, or a machine, stops workers too
                await anyio.sleep(min(left, _STEP_SECONDS))
                left -= _STEP_SECONDS
                self._killed_at = anyio.current_time() + left
            logs.log_error(f"Worker [{self.pid}] {why}: killing it after {seconds:g} s.")
            self._kill()

    def _signal_term(self) -> None:
        with suppress(ProcessLookupError):
            self._process.terminate()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()


def _number(said: dict[str, Any]) -> int:
    number = said.get("requests")
    return number if isinstance(number, int) else 0


def _text(said: dict[str, Any], *keys: str) -> str:
    return "\n".join(str(said[key]).rstrip("\n") for key in keys if said.get(key))
