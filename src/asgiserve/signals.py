"""What signals mean to the command line, and to `run()`. How they are taken is in `process/taken_signals.py`.

before the server listens   the start is given up: exit code 130 or 143
first SIGTERM               a graceful stop
first SIGINT                a graceful stop while somebody waits at a terminal: quicker
second of either            what still runs is cancelled; the application's lifespan still shuts down
one behind the stop         the process ends now, if threads keep it
SIGUSR1                     what goes on is logged: connections, and where their applications are
SIGHUP                      the files of certificates are read again; without any, it ends the process as ever

From the first of them on the end of the process has a bound, whatever the event loop does: `StopBound`, which a worker
tells what it hears of its supervisor.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from asgiserve import logs
from asgiserve.errors import bare_errors
from asgiserve.last_resort import LastResort, leave
from asgiserve.process.notify import Notifier
from asgiserve.process.taken_signals import STOPS, TakenSignals
from asgiserve.server import serve_with

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from anyio.abc import TaskGroup

    from asgiserve.config import Settings, Timeouts
    from asgiserve.process.waiting import Waiting
    from asgiserve.server import Server
    from asgiserve.server.bound import BoundSocket
    from asgiserve.server.listeners import Sharing
    from asgiserve.types import ASGIApplication, WSGIApplication

__all__ = ["StopBound", "interruptible", "serve_until_signalled"]

_STOP_SLACK: Final = 1.5
"""What the server may take beyond its limits is one second; the last resort leaves it another half."""

_THREADS_SECONDS: Final = 1.0
"""What threads get at least that go on when the server has ended; more, if the grace period is not over."""

_LATE_SECONDS: Final = 0.25
"""What they get after one more signal, if they have had that."""


@contextmanager
def interruptible(settings: Settings) -> Iterator[TakenSignals]:
    """For what may take long before the server looks for signals: either ends it by an exception, so that files go.

    Without it asyncio's SIGINT only cancels the main task, which an import never notices, and SIGTERM ends the process.
    What it gives is for `serve_until_signalled()`: nobody else has the signals in between.
    """
    taken = TakenSignals(*_numbers(settings))
    with taken.interrupting():
        yield taken


def _numbers(settings: Settings) -> set[signal.Signals]:
    """What means something to a server."""
    if sys.platform == "win32":
        return {*STOPS}
    with_certificates = settings.tls.ssl_certfile is not None
    return {*STOPS, signal.SIGUSR1, signal.SIGHUP} if with_certificates else {*STOPS, signal.SIGUSR1}


def _nothing() -> None:
    """What is released where the process has made no files."""


class StopBound:
    """How long the process may take to end, by what it has been told; kept by `last_resort.py`.

    Made in the running loop. What tells it something may do so beside the loop: in another thread, or where a handler
    of signals is called.
    """

    def __init__(self, timeouts: Timeouts, release: Callable[[], None] = _nothing) -> None:
        self.timeouts = timeouts
        self.resort = LastResort(release)
        self.resort.start()
        self._grace_ends: float | None = None
        """When, on Python's monotonic clock; known from the first word on."""
        self._threads_end = math.inf
        """When threads have had what they get at least; known from the server's end on."""

    def stops(self, *, last: bool = True) -> None:
        """The server was told to stop; after the delay, if it is the last one that serves here."""
        self.told((self.timeouts.shutdown_delay if last else 0.0) + self.timeouts.graceful_shutdown)

    def stops_quickly(self) -> None:
        """It was, by somebody who waits."""
        self.told(self.timeouts.interactive_grace)

    def told(self, grace: float) -> None:
        """It was; what runs has so many seconds from now on, or what it had before. Behind the server's end that is
        what threads have."""
        now = time.monotonic()
        if self.resort.served:
            # Not at once: the process may be ending by itself, on a machine that has other things to do.
            self.resort.end_within(max(self._threads_end - now, grace, _LATE_SECONDS))
            return
        ends = now + grace
        self._grace_ends = ends if self._grace_ends is None else min(self._grace_ends, ends)
        self.resort.end_within(grace + self.timeouts.lifespan_shutdown + _STOP_SLACK)

    def served(self) -> None:
        """The server has ended, and the process is to end."""
        now = time.monotonic()
        self._threads_end = now + _THREADS_SECONDS
        self.resort.served = True
        grace = self.timeouts.graceful_shutdown if self._grace_ends is None else self._grace_ends - now
        self.resort.end_within(max(grace, _THREADS_SECONDS))


