"""`serve()`: the tree of tasks that is a server, and the one awaitable that owns it.

    serve()
    └─ lifespan group          the application's lifespan, from startup to shutdown
       ├─ stopping task        turns a request to stop into phases (stopping.py)
       ├─ deadline watcher     the timeouts of all connections; parked while there are none
       └─ connections group    cancelled when the grace period ends
          ├─ accepting scope   an accept loop per listener; cancelled first
          └─ connection (one each)

`serve()` installs no signal handler, configures no logging and exits no process: it is a guest in somebody's
program. It returns when nothing is left, and raises one bare error.
"""

from __future__ import annotations

from contextvars import copy_context
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, cast

import anyio

from asgiserve import logs
from asgiserve.asgi.interface import as_asgi3, is_wsgi
from asgiserve.asgi.scope import Mount
from asgiserve.backend import clock, ki_protected
from asgiserve.config import Settings, for_one_server
from asgiserve.connection.opening import serve_connection
from asgiserve.connection.service import Service
from asgiserve.errors import (
    BindError,
    ConfigError,
    LocalProtocolError,
    ShutdownError,
    StartupError,
    bare_errors,
    reason,
)
from asgiserve.from_uvicorn import accepted
from asgiserve.protocols.http1 import DefaultFields
from asgiserve.server.binding import BoundSocket, address_of, bind_all, check_form, check_tls, url_of
from asgiserve.server.lifespan import Lifespan
from asgiserve.server.listeners import AcceptLoop, SocketListener
from asgiserve.server.overview import Overview
from asgiserve.server.server import Server
from asgiserve.server.stopping import ServerState, Stopping
from asgiserve.server.tls import Certificates, check_context
from asgiserve.server.tracing import traced
from asgiserve.streams import get_ready
from asgiserve.wsgi import WsgiApplication

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Awaitable, Callable, Sequence

    from anyio.abc import TaskGroup, TaskStatus

    from asgiserve.config import Application, WebSockets
    from asgiserve.server.listeners import Listener, Sharing
    from asgiserve.streams import Stream
    from asgiserve.types import ASGIApplication, WSGIApplication

__all__ = ["check_with", "serve", "serve_with"]


async def serve(
    app: ASGIApplication | WSGIApplication,
    *,
    stop: anyio.Event | None = None,
    ssl_context: ssl.SSLContext | None = None,
    sockets: Sequence[socket.socket] = (),
    listeners: Sequence[Listener] = (),
    task_status: TaskStatus[Server] = anyio.TASK_STATUS_IGNORED,
    **settings: Any,
) -> None:
    """Serve an application in the running event loop, asyncio's or trio's, until it is stopped.

    :param app: the ASGI application, or one of WSGI
    :param stop: setting it stops the server gracefully, as `Server.stop()` does; a startup that goes on is cancelled
    :param ssl_context: serve TLS with it, instead of with certificates that the settings name
    :param sockets: bound sockets to listen on instead of what the settings name; the server closes them
    :param listeners: other places that connections come from, `asgiserve.testing.MemoryListener` for one
    :param task_status: `await group.start(serve, app)` returns a `Server` once the application has started
        and the sockets listen
    :param settings: settings by the command line's names (`port=0`, `timeout_keep_alive=5`)
    :raises ConfigError: a setting makes no sense
    :raises AppLoadError: `app` cannot be called, or is not what `interface` says
    :raises BindError: an address cannot be bound
    :raises StartupError: the application's lifespan startup failed
    :raises ShutdownError: its lifespan failed later, or took too long to shut down

    Cancelling it aborts: running requests are cancelled, and the lifespan still shuts down within its limit.
    """
    try:
        kept, notes = accepted(settings)
        checked = Settings.of(for_one_server(kept))
    except ConfigError:
        for sock in sockets:
            sock.close()
        for listener in listeners:
            listener.close()
        raise
    for note in notes:
        logs.log_info(note)
    await serve_with(
        app,
        checked,
        stop=stop,
        ssl_context=ssl_context,
        sockets=sockets,
        listeners=listeners,
        task_status=task_status,
    )


