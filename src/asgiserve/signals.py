"""What SIGINT and SIGTERM mean to the command line. Nothing else in asgiserve touches a signal.

before the server listens   the start is given up: exit code 130 or 143
first SIGTERM               a graceful stop
first SIGINT                a graceful stop while somebody waits at a terminal: quicker
second of either            what still runs is cancelled; the application's lifespan still shuts down
"""

from __future__ import annotations

import logging
import os
import signal
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
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
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
        if self._server is None:
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
