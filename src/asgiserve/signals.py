"""What signals mean to the command line. Nothing else in asgiserve touches one.

before the server listens   the start is given up: exit code 130 or 143
first SIGTERM               a graceful stop
first SIGINT                a graceful stop while somebody waits at a terminal: quicker
second of either            what still runs is cancelled; the application's lifespan still shuts down
one behind the stop         the process ends now, if threads keep it
SIGUSR1                     what goes on is logged: connections, and where their applications are
SIGHUP                      the files of certificates are read again; without any, it ends the process as ever

From the first of them on the end of the process has a bound, whatever the event loop does: `last_resort.py`.
"""

from __future__ import annotations

import atexit
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
from asgiserve.server import serve_with

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from types import FrameType
    from typing import Any

    from anyio.abc import TaskGroup

    from asgiserve.config import Settings, Timeouts
    from asgiserve.server import Server
    from asgiserve.server.bound import BoundSocket
    from asgiserve.server.listeners import Sharing
    from asgiserve.types import ASGIApplication

__all__ = ["INTERACTIVE_GRACE", "interruptible", "serve_until_signalled"]

INTERACTIVE_GRACE: Final = 5.0
"""Seconds of grace for Ctrl+C: nobody at a keyboard waits for the full grace period."""

_STOP_SLACK: Final = 1.5
"""What the server may take beyond its limits is one second; the last resort leaves it another half."""

_THREADS_SECONDS: Final = 1.0
"""What threads get at least that go on when the server has ended; more, if the grace period is not over."""

_LATE_SECONDS: Final = 0.25
"""What they get after one more signal."""

_STOPS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible() -> Iterator[None]:
    """For what may take long before the server looks for signals: either ends it by an exception, so that files go.

    Until then asyncio's SIGINT only cancels the main task, which an import never notices, and SIGTERM ends the process.
    """
    before = [signal.getsignal(number) for number in _STOPS]
    for number in _STOPS:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, one in zip(_STOPS, before, strict=True):
            signal.signal(number, one)


def _interrupt(number: int, _: FrameType | None) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


def _nothing() -> None:
    """What is released where the process has made no files."""


async def serve_until_signalled(
    app: ASGIApplication,
    settings: Settings,
    announce: Callable[[Server], None],
    *,
    sockets: Sequence[BoundSocket] = (),
    sharing: Sharing | None = None,
    not_ours: Sequence[signal.Signals] = (),
    notifier: Notifier | None = None,
    release: Callable[[], None] = _nothing,
) -> int:
    """Serve until a signal stops the server, and return the process's exit code.

    `announce` is called when the sockets listen. `sockets` are bound already; `sharing` says that other processes
    accept from them too; `not_ours` are signals that mean something to another process, and nothing here. `notifier`
    tells systemd how we do; `release` removes the process's files where it has to be left at once. Raises what
    `serve()` raises.
    """
    watch = _Watch(announce, settings.timeouts, notifier or Notifier(), release)
    with bare_errors():
        await _serve(app, settings, watch, sockets, sharing, not_ours)
    return watch.exit_code


async def _serve(
    app: ASGIApplication,
    settings: Settings,
    watch: _Watch,
    sockets: Sequence[BoundSocket],
    sharing: Sharing | None,
    not_ours: Sequence[signal.Signals],
) -> None:
    numbers = [*_STOPS]
    if sys.platform != "win32":
        numbers.append(signal.SIGUSR1)
        if settings.tls.ssl_certfile is not None:
            numbers.append(signal.SIGHUP)
    watch.not_ours = frozenset(not_ours)
    watch.take_signals()
    try:
        with anyio.open_signal_receiver(*{*numbers, *not_ours}) as received:
            watch.look_first()
            async with anyio.create_task_group() as group:
                watch.everything = group.cancel_scope
                group.start_soon(watch.run, received, group)
                await serve_with(
                    app, settings, sockets=sockets, task_status=watch, unstoppable=watch.leave, sharing=sharing
                )
                group.cancel_scope.cancel()
    except KeyboardInterrupt as late:
        # asyncio puts Python's own handler back a moment before we put ours: one more Ctrl+C, which means nothing now.
        if not watch.stopping:
            raise
        if late.__context__ is not None:
            raise late.__context__ from None
    finally:
        watch.served()


