"""The supervisor: binds the sockets, keeps worker processes that serve on them, and ends them.

    supervise()
    ├─ signals              turns signals into wishes
    ├─ changes              with reload: tells when files have changed
    └─ worker (one each)    owns a process, from its start to its end (process.py)

What is done, and when, fleet.py decides; what is done is done here, in one task. The sockets are bound once and handed
to each worker: connections that wait in the kernel's queue are nobody's, and the next worker's when one goes. The first
worker that is ready listens; the supervisor itself never accepts.

Nothing here knows HTTP or imports the application. Called by the command line and by `run()`.
"""

from __future__ import annotations

import math
import os
import signal
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from asgiserve import logs
from asgiserve.backend import children_awaited
from asgiserve.errors import ConfigError, StartupError, WorkerError, bare_errors
from asgiserve.process.notify import Notifier
from asgiserve.process.taken_signals import STOPS, TakenSignals, unblock
from asgiserve.program import announce
from asgiserve.server.binding import url_of
from asgiserve.server.claims import claimed
from asgiserve.supervise.actions import End, Failure, Say
from asgiserve.supervise.changes import Watched, check_watcher, watch
from asgiserve.supervise.channel import write_plan
from asgiserve.supervise.fleet import Fleet, counted
from asgiserve.supervise.job import Job
from asgiserve.supervise.overview import overview
from asgiserve.supervise.process import spawn
from asgiserve.supervise.states import NOT_STARTED, Ended, Stop, next_stop
from asgiserve.supervise.stop_bound import SupervisorBound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anyio.abc import TaskGroup

    from asgiserve.process.waiting import Waiting
    from asgiserve.program import Plan
    from asgiserve.server.bound import BoundSocket
    from asgiserve.server.claims import Claims
    from asgiserve.supervise.actions import Action, Member, Start
    from asgiserve.supervise.process import Worker

__all__ = ["check_supervised", "supervise"]

_LEVELS: Final = {"info": logs.log_info, "warning": logs.log_warning, "error": logs.log_error}


def check_supervised(plan: Plan) -> None:
    """Raise ConfigError for what would be found wrong with the processes' settings. Nothing is started."""
    if plan.processes.reload:
        check_watcher()
        Watched(plan.processes)
    _job_of(plan, ())


async def supervise(plan: Plan) -> int:
    """Serve with worker processes until a signal stops them; returns the exit code.

    Raises BindError, StartupError if the first worker never was ready, and WorkerError if workers ended as soon as they
    started.
    """
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:  # survives exec; the system keeps no exit codes then
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    unblock(signal.SIGCHLD)  # or uvloop, which learns by it, never would
    taken = TakenSignals(*_numbers(plan))
    with ExitStack() as stack:
        with taken.interrupting():
            claims = stack.enter_context(claimed(plan.launch, plan.settings.bind, plan.passed))
            supervisor = _Supervisor(plan, claims)
        with bare_errors(), children_awaited():
            await supervisor.run(taken)
    logs.log_info(f"Finished supervisor process [{os.getpid()}]")
    return supervisor.exit_code()


def _numbers(plan: Plan) -> list[signal.Signals]:
    """What means something to a supervisor."""
    numbers = [*STOPS, signal.SIGUSR1]
    if not plan.processes.reload:
        numbers += [signal.SIGTTIN, signal.SIGTTOU]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup leaves it
        numbers.append(signal.SIGHUP)
    return numbers


