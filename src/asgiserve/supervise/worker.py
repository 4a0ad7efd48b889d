"""A worker process: `main()` with the arguments CONTROL INSPECTION, two descriptors of socket pairs.

It is sent what to serve on the first of them, serves that as the command line does in a single process, and is told
there to stop. The end of that line means that the supervisor is gone: then it stops by itself, so that nothing is left
behind. The other end is process.py. A thread hears what comes (hearing.py), and another one answers on the second
descriptor (inspection.py): neither depends on the event loop.
"""

from __future__ import annotations

import os
import pickle
import random
import signal
import socket
import sys
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio

from asgiserve import logs
from asgiserve.backend import reached_by_threads
from asgiserve.errors import bare_errors
from asgiserve.process.standard_streams import give_up_broken_streams_at_exit, tell
from asgiserve.process.taken_signals import TakenSignals
from asgiserve.process.waiting import Waiting
from asgiserve.program import configure_logs_quietly, exit_code, loaded
from asgiserve.server.bound import BoundSocket
from asgiserve.server.listeners import Sharing
from asgiserve.signals import StopBound, serve_until_signalled
from asgiserve.supervise.channel import read_plan, say_nowait
from asgiserve.supervise.hearing import GONE, start_hearing
from asgiserve.supervise.inspection import answering_thread
from asgiserve.supervise.states import GAVE_UP, NOT_STARTED

if TYPE_CHECKING:
    import logging

    from asgiserve.program import Plan
    from asgiserve.server import Server
    from asgiserve.supervise.hearing import Said
    from asgiserve.supervise.job import Job

__all__ = ["main"]

_COUNT_SECONDS: Final = 0.1
"""How often requests are compared with their limit: counting them in a comparison each would cost every request."""

_NOT_OURS: Final = (signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU) if sys.platform != "win32" else ()
"""What means something to the supervisor. `pkill -HUP asgiserve` reaches workers too, and must not end them."""

_LATER: Final = (*_NOT_OURS, signal.SIGUSR1) if sys.platform != "win32" else ()
"""What must not end a worker that is still importing. SIGTERM does: nothing has begun that would have to be undone."""

_ENDS: Final = frozenset({"stop", "hurry", "abort", GONE})
"""What is heard that ends a worker; where the supervisor is gone, as if it had said `stop`."""


def main() -> None:
    give_up_broken_streams_at_exit()
    # Taken, not ignored: programs that the application starts would inherit that, and so would what it forks. When the
    # loop turns, `serve_until_signalled()` takes them anew, with those that stop.
    TakenSignals(*_LATER)
    control, inspection = (socket.socket(fileno=int(word)) for word in sys.argv[1:3])
    for end in (control, inspection):
        end.set_inheritable(False)
    with control, inspection:
        sys.exit(_work(control, inspection))


def _work(control: socket.socket, inspection: socket.socket) -> int:
    """Do what comes on the line; returns the exit code."""
    try:
        arguments, search_path, pickled = read_plan(control)
    except (EOFError, OSError):
        return 1  # the supervisor is gone
    sys.argv[:], sys.path[:] = arguments, search_path
    try:
        job: Job = pickle.loads(pickled)
    except Exception as error:  # pickle raises what it likes, and so does what it imports
        tell(f"Error: cannot read what the supervisor has sent: {logs.printable(str(error))}")
        return NOT_STARTED
    return exit_code(job.plan, partial(_serve, job, control, inspection))


def _configure_logs(plan: Plan) -> None:
    configure_logs_quietly(plan)
    if plan.launch.log_config is None and plan.launch.log_format == "text":
        logs.general.addFilter(_named)


def _named(record: logging.LogRecord) -> bool:
    """Say which of the processes a line is from, if it does not say so itself."""
    name = f"[{record.process}]"
    if name not in record.getMessage():
        record.msg = f"{name} {record.msg}"
    return True


