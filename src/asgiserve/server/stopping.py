"""The stop of a server, from the first word of it to the end of its lifespan.

A graceful stop is an event, a hard one is a cancellation. The phases of the first, counted from the stop:

    before           with a delay: everything is served as ever, and every response says `Connection: close`
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
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

from asgiserve import logs
from asgiserve.backend import ki_protected
from asgiserve.connection.deadlines import TICK
from asgiserve.connection.overview import lasting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asgiserve.config import Timeouts
    from asgiserve.connection.service import Running, Service
    from asgiserve.server.lifespan import Lifespan

__all__ = ["ServerState", "Stopping"]

_NOTICE_SHARE: Final = 0.4
"""Of the grace period: applications that listen for a disconnect need the rest of it to end."""

_CANCELLED_SECONDS: Final = 0.5
"""How long cancelled applications get to end before the lifespan goes without them."""

_HEADWAY_SECONDS: Final = 0.25
"""How often something has to end behind that, so that nothing counts as stuck: thousands of connections that are
cancelled at once take seconds."""

_SLACK_SECONDS: Final = 0.25
"""How long a lifespan that was cancelled at its limit gets to end. With the above: the one second that a stop
may take beyond the grace period and the lifespan's limit."""

_NAMED: Final = 5
"""How many different requests are named that have to be cancelled; the access log has them all."""

_ADVICE: Final = (
    "It would end if it let the cancellation pass. One that waits for a thread ends with what the thread does:"
    " give that a limit, or abandon the thread."
)

_REMINDER_SECONDS: Final = 5.0
"""How often it is said what an embedded server still waits for."""