class _Supervisor:
    def __init__(self, plan: Plan, claims: Claims) -> None:
        processes = plan.processes
        self._plan = plan
        self._notifier = plan.notifier
        self._claims = claims
        self._bound = claims.bound
        self._numbers = [one.socket.fileno() for one in claims.bound]
        self._job = _job_of(plan, claims.bound)
        # Whoever stands in a debugger blocks the loop.
        self._processes = replace(processes, timeout_worker_healthcheck=math.inf) if processes.reload else processes
        self._fleet = Fleet(1 if processes.reload else processes.workers, reload=processes.reload)
        self._watched = Watched(processes) if processes.reload else None
        self._workers: dict[Member, Worker] = {}
        self._news = anyio.Event()
        self._delay = plan.settings.timeouts.shutdown_delay
        self._error: ConfigError | None = None
        """What has ended it all."""
        self._delaying = False
        """A stop has begun, and its delay is not over: workers serve on."""
        self._status = ""
        self._reloading = False
        """systemd has been told so."""
        self._given_up_by: signal.Signals | None = None
        """What has ended the start."""
        self._group: TaskGroup
        self._stop_bound = SupervisorBound(plan.settings.timeouts, self._leave)

    def exit_code(self) -> int:
        fleet = self._fleet
        if self._error is not None:
            raise self._error
        if fleet.failure is Failure.NOT_STARTED:
            assert fleet.failed is not None
            why = ": it says why above" if fleet.failed.code == NOT_STARTED else fleet.failed.hint
            raise StartupError(f"The first worker {fleet.failed} before it was ready{why}.")
        if fleet.failure is Failure.CRASHES:
            raise WorkerError("Workers end as soon as they start, again and again.")
        if self._given_up_by is not None:
            return 128 + self._given_up_by
        return 1 if fleet.bad_ends else 0

    async def run(self, taken: TakenSignals) -> None:
        processes = self._plan.processes
        what = "reload" if processes.reload else counted(processes.workers)
        with taken.received(self._noticed) as received:
            # Here, where signals have a meaning: a stderr that takes nothing would keep the process whatever comes.
            logs.log_info(f"Started supervisor process [{os.getpid()}] for {what}")
            async with anyio.create_task_group() as group:
                self._group = group
                group.start_soon(self._obey, received)
                group.start_soon(self._notifier.keep_alive)
                if self._watched is not None:
                    group.start_soon(self._watch_files, self._watched)
                await self._conduct()
                group.cancel_scope.cancel()

    # --- what is to be done ---

    async def _conduct(self) -> None:
        fleet = self._fleet
        while not fleet.over:
            self._news = anyio.Event()
            if self._refuses_clients():
                # Here, because nothing is being started here: a process that is made needs the descriptors. And before
                # workers are told of the stop: they look at the queue for the last time.
                self._close_sockets()
            await self._perform_all()
            if self._reloading and not (fleet.rolling or fleet.stopping):
                self._reloading = False
                self._notifier.ready(self._status)
            if self._news.is_set():
                continue
            with anyio.CancelScope(deadline=fleet.wake_at(anyio.current_time())):
                await self._news.wait()
        await self._perform_all()  # nothing is left but sentences, of the last end

    def _refuses_clients(self) -> bool:
        """Whether the sockets are to be closed. While a worker accepts for the delay of a stop, ours is one of several,
        and its file is where clients find them; with ours alone, clients would wait for nobody."""
        return self._fleet.stopping and not (self._delaying and self._fleet.accepting)

    def _close_sockets(self) -> None:
        """From here on clients are refused, when the workers have closed theirs. Idempotent."""
        for one in self._bound:
            one.close()

    async def _perform_all(self) -> None:
        for action in self._fleet.next(anyio.current_time()):
            await self._perform(action)

    async def _perform(self, action: Action) -> None:
        if isinstance(action, Say):
            _LEVELS[action.level](action.text)
        elif isinstance(action, End):
            # It may have ended while another one was started.
            if (worker := self._workers.get(action.member)) is not None:
                worker.end(action.how, last=self._fleet.stopping)
        else:
            await self._start(action)

    async def _start(self, start: Start) -> None:
        try:
            worker = await spawn(self._job, self._numbers, self._processes, self._plan.settings.timeouts)
        except OSError as error:
            logs.log_error(f"Cannot start a process: {error.strerror}.")
            self._fleet.gone(self._fleet.started(start, "[not started]"), Ended(NOT_STARTED), anyio.current_time())
            self._news.set()
            return
        member = self._fleet.started(start, f"[{worker.pid}]")
        self._workers[member] = worker
        self._group.start_soon(worker.run, _News(self, member))

    # --- what happens ---

    def ready(self, member: Member) -> None:
        first = not self._fleet.ever_ready
        self._fleet.ready(member, anyio.current_time())
        self._given_up_by = None  # a signal may have overtaken this word, and clients have been answered already
        if first and not self._fleet.stopping:
            secure = self._plan.settings.tls.ssl_certfile is not None
            urls = [url_of(one.socket, secure=secure and not one.plain) for one in self._bound]
            announce(urls)
            self._status = f"Serving on {', '.join(urls)}"
            self._notifier.ready(self._status)
        self._news.set()

    def leaving(self, member: Member) -> None:
        self._fleet.leaving(member, anyio.current_time())
        self._news.set()

    def wears(self, member: Member, why: str) -> None:
        self._fleet.wears(member, why)
        self._news.set()

    def blocked(self, member: Member, why: str) -> None:
        if self._fleet.blocked(member, why):
            self._workers[member].end_blocked()
        self._news.set()

    def gone(self, member: Member, ended: Ended) -> None:
        del self._workers[member]
        self._fleet.gone(member, ended, anyio.current_time())
        self._news.set()

    # --- what is asked for ---

    async def _obey(self, received: Waiting[signal.Signals]) -> None:
        async for number in received:
            if number == signal.SIGUSR1:
                self._group.start_soon(self._tell)
            elif number == signal.SIGHUP and not self._plan.processes.reload:
                logs.log_info("Received SIGHUP.")
                self._fleet.restart()
                if self._fleet.rolling and not self._reloading:
                    self._reloading = True
                    self._notifier.reloading()
            elif number in (signal.SIGTTIN, signal.SIGTTOU):
                logs.log_info(f"Received {number.name}.")
                self._fleet.resize(1 if number == signal.SIGTTIN else -1)
            else:
                self._stop(number)
            self._news.set()

    def _stop(self, number: signal.Signals) -> None:
        fleet = self._fleet
        how = next_stop(fleet.told, number)
        if not fleet.stopping:
            if fleet.ever_ready:
                again = "; again to cancel what still runs" if number == signal.SIGINT else ""
                logs.log_info(f"Received {number.name}, stopping{again}.")
            else:
                logs.log_info(f"Received {number.name} during startup, giving up.")
                self._given_up_by = number
            self._notifier.stopping("Stopping")
            self._group.start_soon(self._notifier.keep_extending)
            if self._delay and how is Stop.GRACEFUL:
                self._delaying = True
                self._group.start_soon(self._end_delay_after, self._delay)
        elif how is Stop.KILL:
            logs.log_info(f"Received {number.name} again, killing the workers.")
        else:
            logs.log_info(f"Received {number.name} again, cancelling what still runs.")
            self._delaying = False
        fleet.stop(how)

    async def _end_delay_after(self, seconds: float) -> None:
        await anyio.sleep(seconds)
        self._delaying = False
        self._news.set()

    async def _watch_files(self, watched: Watched) -> None:
        try:
            await watch(self._plan.processes, watched, self._changed)
        except (OSError, RuntimeError) as error:  # the system's limit on watches, most likely
            self._error = ConfigError(f"reload: cannot watch files: {error}")
            self._fleet.stop(Stop.QUICK)
            self._delaying = False
            self._news.set()

    def _changed(self, files: str) -> None:
        self._fleet.changed(files)
        self._news.set()

    async def _tell(self) -> None:
        logs.log_info(await overview(list(self._workers.values()), self._fleet.target))

    # --- beside the event loop, which may be blocked ---

    def _noticed(self, number: signal.Signals) -> None:
        if number in STOPS or (number == signal.SIGHUP and self._plan.processes.reload):
            self._stop_bound.told(number)

    def _leave(self) -> None:
        """The stop has come to no end, and the process ends now."""
        if not self._fleet.ever_ready:
            self._stop_bound.start_given_up()
        how = self._stop_bound.how
        assert how is not None
        for worker in list(self._workers.values()):
            worker.leave(how)
        self._claims.release()


class _News:
    """One worker's events, with its member."""

    def __init__(self, supervisor: _Supervisor, member: Member) -> None:
        self.ready = partial(supervisor.ready, member)
        self.leaving = partial(supervisor.leaving, member)
        self.wears = partial(supervisor.wears, member)
        self.blocked = partial(supervisor.blocked, member)
        self.gone = partial(supervisor.gone, member)


def _job_of(plan: Plan, bound: Sequence[BoundSocket]) -> bytes:
    """What each worker is sent. What the process itself has of the system stays the supervisor's."""
    own = replace(plan, passed=(), notifier=Notifier())
    try:
        return write_plan(Job(own, tuple((one.socket.fileno(), one.plain) for one in bound)))
    except Exception as error:  # pickle raises what it likes: TypeError, AttributeError, PicklingError
        if plan.launch.log_config is not None:
            raise ConfigError(f"log_config: cannot be handed to another process: {error}") from None
        raise
