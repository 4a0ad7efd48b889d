"""A worker process: `python -m asgiserve.supervise.worker CONTROL INSPECTION`, two descriptors of socket pairs.

It is sent what to serve on the first of them, serves that as the command line does in a single process, and is told
there to stop. The end of that line means that the supervisor is gone: then it stops by itself, so that nothing is left
behind. The other end is process.py; on the second descriptor a thread answers (inspection.py). When the event loop has
ended and threads of the application keep the process, a thread listens on the first one too.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import signal
import socket
import sys
import threading
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio

from asgiserve import logs
from asgiserve.errors import bare_errors
from asgiserve.process.standard_streams import give_up_broken_streams_at_exit, tell
from asgiserve.process.taken_signals import TakenSignals
from asgiserve.program import configure_logs_quietly, exit_code, loaded
from asgiserve.server.bound import BoundSocket
from asgiserve.server.listeners import Sharing
from asgiserve.signals import INTERACTIVE_GRACE, StopBound, serve_until_signalled
from asgiserve.supervise.channel import Channel, read_plan
from asgiserve.supervise.inspection import answering_thread
from asgiserve.supervise.states import GAVE_UP, NOT_STARTED

if TYPE_CHECKING:
    import logging

    from asgiserve.program import Plan
    from asgiserve.server import Server
    from asgiserve.supervise.job import Job

__all__ = ["main"]

_COUNT_SECONDS: Final = 0.1
"""How often requests are compared with their limit: counting them in a comparison each would cost every request."""

_NOT_OURS: Final = (signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU) if sys.platform != "win32" else ()
"""What means something to the supervisor. `pkill -HUP asgiserve` reaches workers too, and must not end them."""

_LATER: Final = (*_NOT_OURS, signal.SIGUSR1) if sys.platform != "win32" else ()
"""What must not end a worker that is still importing. SIGTERM does: nothing has begun that would have to be undone."""


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
    channel = Channel(control)
    stop_bound = StopBound(plan.settings.timeouts)
    link = _Link(channel, plan, stop_bound)
    code: int = GAVE_UP
    with ExitStack() as stack, bare_errors():
        stack.callback(_listen_on, control, stop_bound)
        for one in bound:
            stack.callback(one.close)
        stack.enter_context(answering_thread(inspection, link.about, link.lost))
        async with anyio.create_task_group() as group:
            group.start_soon(link.obey, group.cancel_scope)
            group.start_soon(link.count_requests)
            app = loaded(plan)
            logs.log_info(f"Started server process [{os.getpid()}]")
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


def _listen_on(control: socket.socket, stop_bound: StopBound) -> None:
    """The loop reads no more. What threads of the application still get may yet be shortened."""
    line = socket.socket(fileno=control.detach())
    line.setblocking(True)
    threading.Thread(target=_obey_late, args=(line, stop_bound), name="asgiserve's line", daemon=True).start()


def _obey_late(line: socket.socket, stop_bound: StopBound) -> None:
    with line, line.makefile("rb") as lines, suppress(OSError, ValueError, TypeError, KeyError):
        for one in lines:
            word = json.loads(one)["word"]
            if word == "hurry":
                stop_bound.told_late(INTERACTIVE_GRACE)
            elif word == "abort":
                stop_bound.told_late()


def _inherited(number: int) -> socket.socket:
    os.set_inheritable(number, False)
    return socket.socket(fileno=number)


class _Link:
    """The line to the supervisor, as the worker's loop sees it."""

    def __init__(self, channel: Channel, plan: Plan, stop_bound: StopBound) -> None:
        self._channel = channel
        self._stop_bound = stop_bound
        self._processes = plan.processes
        self._server: Server | None = None
        self._serving = anyio.Event()
        self.sharing = Sharing(self._leaving)

    def serving(self, server: Server) -> None:
        """The server accepts connections."""
        self._server = server
        self._serving.set()
        self._channel.send_nowait("ready")

    def _leaving(self) -> None:
        self._channel.send_nowait("leaving")

    def about(self) -> dict[str, Any]:
        """What there is to tell; also called in another thread."""
        return {"text": "starting" if self._server is None else self._server.overview()}

    def lost(self) -> None:
        """The supervisor is gone, says another thread. The loop learns of it by itself, if it turns."""
        if self._server is None:
            self._stop_bound.told(0.0)
        else:
            self._stop_bound.stops()

    async def obey(self, everything: anyio.CancelScope) -> None:
        """Do what is said until nothing more can be."""
        while (said := await self._channel.receive()) is not None:
            if said["word"] == "ping":
                self._channel.send_nowait("alive")
            else:
                self._end(everything, said["word"], last=said.get("last") is True)
        logs.log_warning("The supervisor is gone, stopping.")
        self._end(everything, "stop", last=True)

    def _end(self, everything: anyio.CancelScope, word: str, *, last: bool) -> None:
        server, stop_bound = self._server, self._stop_bound
        if server is None:
            stop_bound.told(0.0)
            everything.cancel()
            return
        self.sharing.last = self.sharing.last or last
        if word == "stop":
            # The delay is for load balancers, which are to look for another machine. While others serve here they
            # are not.
            server.stop(delay=None if last else 0)
            stop_bound.stops(last=last)
        elif word == "hurry":
            server.stop_quickly(INTERACTIVE_GRACE)
            stop_bound.stops_quickly()
        elif word == "abort":
            server.abort()
            stop_bound.told(0.0)

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
        self._channel.send_nowait("spent", requests=requests)


if __name__ == "__main__":
    main()