class ServerState(enum.Enum):
    """Where a server stands."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    """Asked to stop, and serving on for the delay."""
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
        self.connections = anyio.CancelScope(shield=True)
        """The scope of the connections group, the accept loops included. Only `run` cancels it, also for who cancels
        `serve()`: shielded, since whoever asks whether he is cancelled asks all scopes up to the first shield."""
        self._requested = anyio.Event()
        self._delay = math.inf
        """Seconds between the request to stop and the stop; who asks says how many."""
        self._aborted = False
        """Somebody could not wait for the end of the grace period."""
        self._began: float | None = None
        """When the stop began, on the loop's clock."""
        self._changed = anyio.Event()
        """What the stop waits for may be over: the pace has changed, or the connections are done."""
        self._connections_done = anyio.Event()
        self._state = ServerState.STARTING
        self._since = service.clock()

    @property
    def state(self) -> ServerState:
        return self._state

    @state.setter
    def state(self, state: ServerState) -> None:
        if state is not self._state:
            self._state = state
            self._since = self._service.clock()

    def doing(self, now: float) -> str:
        """For people: the state, for how long, and what comes next."""
        text = f"{self.state.value} for {lasting(now - self._since)}"
        if self.state is ServerState.DRAINING:
            return f"{text}; the stop begins in {lasting(self._since + self._delay - now)} (shutdown_delay)"
        if self.state is not ServerState.STOPPING or self._began is None:
            return text
        left = self._began + self._pace.grace - now
        if self._connections_done.is_set():
            return f"{text}; all connections have ended"
        if left <= 0:
            return f"{text}; what runs has been cancelled"
        return text if left == math.inf else f"{text}; what still runs in {lasting(left)} is cancelled"

    # --- what asks for a stop; none of it waits ---

    def stop(self, delay: float | None = None) -> None:
        """Stop gracefully, after serving on for `delay` seconds; None is the setting `shutdown_delay`. Idempotent,
        but for a delay that is shorter than the one that runs."""
        self._request(self._timeouts.shutdown_delay if delay is None else delay)

    def stop_quickly(self, grace: float) -> None:
        """Stop gracefully while somebody waits for it: the notice comes at once, and grace is short.

        In the middle of a stop, `grace` counts from now; it never lengthens what is left.
        """
        elapsed = 0.0 if self._began is None else self._service.clock() - self._began
        self._pace = Pace(notice=0.0, grace=min(elapsed + grace, self._pace.grace))
        self._request(0.0)

    def abort(self) -> None:
        """Cancel what runs, now. The lifespan still shuts down."""
        self._aborted = True
        self._pace = Pace(notice=0.0, grace=0.0)
        self._request(0.0)

    def _request(self, delay: float) -> None:
        self._delay = min(self._delay, delay)
        self._requested.set()
        self._changed.set()

    def connections_done(self) -> None:
        """Nothing is left in the connections group."""
        self._connections_done.set()
        self._changed.set()

    @property
    def connections_are_done(self) -> bool:
        """That has been said."""
        return self._connections_done.is_set()

    async def until_connections_done(self) -> None:
        await self._connections_done.wait()

    # --- the task ---

    @ki_protected
    async def run(self) -> None:
        """Wait for the stop and see it through, also when `serve()` itself is cancelled."""
        try:
            await self._serve()
            await self._stop_gracefully()
        finally:
            try:
                await self._end()
            finally:
                self._service.loop_end.over()

    async def _end(self) -> None:
        self.state = ServerState.STOPPING
        self.connections.cancel()
        await _wait_shielded(self._connections_done, _CANCELLED_SECONDS)
        self._lifespan.begin_shutdown(self._timeouts.lifespan_shutdown)
        await _wait_shielded(self._lifespan.ended, self._timeouts.lifespan_shutdown + _SLACK_SECONDS)
        await self._let_end()
        if not (self._connections_done.is_set() and self._lifespan.ended.is_set()):
            await self._outwait()

    async def _let_end(self) -> None:
        """Wait while there is headway, for as long as the lifespan might have taken."""
        until = self._service.clock() + self._timeouts.lifespan_shutdown
        before, left = math.inf, self._service.tasks
        while not self._connections_done.is_set() and left < before and self._service.clock() < until:
            await _wait_shielded(self._connections_done, _HEADWAY_SECONDS)
            before, left = left, self._service.tasks

    async def _serve(self) -> None:
        """Until the stop begins."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch_lifespan)
            await self._requested.wait()
            await self._serve_on()
            group.cancel_scope.cancel()

    @ki_protected
    async def _watch_lifespan(self) -> None:
        """A lifespan that fails while serving takes the server with it: what it held open is gone."""
        await self._lifespan.ended.wait()
        if self._lifespan.error is not None:
            self._request(0.0)

    async def _serve_on(self) -> None:
        """The delay: whoever sends us connections is to notice, and to go elsewhere."""
        began = self._service.clock()
        if self._delay <= 0 or self.state is not ServerState.SERVING:
            return
        self.state = ServerState.DRAINING
        self._service.drain()
        logs.log_info(f"Serving on for {self._delay:g} s while load balancers take notice (shutdown_delay).")
        await self._wait_until(lambda: began + self._delay)

    async def _stop_gracefully(self) -> None:
        service, now = self._service, self._service.clock()
        self._began = now
        self.state = ServerState.STOPPING
        self.accepting.cancel()
        service.draining = True
        service.drain()
        for handshake in service.handshakes:
            handshake.deadline = min(handshake.deadline, now + self._timeouts.linger)
        if self._pace.grace > 0:  # without it they are cancelled at once, and told nothing else before
            for connection in list(service.connections):
                connection.drain(now)
            self._say_what_is_awaited()
            await self._grace(now)
        if not self._connections_done.is_set():
            self._cancel_connections()

    async def _grace(self, began: float) -> None:
        """Wait for the connections, until the grace period ends; give the notice on the way."""
        await self._wait_until(lambda: began + self._pace.notice)
        self._notify()
        # A notice that comes at once is older than the last requests, those of the linger.
        linger = self._timeouts.linger + TICK
        if linger < self._pace.grace:
            await self._wait_until(lambda: began + min(linger, self._pace.grace))
            self._notify()
        await self._wait_until(lambda: began + self._pace.grace)

    def _notify(self) -> None:
        # Who is about to be cancelled is told nothing else: what it would see first is the backend's affair.
        if self._pace.grace > 0:
            for connection in list(self._service.connections):
                connection.notify()

    async def _wait_until(self, moment: Callable[[], float]) -> None:
        """Wait until the connections are done or the moment has come; a change of pace brings it nearer."""
        while not self._connections_done.is_set() and self._service.clock() < moment():
            self._changed = anyio.Event()
            # One event, and no group that is cancelled: where the tree ends in the same turn of the loop, anyio takes
            # the group's cancellation for the tree's on asyncio, and uncancels the task that has called serve().
            with anyio.CancelScope(deadline=moment()):
                await self._changed.wait()

    def _cancel_connections(self) -> None:
        running = self._service.running()
        if running:
            why = "Cancelling" if self._aborted else "The grace period is over, cancelling"
            logs.log_warning(f"{why} {_named(running)}.")
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
        advised = False
        while not (self._connections_done.is_set() and self._lifespan.ended.is_set()):
            self._service.log_unstoppable()
            if not self._lifespan.ended.is_set():
                logs.log_error("The application's lifespan goes on although it was cancelled.")
            if not advised:
                advised = True
                logs.log_error(_ADVICE)
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


def _named(running: Sequence[Running]) -> str:
    """Requests as text: those that there are most of."""
    counts = Counter(f"{logs.printable(one.head.method)} {logs.printable(one.path)}" for one in running)
    shown = counts.most_common(_NAMED)
    rest = len(running) - sum(count for _, count in shown)
    names = [name if count == 1 else f"{name} ({count} times)" for name, count in shown]
    return ", ".join(names) + (f" and {rest} more" if rest else "")


def _counted(connections: int) -> str:
    return "1 connection" if connections == 1 else f"{connections} connections"