async def serve_with(
    app: ASGIApplication | WSGIApplication,
    settings: Settings,
    *,
    stop: anyio.Event | None = None,
    ssl_context: ssl.SSLContext | None = None,
    sockets: Sequence[socket.socket | BoundSocket] = (),
    listeners: Sequence[Listener] = (),
    task_status: TaskStatus[Server] = anyio.TASK_STATUS_IGNORED,
    unstoppable: Callable[[], None] | None = None,
    sharing: Sharing | None = None,
    on_app_error: Callable[[BaseException], object] | None = None,
) -> None:
    """`serve()` with checked settings, for the command line and for tests that bring their own listeners.

    `sharing` says that other processes accept from the same sockets. `on_app_error` is called with what the
    application raises in requests, if that is an error of its own."""
    bound = [one if isinstance(one, BoundSocket) else BoundSocket(one) for one in sockets]
    try:
        application = _application(app, settings.application, multiprocess=sharing is not None)
        if not sockets and not listeners:
            bound = bind_all(settings.bind)
        tree = _Tree(application, settings, ssl_context, unstoppable, sharing, on_app_error)
        with bare_errors():
            await tree.run(bound, listeners, stop, task_status)
    finally:
        for listener in listeners:
            listener.close()
        for one in bound:
            one.close()
    if tree.lifespan.error is not None:
        raise tree.lifespan.error


def check_with(app: ASGIApplication | WSGIApplication, settings: Settings) -> None:
    """Raise what `serve_with()` would find wrong before it binds. Needs an event loop, starts nothing in it."""
    application = _application(app, settings.application, multiprocess=False)
    check_form(settings.bind)
    _Tree(application, settings, None, None)


class _Tree:
    """The tasks of one server."""

    def __init__(
        self,
        app: ASGIApplication,
        settings: Settings,
        ssl_context: ssl.SSLContext | None,
        unstoppable: Callable[[], None] | None,
        sharing: Sharing | None = None,
        on_app_error: Callable[[BaseException], object] | None = None,
    ) -> None:
        self._settings = settings
        self._sharing = sharing
        _check_id_header(settings)
        wsgi, lifespan = bool(getattr(app, "asgiserve_wsgi", False)), settings.application.lifespan
        if logs.trace_enabled():
            app = traced(app)
        if ssl_context is not None:
            check_context(ssl_context, settings.tls)
        check_tls(settings.bind, certificates=ssl_context is not None or settings.tls.ssl_certfile is not None)
        self._certificates = None if settings.tls.ssl_certfile is None else Certificates(settings.tls)
        _import_for_connections(settings.websockets)
        self._context = copy_context()
        self._service = Service(
            app,
            mount=Mount(settings.application.root_path, settings.application.root_path_kept),
            http=settings.http,
            limits=settings.limits,
            timeouts=settings.timeouts,
            websockets=settings.websockets,
            proxies=settings.proxies,
            default_fields=_default_fields(settings),
            log=settings.log,
            ssl_context=ssl_context if self._certificates is None else self._certificates.context,
        )
        self._service.send_raises = wsgi
        self._service.on_app_error = on_app_error
        mode = "off" if wsgi and lifespan == "auto" else lifespan
        self.lifespan = Lifespan(app, mode, clock(), self._service.loop_end)
        self._stopping = Stopping(self._service, self.lifespan, settings.timeouts, unstoppable=unstoppable)
        self._overview = Overview(self._service, self._stopping, self.lifespan)

    @ki_protected
    async def run(
        self,
        bound: Sequence[BoundSocket],
        listeners: Sequence[Listener],
        stop: anyio.Event | None,
        task_status: TaskStatus[Server],
    ) -> None:
        """Serve until stopped. Raises groups; `serve_with` makes them bare."""
        server, accepts, reported = self._report(bound), anyio.Event(), False
        try:
            async with anyio.create_task_group() as group:
                # First of all: from its startup on the lifespan is shielded, and only this task ends it.
                group.start_soon(self._stopping.run)
                group.start_soon(self._service.loop_end.watch, logs.log_error)
                if stop is not None:
                    group.start_soon(self._stop_at, stop, group.cancel_scope)
                try:
                    await self._start_lifespan(group)
                    listeners = [*_listen(bound, self._settings.bind.backlog), *listeners]
                    group.start_soon(self._service.watcher.run)
                    if self._certificates is not None:
                        group.start_soon(self._certificates.watch, self.reload_certificates)
                    # Not in this task, which asyncio's own `cancel()` reaches behind any shield: its end is for
                    # `Stopping.run` to see through, also where an application goes on.
                    group.start_soon(self._serve_connections, listeners, server.urls, accepts)
                    await accepts.wait()
                except BaseException:
                    if not accepts.is_set():  # nothing has been accepted; that task may not even have begun
                        self._stopping.connections_done()
                    raise
                task_status.started(server)
                reported = True
                await self._stopping.until_connections_done()
                await self.lifespan.ended.wait()
                group.cancel_scope.cancel()
            if not reported and self.lifespan.error is None:
                task_status.started(server)  # given up by the stop event: that is no error for who waits for the start
        except BaseException:
            # Cancelled, or failed in another way: then nobody raises what the lifespan's end has brought.
            if isinstance(self.lifespan.error, ShutdownError):
                logs.log_error(str(self.lifespan.error))
            raise
        finally:
            self._stopping.state = ServerState.STOPPED

    async def _start_lifespan(self, group: TaskGroup) -> None:
        lifespan, limit = self.lifespan, self._settings.timeouts.lifespan_startup
        if not lifespan.ended.is_set():
            logs.log_info("Waiting for application startup.")
            group.start_soon(lifespan.run)
        with anyio.move_on_after(limit):
            await lifespan.started.wait()
        if not lifespan.started.is_set():
            raise StartupError(f"The application's startup took longer than {limit:g} s.")
        if isinstance(lifespan.error, StartupError):
            raise lifespan.error
        self._service.state = lifespan.state

    @ki_protected
    async def _serve_connections(
        self, listeners: Sequence[Listener], urls: Sequence[str], accepts: anyio.Event
    ) -> None:
        """Accept until the stop, and wait for what was accepted."""
        service, stopping = self._service, self._stopping
        if stopping.connections_are_done:
            return  # given up before we began; on trio the first step of a task comes all the same
        try:
            with stopping.connections:
                async with anyio.create_task_group() as connections:
                    service.open(connections, context=self.lifespan.context, driver_context=self._context)
                    stopping.state = ServerState.SERVING
                    with stopping.accepting:
                        async with anyio.create_task_group() as accepting:
                            for listener, where in zip_longest(listeners, urls):
                                serve_one = partial(self._serve_one, listener.plain)
                                loop = AcceptLoop(listener, serve_one, service.slots, self._sharing)
                                self._overview.accepts(where or type(listener).__name__, loop)
                                accepting.start_soon(loop.run)
                            accepts.set()
                    service.accepted_all()
        finally:
            stopping.connections_done()

    def _serve_one(self, plain: bool, open_stream: Callable[[], Awaitable[Stream]]) -> None:
        self._service.spawn(serve_connection, self._service, open_stream, plain)

    def reload_certificates(self) -> None:
        if self._certificates is not None:
            self._certificates.reload()
            self._service.ssl_context = self._certificates.context

    @ki_protected
    async def _stop_at(self, event: anyio.Event, everything: anyio.CancelScope) -> None:
        await event.wait()
        if self._stopping.state is ServerState.STARTING:
            logs.log_info("Stopped during startup, giving up.")
            everything.cancel()
        else:
            self._stopping.stop()

    def _report(self, bound: Sequence[BoundSocket]) -> Server:
        secure = self._service.ssl_context is not None
        addresses = [address_of(one.socket) for one in bound]
        urls = [url_of(one.socket, secure=secure and not one.plain) for one in bound]
        service = self._service
        return Server(
            addresses,
            urls,
            self._stopping,
            self.reload_certificates,
            self._overview.text,
            lambda: (service.requests, len(service.connections)),
        )


