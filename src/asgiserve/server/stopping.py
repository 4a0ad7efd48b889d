"""The stop of a server, from the first word of it to the end of its lifespan.

A graceful stop is an event, a hard one is a cancellation. The phases of the first, counted from the stop:

    at once          nothing new is accepted; idle connections close, the others after the linger;
                     every response says `Connection: close`
    notice           each running application is told `http.disconnect`
    grace            whatever still runs is cancelled
    grace + 1 s      finished or not, the application's lifespan shuts down, within its own limit

When `serve()` itself is cancelled, only the last line is left. An application that does not even end when it
is cancelled cannot be ended: `unstoppable` tells whoever owns the process.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

from asgiserve import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from asgiserve.config import Timeouts
    from asgiserve.connection.service import Service
    from asgiserve.server.lifespan import Lifespan

__all__ = ["ServerState", "Stopping"]

_NOTICE_SHARE: Final = 0.4
"""Of the grace period: applications that listen for a disconnect need the rest of it to end."""

_CANCELLED_SECONDS: Final = 0.75
"""How long cancelled applications get to end before the lifespan goes without them."""

_SLACK_SECONDS: Final = 0.25
"""How long a lifespan that was cancelled at its limit gets to end. With the above: the one second that a stop
may take beyond the grace period and the lifespan's limit."""

_REMINDER_SECONDS: Final = 5.0
"""How often it is said what an embedded server still waits for."""


class ServerState(enum.Enum):
    """Where a server stands."""

    STARTING = "starting"
    SERVING = "serving"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast to stop: seconds until the notice and until the end of the grace period."""

    notice: float
    grace: float


class Stopping:
    """The one place that ends a server."""

    def __init__(
        self,
        service: Service,
        lifespan: Lifespan,
        timeouts: Timeouts,
        *,
        unstoppable: Callable[[], None] | None,
    ) -> None:
        """`unstoppable` is called when something runs on although it was cancelled; it does not return.
        Without it the server waits, since it cannot end before its children, and says so."""
        self._service = service
        self._lifespan = lifespan
        self._timeouts = timeouts
        self._unstoppable = unstoppable
        self._pace = self._paced(timeouts.shutdown_notice, timeouts.graceful_shutdown)
        self.accepting = anyio.CancelScope()
        """The scope of the accept loops."""
        self.connections = anyio.CancelScope()
        """The scope of the connections group, the accept loops included."""
        self._requested = anyio.Event()
        self._began: float | None = None
        """When the stop began, on the loop's clock."""
        self._hurried = anyio.Event()
        """The pace has changed."""
        self._connections_done = anyio.Event()
        self.state = ServerState.STARTING

    # --- what asks for a stop; none of it waits ---

    def stop(self) -> None:
        """Stop gracefully. Idempotent."""
        self._requested.set()

    def stop_quickly(self, grace: float) -> None:
        """Stop gracefully while somebody waits for it: the notice comes at once, and grace is short.

        In the middle of a stop, `grace` counts from now; it never lengthens what is left.
        """
        elapsed = 0.0 if self._began is None else self._service.clock() - self._began
        self._pace = Pace(notice=0.0, grace=min(elapsed + grace, self._pace.grace))
        self._requested.set()
        self._hurried.set()

    def abort(self) -> None:
        """Cancel what runs, now. The lifespan still shuts down."""
        self._pace = Pace(notice=0.0, grace=0.0)
        self._requested.set()
        self._hurried.set()

    def connections_done(self) -> None:
        """Nothing is left in the connections group."""
        self._connections_done.set()

    # --- the task ---

    async def run(self) -> None:
        """Wait for the stop and see it through, also when `serve()` itself is cancelled."""
        try:
            await self._until_requested()
            await self._stop_gracefully()
        finally:
            self.state = ServerState.STOPPING
            await _wait_shielded(self._connections_done, _CANCELLED_SECONDS)
            self._lifespan.begin_shutdown(self._timeouts.lifespan_shutdown)
            await _wait_shielded(self._lifespan.ended, self._timeouts.lifespan_shutdown + _SLACK_SECONDS)
            if not (self._connections_done.is_set() and self._lifespan.ended.is_set()):
                await self._outwait()

    async def _until_requested(self) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch_lifespan)
            await self._requested.wait()
            group.cancel_scope.cancel()

    async def _watch_lifespan(self) -> None:
        """A lifespan that fails while serving takes the server with it: what it held open is gone."""
        await self._lifespan.ended.wait()
        if self._lifespan.error is not None:
            self._requested.set()

    async def _stop_gracefully(self) -> None:
        service, now = self._service, self._service.clock()
        self._began = now
        self.state = ServerState.STOPPING
        self.accepting.cancel()
        service.draining = True
        for handshake in service.handshakes:
            handshake.deadline = min(handshake.deadline, now + self._timeouts.linger)
        for connection in list(service.connections):
            connection.drain(now)
        if self._pace.grace > 0:
            self._say_what_is_awaited()
            await self._grace(now)
        if not self._connections_done.is_set():
            self._cancel_connections()

    async def _grace(self, began: float) -> None:
        """Wait for the connections, until the grace period ends; give the notice on the way."""
        await self._wait_until(lambda: began + self._pace.notice)
        if not self._connections_done.is_set():
            for connection in list(self._service.connections):
                connection.notify()
            await self._wait_until(lambda: began + self._pace.grace)

    async def _wait_until(self, moment: Callable[[], float]) -> None:
        """Wait until the connections are done or the moment has come; a change of pace brings it nearer."""
        while not self._connections_done.is_set() and self._service.clock() < moment():
            self._hurried = anyio.Event()
            with anyio.CancelScope(deadline=moment()):
                async with anyio.create_task_group() as group:
                    for event in (self._connections_done, self._hurried):
                        group.start_soon(_cancel_after, event, group.cancel_scope)

    def _cancel_connections(self) -> None:
        left = self._service.tasks
        if left:
            logs.log_warning(f"Cancelling {_counted(left)}: the grace period is over.")
        self.connections.cancel()

    def _say_what_is_awaited(self) -> None:
        connections = self._service.connections
        open_connections = len(connections)
        in_flight = sum(one.exchange is not None for one in connections)
        if open_connections:
            limit = "" if self._pace.grace == math.inf else f" for at most {self._pace.grace:g} s"
            logs.log_info(
                f"Waiting{limit} for {_counted(open_connections)} to close ({in_flight} with a request in flight)."
            )

    async def _outwait(self) -> None:
        """Something goes on although it was cancelled. Nothing can end it but the end of the process."""
        while not (self._connections_done.is_set() and self._lifespan.ended.is_set()):
            self._service.log_unstoppable()
            if not self._lifespan.ended.is_set():
                logs.log_error("The application's lifespan goes on although it was cancelled.")
            if self._unstoppable is not None:
                self._unstoppable()
            left = self._lifespan.ended if self._connections_done.is_set() else self._connections_done
            await _wait_shielded(left, _REMINDER_SECONDS)

    def _paced(self, notice: float, grace: float) -> Pace:
        return Pace(notice=min(notice, _NOTICE_SHARE * grace), grace=grace)


async def _wait_shielded(event: anyio.Event, seconds: float) -> None:
    """Wait for it although we are cancelled, but not for long."""
    with anyio.CancelScope(deadline=anyio.current_time() + seconds, shield=True):
        await event.wait()


async def _cancel_after(event: anyio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def _counted(connections: int) -> str:
    return "1 connection" if connections == 1 else f"{connections} connections"
