"""What all connections of one server share: what they serve, by which rules, and the count of what is going on.

Made by `server/serve.py`, read by everything in `connection/`, and by `server/stopping.py`, which turns it from
serving to draining.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio

from asgiserve import logs
from asgiserve.backend import clock, stopwatch
from asgiserve.cancellation import LoopEnd
from asgiserve.connection.access import access_lines
from asgiserve.connection.dates import DefaultBlock, HttpDate
from asgiserve.connection.deadlines import Watcher
from asgiserve.connection.exchange import Exchange
from asgiserve.connection.guard import Guards
from asgiserve.connection.request_id import IdentifiedExchange
from asgiserve.connection.running import way_of_running
from asgiserve.connection.stacks import name_of, stack_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine
    from contextvars import Context

    from anyio.abc import TaskGroup

    from asgiserve.asgi.scope import Mount
    from asgiserve.config import Http, Limits, Log, Proxies, Timeouts, WebSockets
    from asgiserve.connection.deadlines import Deadlines, Reason
    from asgiserve.connection.origin import Origin
    from asgiserve.events import RequestHead
    from asgiserve.protocols.http1 import DefaultFields
    from asgiserve.types import ASGIApplication

__all__ = ["Service"]

_DRAINING: Final = "asgiserve.draining"
"""The key in `scope["state"]`, for endpoints that say whether the server is ready."""


class Running(Protocol):
    """An exchange or a WebSocket whose application runs."""

    head: RequestHead
    coroutine: Any

    @property
    def path(self) -> str: ...

    def age(self) -> float | None:
        """For how many seconds it has been running, if that is known."""


class Connection(Protocol):
    """What the watcher of deadlines and the stop of the server know of a connection. None of it awaits anything."""

    deadlines: Deadlines
    opened_at: float
    origin: Origin

    def doing(self, now: float) -> str:
        """What it is doing, for people."""
        ...

    @property
    def exchange(self) -> Running | None:
        """What is going on."""

    def deadline_passed(self, reason: Reason) -> None: ...

    def drain(self, now: float) -> None:
        """The server stops."""

    def notify(self) -> None:
        """Tell the application that runs."""


class Service:
    """One server's application, settings and counters. Everything in it belongs to one event loop."""

    def __init__(
        self,
        app: ASGIApplication,
        *,
        mount: Mount,
        http: Http,
        limits: Limits,
        timeouts: Timeouts,
        websockets: WebSockets,
        proxies: Proxies,
        default_fields: DefaultFields,
        log: Log,
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        self.app = app
        self.mount = mount
        self.http = http
        self.limits = limits
        self.timeouts = timeouts
        self.websockets = websockets
        self.proxies = proxies
        self.default_fields = default_fields
        self.ssl_context = ssl_context
        self.access_log = log.access_log and logs.access_enabled()
        self.access_lines = access_lines(log)
        """What differs from the ordinary line; None where nothing does."""
        self.trace = logs.trace_enabled()
        self.request_id_header = None if log.request_id_header is None else log.request_id_header.encode("ascii")
        self.exchange: type[Exchange] = Exchange if self.request_id_header is None else IdentifiedExchange
        """What is made for each request."""
        self.send_raises = False
        """`send()` raises when writing has failed and more of the response was to follow. For applications that
        cannot be told `http.disconnect`, those of WSGI."""
        self.on_app_error: Callable[[BaseException], object] | None = None
        """Told what an application has raised that is an error of its own, once that is logged. For tests."""
        self.context: Context
        """The context that each exchange runs in a copy of: the lifespan's at `startup.complete`."""
        self.state: dict[str, Any] = {}
        """The lifespan's state."""
        self.clock = clock()
        self.stopwatch = stopwatch()
        self.loop_end = LoopEnd()
        self.date: Callable[[], bytes | None] = HttpDate() if http.date_header else _no_date
        """The value of the Date field; None where it is switched off."""
        self.default_block = DefaultBlock(default_fields, self.date)

        self.connections: set[Connection] = set()
        self.run = way_of_running(http, limits, timeouts)
        self.opened_at: float | None = None
        """When serving began, on the loop's clock."""
        self.requests = 0
        """Requests whose heads have been read, handshakes of WebSockets included; what was refused is not counted."""
        self.in_flight = 0
        """Exchanges whose response is not complete, and WebSockets; counted where `limit_concurrency` is set."""
        self.handshakes: set[anyio.CancelScope] = set()
        """TLS handshakes that are going on."""
        self.strangers_seen = False
        """Somebody who is no trusted proxy has connected, although `proxy_protocol` serves only proxies."""
        self.old_upgrade_seen = False
        """A request for a WebSocket has come by HTTP/1.0."""
        self.draining = False
        """Set at a stop: who has no request gets no more time for one than the linger."""
        self.says_close = timeouts.keep_alive == 0
        """Every response says `Connection: close`; set at a stop, and before its delay."""
        self.lingering: set[Running] = set()
        """Applications that go on after their response, or behind the end of their WebSocket."""
        self.slots = None if limits.connections is None else anyio.Semaphore(limits.connections)
        """How many more connections may be accepted."""
        self.watcher = Watcher(self.connections, self.clock)
        self._guards = Guards(self.watcher)
        self._driver_context: Context

    def open(self, group: TaskGroup, *, context: Context, driver_context: Context) -> None:
        """Serve in this group. `driver_context` is what drivers run in: an application's never is."""
        self._guards.open(group)
        self.opened_at = self.clock()
        self.context = context
        self._driver_context = driver_context

    def drain(self) -> None:
        """A stop has been asked for: clients are to go elsewhere, and applications can see it. Idempotent."""
        self.says_close = True
        # Every request gets a copy of the state: this costs nothing as long as nobody stops.
        self.state[_DRAINING] = True

    def spawn(self, body: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """Run `body(*args)` in a guarded task of the connections group, in a clean context."""
        self._driver_context.copy().run(self._guards.start_soon, body, *args)

    @property
    def tasks(self) -> int:
        """Connections, and applications that outlive theirs."""
        return self._guards.tasks

    def accepted_all(self) -> None:
        """No connection is to come any more."""
        self._guards.close()

    def release(self, connection: Connection | None) -> None:
        """An accepted connection is gone, or never came to be."""
        if connection is not None:
            self.connections.discard(connection)
            if self.trace:
                logs.log_trace(connection.origin.client_name, "Connection lost")
        if self.slots is not None:
            self.slots.release()

    def running(self) -> list[Running]:
        """What has an application that runs."""
        everything = dict.fromkeys([*(one.exchange for one in self.connections), *self.lingering])
        return [one for one in everything if one is not None and one.coroutine is not None]

    def log_unstoppable(self) -> None:
        """Name the applications that still run, and where they are."""
        for one in self.running():
            logs.log_unstoppable(name_of(one.coroutine), one.head.method, one.path, one.age(), stack_of(one.coroutine))

    def log_app_error(self, context: Context, method: str, path: str, error: BaseException) -> None:
        """An application has raised, and neither our cancellation nor the news that its peer has left."""
        context.run(logs.log_app_error, method, path, error)
        if self.on_app_error is not None:
            self.on_app_error(error)


def _no_date() -> None:
    return None