def _listen(bound: Sequence[BoundSocket], backlog: int) -> list[Listener]:
    """Let the kernel queue connections: from here on clients are not refused."""
    for one in bound:
        try:
            one.socket.listen(backlog)
        except OSError as error:
            where = url_of(one.socket, secure=False)
            raise BindError(error.errno, f"Cannot listen on {where}: {reason(error)}.") from error
    return [SocketListener(one) for one in bound]


def _import_for_connections(websockets: WebSockets) -> None:
    """Before there are connections: with them there may be no descriptor left to read a file by."""
    get_ready()
    if websockets.ws == "auto":
        import asgiserve.connection.websocket_running  # noqa: F401


def _application(
    app: ASGIApplication | WSGIApplication, settings: Application, *, multiprocess: bool
) -> ASGIApplication:
    if is_wsgi(app, settings.interface):
        return WsgiApplication(cast("WSGIApplication", app), settings.wsgi_threads, multiprocess=multiprocess)
    return as_asgi3(app, settings.interface)


def _default_fields(settings: Settings) -> DefaultFields:
    server = b"asgiserve" if settings.http.server_header else None
    try:
        return DefaultFields(server, settings.http.header)
    except LocalProtocolError as error:
        raise ConfigError(f"header: {error}") from error


def _check_id_header(settings: Settings) -> None:
    """A header that means something else to HTTP is no place for an id."""
    name = settings.log.request_id_header
    try:
        DefaultFields(None, [] if name is None else [(name, "x")])
    except LocalProtocolError as error:
        raise ConfigError(f"request_id_header: {error}") from error