class _Watch:
    """Turns signals into stops. It is the server's task status too: it learns when the server listens."""

    def __init__(
        self,
        announce: Callable[[Server], None],
        timeouts: Timeouts,
        notifier: Notifier,
        release: Callable[[], None],
    ) -> None:
        self._announce = announce
        self._timeouts = timeouts
        self._notifier = notifier
        self._resort = LastResort(release)
        self.leave = partial(leave, release)
        self._grace_ends: float | None = None
        """When, on Python's monotonic clock; known from the first signal on."""
        self.everything = anyio.CancelScope()
        """What is cancelled when the start is given up."""
        self.not_ours: frozenset[signal.Signals] = frozenset()
        """What means something to another process, and nothing here."""
        self._server: Server | None = None
        self.stopping = False
        self.exit_code = 0

    def started(self, value: Server | None = None) -> None:
        assert value is not None
        self._server = value
        self._announce(value)
        self._notifier.ready(self._status())

    def _status(self) -> str:
        return "" if self._server is None else f"Serving on {', '.join(self._server.urls)}"

    async def run(self, received: AsyncIterator[signal.Signals], group: TaskGroup) -> None:
        group.start_soon(self._notifier.keep_alive)
        async for number in received:
            was_stopping = self.stopping
            self._act(number)
            if self.stopping and not was_stopping:
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
        elif number in self.not_ours:
            return
        elif self._server is None:
            logs.log_info(f"Received {number.name} during startup, giving up.")
            self.exit_code = self._resort.code = 128 + number
            self.everything.cancel()
        elif self.stopping:
            logs.log_info(f"Received {number.name} again, cancelling what still runs.")
            self._server.abort()
        else:
            self.stopping = True
            again = "; again to cancel what still runs" if number == signal.SIGINT else ""
            logs.log_info(f"Received {number.name}, stopping{again}.")
            if number == signal.SIGINT:
                self._server.stop_quickly(INTERACTIVE_GRACE)
            else:
                self._server.stop()

    # --- beside the event loop ---

    def take_signals(self) -> None:
        """Take what comes before and behind the loop's own ways of taking it.

        Not Python's own: behind the stop a second Ctrl+C would be a traceback, and a second SIGTERM a crash.
        """
        for number in _STOPS:
            signal.signal(number, signal.SIG_IGN if number in self.not_ours else self._signalled_late)

    def look_first(self) -> None:
        """Learn of each signal that stops before the loop does, and though the loop may be blocked."""
        self._resort.start()
        for number in _STOPS:
            if number not in self.not_ours:
                signal.signal(number, partial(self._signalled, signal.getsignal(number)))

    def served(self) -> None:
        """The server has ended, and the process is to end."""
        self._resort.served = True
        taken = False
        while not taken:
            try:
                self.take_signals()  # asyncio has put Python's own back; trio has put back these
                taken = True
            except KeyboardInterrupt:
                pass  # in this very moment
        # Behind the last thread Python puts the system's own back, but where a signal is ignored.
        atexit.register(_ignore_signals)
        grace = self._timeouts.graceful_shutdown
        if self._grace_ends is not None:
            grace = self._grace_ends - time.monotonic()
        self._resort.end_within(max(grace, _THREADS_SECONDS))

    def _signalled(self, received: Any, number: int, frame: FrameType | None) -> None:
        """`received` is the loop's own."""
        grace = 0.0
        if self._server is not None and self._grace_ends is None:
            timeouts, grace = self._timeouts, self._timeouts.graceful_shutdown
            grace = min(grace, INTERACTIVE_GRACE) if number == signal.SIGINT else grace + timeouts.shutdown_delay
        self._grace_ends = time.monotonic() + grace
        self._resort.end_within(grace + self._timeouts.lifespan_shutdown + _STOP_SLACK)
        if callable(received):
            received(number, frame)

    def _signalled_late(self, number: int, frame: FrameType | None) -> None:
        self._resort.end_within(_LATE_SECONDS)


def _ignore_signals() -> None:
    for number in _STOPS:
        signal.signal(number, signal.SIG_IGN)