async def _serve(job: Job, control: socket.socket, inspection: socket.socket, plan: Plan) -> int:
    _configure_logs(plan)  # as late as here: `exit_code()` tells in one way whatever is wrong with the settings
    bound = [BoundSocket(_inherited(number), plain=plain) for number, plain in job.sockets]
    stop_bound = StopBound(plan.settings.timeouts)
    link = _Link(control, plan, stop_bound)
    heard: Waiting[Said] = Waiting(reached_by_threads())
    start_hearing(control, link.bound_the_stop, heard.put)
    code: int = GAVE_UP
    with ExitStack() as stack, bare_errors():
        for one in bound:
            stack.callback(one.close)
        stack.enter_context(answering_thread(inspection, link.about))
        async with anyio.create_task_group() as group:
            group.start_soon(link.obey, heard, group.cancel_scope)
            group.start_soon(link.count_requests)
            app = loaded(plan)
            code = await serve_until_signalled(
                app,
                plan.settings,
                link.serving,
                sockets=bound,
                sharing=link.sharing,
                not_ours=_NOT_OURS,
                stop_bound=stop_bound,
            )
            group.cancel_scope.cancel()
    logs.log_info(f"Finished server process [{os.getpid()}]")
    return code


def _inherited(number: int) -> socket.socket:
    os.set_inheritable(number, False)
    return socket.socket(fileno=number)


class _Link:
    """The line to the supervisor, as the worker's server sees it."""

    def __init__(self, line: socket.socket, plan: Plan, stop_bound: StopBound) -> None:
        self._line = line
        self._stop_bound = stop_bound
        self._processes = plan.processes
        self._server: Server | None = None
        self._serving = anyio.Event()
        self.sharing = Sharing(self._leaving)

    def serving(self, server: Server) -> None:
        """The server accepts connections."""
        self._server = server
        self._serving.set()
        say_nowait(self._line, "ready")

    def _leaving(self) -> None:
        say_nowait(self._line, "leaving")

    def about(self) -> dict[str, Any]:
        """What there is to tell; also called in another thread."""
        return {"text": "starting" if self._server is None else self._server.overview()}

    def bound_the_stop(self, said: Said) -> None:
        """From now on, whatever the loop does. Called in another thread."""
        if said.word not in _ENDS:
            return
        if said.word == "abort" or self._server is None:
            self._stop_bound.told(0.0)
        elif said.word == "hurry":
            self._stop_bound.stops_quickly()
        else:
            self._stop_bound.stops(last=said.last)

    async def obey(self, heard: Waiting[Said], everything: anyio.CancelScope) -> None:
        """Do what is said."""
        async for said in heard:
            if said.word == "ping":
                say_nowait(self._line, "alive")
            elif said.word in _ENDS:
                if said.word == GONE:
                    logs.log_warning("The supervisor is gone, stopping.")
                self._end(everything, said)

    def _end(self, everything: anyio.CancelScope, said: Said) -> None:
        server = self._server
        if server is None:
            everything.cancel()
            return
        self.sharing.last = self.sharing.last or said.last
        if said.word == "abort":
            server.abort()
        elif said.word == "hurry":
            server.stop_quickly(self._stop_bound.timeouts.interactive_grace)
        else:
            # The delay is for load balancers, which are to look for another machine. While others serve here they
            # are not.
            server.stop(delay=None if said.last else 0)

    async def count_requests(self) -> None:
        """Say so when as many requests have been taken up as one process is to have."""
        limit = self._processes.limit_max_requests
        if limit is None:
            return
        limit += random.randint(0, self._processes.limit_max_requests_jitter)
        await self._serving.wait()
        assert self._server is not None
        while (requests := self._server.counts()[0]) < limit:  # noqa: ASYNC110  # see _COUNT_SECONDS
            await anyio.sleep(_COUNT_SECONDS)
        say_nowait(self._line, "spent", requests=requests)
