"""What signals mean to the command line. Nothing else in asgiserve touches one.

before the server listens   the start is given up: exit code 130 or 143
first SIGTERM               a graceful stop
first SIGINT                a graceful stop while somebody waits at a terminal: quicker
second of either            what still runs is cancelled; the application's lifespan still shuts down
SIGUSR1                     what goes on is logged: connections, and where their applications are
SIGHUP                      the files of certificates are read again; without any, it ends the process as ever
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

import anyio

from asgiserve import logs
from asgiserve.errors import bare_errors
from asgiserve.server import serve_with

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from asgiserve.config import Settings
    from asgiserve.server import Server
    from asgiserve.types import ASGIApplication

__all__ = ["serve_until_signalled"]

_INTERACTIVE_GRACE: Final = 5.0
"""Seconds of grace for Ctrl+C: nobody at a keyboard waits for the full grace period."""


async def serve_until_signalled(app: ASGIApplication, settings: Settings, announce: Callable[[Server], None]) -> int:
    """Serve until a signal stops the server, and return the process's exit code.

    `announce` is called when the sockets listen. Raises what `serve()` raises.
    """
    watch = _Watch(announce)
    with bare_errors():
        await _serve(app, settings, watch)
    return watch.exit_code


async def _serve(app: ASGIApplication, settings: Settings, watch: _Watch) -> None:
    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32":
        numbers.append(signal.SIGUSR1)
        if settings.tls.ssl_certfile is not None:
            numbers.append(signal.SIGHUP)
    with anyio.open_signal_receiver(*numbers) as received:
        async with anyio.create_task_group() as group:
            watch.everything = group.cancel_scope
            group.start_soon(watch.run, received)
            await serve_with(app, settings, task_status=watch, unstoppable=_leave)
            group.cancel_scope.cancel()


class _Watch:
    """Turns signals into stops. It is the server's task status too: it learns when the server listens."""

    def __init__(self, announce: Callable[[Server], None]) -> None:
        self._announce = announce
        self.everything = anyio.CancelScope()
        """What is cancelled when the start is given up."""
        self._server: Server | None = None
        self._stopping = False
        self.exit_code = 0

    def started(self, value: Server | None = None) -> None:
        assert value is not None
        self._server = value
        self._announce(value)

    async def run(self, received: AsyncIterator[signal.Signals]) -> None:
        async for number in received:
            self._act(number)

    def _act(self, number: signal.Signals) -> None:
        if sys.platform != "win32" and number == signal.SIGUSR1:
            logs.log_info("starting" if self._server is None else self._server.overview())
        elif sys.platform != "win32" and number == signal.SIGHUP:
            # Whatever has changed since the start is noticed soon after it.
            if self._server is not None:
                self._server.reload_certificates()
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
                self._server.stop_quickly(_INTERACTIVE_GRACE)
            else:
                self._server.stop()


def _leave() -> None:
    """Applications run on although they were cancelled: leave without them, so that the stop has an end."""
    logs.log_error("Leaving without what goes on although it was cancelled.")
    logging.shutdown()
    os._exit(1)