async def serve_until_signalled(
    app: ASGIApplication | WSGIApplication,
    settings: Settings,
    announce: Callable[[Server], None],
    *,
    ssl_context: ssl.SSLContext | None = None,
    sockets: Sequence[BoundSocket] = (),
    sharing: Sharing | None = None,
    taken: TakenSignals | None = None,
    not_ours: Sequence[signal.Signals] = (),
    notifier: Notifier | None = None,
    release: Callable[[], None] = _nothing,
    stop_bound: StopBound | None = None,
) -> int:
    """Serve until a signal stops the server, and return the process's exit code.

    `announce` is called when the sockets listen. `ssl_context` is one of the caller's own. `sockets` are bound already;
    `sharing` says that other processes
    accept from them too; `taken` is what `interruptible()` gave; `not_ours` are signals that mean something to another
    process, and nothing here. `notifier` tells systemd how we do; `release` removes the process's files where it has to
    be left at once; `stop_bound` is told by somebody else too. Raises what `serve()` raises.
    """
    if taken is None:
        taken = TakenSignals(*_numbers(settings), *not_ours)
    if stop_bound is None:
        stop_bound = StopBound(settings.timeouts, release)
    watch = _Watch(announce, stop_bound, notifier or Notifier(), frozenset(not_ours))
    serve = partial(
        serve_with,
        app,
        settings,
        ssl_context=ssl_context,
        sockets=sockets,
        task_status=watch,
        unstoppable=partial(leave, release),
        sharing=sharing,
    )
    with bare_errors():
        await _serve(serve, watch, taken)
    return watch.exit_code


async def _serve(serve: Callable[[], Awaitable[None]], watch: _Watch, taken: TakenSignals) -> None:
    taken.stopping = watch.stopping
    try:
        with taken.received(watch.signalled, watch.signalled_late) as received:
            # Here, where signals have a meaning: a stderr that takes nothing would keep the process whatever comes.
            logs.log_info(f"Started server process [{os.getpid()}]")
            async with anyio.create_task_group() as group:
                watch.everything = group.cancel_scope
                group.start_soon(watch.run, received, group)
                await serve()
                group.cancel_scope.cancel()
    finally:
        watch.stop_bound.served()


class _Watch:
    """Turns signals into stops. It is the server's task status too: it learns when the server listens."""

    def __init__(
        self,
        announce: Callable[[Server], None],
        stop_bound: StopBound,
        notifier: Notifier,
        not_ours: frozenset[signal.Signals],
    ) -> None:
        self._announce = announce
        self.stop_bound = stop_bound
        self._notifier = notifier
        self._not_ours = not_ours
        """What means something to another process, and nothing here."""
        self._signalled = False
        """One that stops has come, whether the loop has heard of it or not."""
        self.everything = anyio.CancelScope()
        """What is cancelled when the start is given up."""
        self._server: Server | None = None
        self._stopping = False
        self.exit_code = 0

    def stopping(self) -> bool:
        """Whether the stop has begun, whoever asked for it. Not in its delay: everything is served as ever then, and a
        stream that ended would be asked for again, here."""
        return self._server is not None and self._server.state in ("stopping", "stopped")

    def started(self, value: Server | None = None) -> None:
        assert value is not None
        self._server = value
        self.stop_bound.resort.code = 1  # a signal may have come too late to end the start
        self._announce(value)
        self._notifier.ready(self._status())

    def _status(self) -> str:
        return "" if self._server is None else f"Serving on {', '.join(self._server.urls)}"

    async def run(self, received: Waiting[signal.Signals], group: TaskGroup) -> None:
        group.start_soon(self._notifier.keep_alive)
        async for number in received:
            was_stopping = self._stopping
            self._act(number)
            if self._stopping and not was_stopping:
                self._notifier.stopping(f"Stopping, by {number.name}")
                group.start_soon(self._notifier.keep_extending)

    def _act(self, number: signal.Signals) -> None:
        if sys.platform != "win32" and number == signal.SIGUSR1:
            logs.log_info("starting" if self._server is None else self._server.overview())
        elif sys.platform != "win32" and number == signal.SIGHUP:
            # Whatever has changed since the start is noticed soon after it.
            if self._server is not None:
                self._notifier.reloading()
                self._server.reload_certificates()
                self._notifier.ready(self._status())
        elif number in self._not_ours:
            return
        elif self._server is None:
            logs.log_info(f"Received {number.name} during startup, giving up.")
            self.exit_code = 128 + number
            self.everything.cancel()
        elif self._stopping:
            logs.log_info(f"Received {number.name} again, cancelling what still runs.")
            self._server.abort()
        else:
            self._stopping = True
            again = "; again to cancel what still runs" if number == signal.SIGINT else ""
            logs.log_info(f"Received {number.name}, stopping{again}.")
            if number == signal.SIGINT:
                self._server.stop_quickly(self.stop_bound.timeouts.interactive_grace)
            else:
                self._server.stop()

    # --- beside the event loop, which may be blocked ---

    def signalled(self, number: signal.Signals) -> None:
        if number not in STOPS:
            return
        if self._server is None:
            self.stop_bound.resort.code = 128 + number
        if self._server is None or self._signalled:
            self.stop_bound.told(0.0)
        elif number == signal.SIGINT:
            self.stop_bound.stops_quickly()
        else:
            self.stop_bound.stops()
        self._signalled = True

    def signalled_late(self, number: signal.Signals) -> None:
        if number in STOPS:
            self.stop_bound.told(0.0)
