"""A real server for a test: in a thread of its own, or in the test's own event loop.

    with live_server(app, backend="trio") as server:
        httpx.get(server.url)

    async with async_live_server(app) as server: ...

What lives here: starting, stopping and exchanging such servers, with a bound for each, and what is told when one
hangs. What does not: where they listen (`places.py`). Public; the pytest plugin's fixtures come from here.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from asgiserve.backend import run_options
from asgiserve.config import Launch
from asgiserve.testing.places import Place
from asgiserve.testing.recording import besides, raise_recorded
from asgiserve.testing.serving import ServerHangs, ServerTask, ServerThread

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterator

    import trustme

    from asgiserve.types import ASGIApplication

__all__ = ["AsyncLiveServer", "LiveServer", "ServerHangs", "async_live_server", "live_server"]


class _Reachable:
    """What clients have to know of a server."""

    def __init__(self, place: Place, *, raise_app_exceptions: bool, patience: float) -> None:
        self._place = place
        self._patience = patience
        self._raise = raise_app_exceptions
        self.app_exceptions: list[BaseException] = []
        """What the application has raised, the first hundred of it. A test may remove what it has expected.

        Not in it is what the server logs as no error: that the peer has left, or that the server stops.
        """

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"

    @property
    def url(self) -> str:
        """ "http://127.0.0.1:50123", without a slash at its end. On a Unix socket, "http://localhost"."""
        return self._place.url("http")

    @property
    def ws_url(self) -> str:
        """The same for WebSockets: "ws://127.0.0.1:50123"."""
        return self._place.url("ws")

    @property
    def host(self) -> str:
        """The host of `url`."""
        return self._place.host

    @property
    def port(self) -> int:
        """The TCP port."""
        if self._place.port is None:
            raise AttributeError("the server listens on a Unix socket only, which has no port")
        return self._place.port

    @property
    def uds(self) -> str | None:
        """The path of the Unix socket, if there is one."""
        return self._place.uds

    @property
    def addresses(self) -> tuple[Any, ...]:
        """All addresses: (host, port) pairs, and paths of Unix sockets."""
        return self._place.addresses

    @property
    def ca(self) -> trustme.CA | None:
        """With `tls=True`, the authority that the server's certificate is from; it issues others as well."""
        return self._place.ca

    def client_context(self) -> ssl.SSLContext:
        """With `tls=True`, a new SSL context for a client that trusts this server."""
        return self._place.client_context()

    def _report(self) -> None:
        if self._raise:
            raise_recorded(self.app_exceptions)
        self.app_exceptions.clear()


class LiveServer(_Reachable):
    """A server in a thread of its own; made by `live_server`. Its methods may be called from any other thread."""

    def __init__(
        self, place: Place, backend: tuple[str, dict[str, Any]], *, raise_app_exceptions: bool, patience: float
    ) -> None:
        super().__init__(place, raise_app_exceptions=raise_app_exceptions, patience=patience)
        self._backend = backend
        self._thread: ServerThread | None = None

    def swap(self, app: ASGIApplication) -> None:
        """Serve another application on the same address, from now on.

        The old one is stopped first, and all its connections with it: its lifespan shuts down, and what it has raised
        is dealt with as at the end of `live_server`. The new one gets an event loop of its own. Clients that connect
        in between wait.

        :raises: what `live_server` raises at its start and at its end
        """
        self._stop()
        self._report()
        self._start(app)

    def overview(self) -> str:
        """What goes on at this moment, as `Server.overview()` tells it."""
        return "stopped" if self._thread is None else self._thread.overview()

    def _start(self, app: ASGIApplication) -> None:
        self._thread = ServerThread(app, self._place, self.app_exceptions, self._backend, self._patience)
        try:
            self._thread.start()
        except BaseException:
            self._thread = None
            raise

    def _stop(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.finish()


@contextmanager
def live_server(
    app: ASGIApplication,
    *,
    backend: str = "asyncio",
    loop: str | None = None,
    tls: bool = False,
    ssl_context: ssl.SSLContext | None = None,
    raise_app_exceptions: bool = False,
    patience: float = 10.0,
    **settings: Any,
) -> Iterator[LiveServer]:
    """Serve an application in a thread of its own for the block, on a free port of 127.0.0.1.

    :param app: the application
    :param backend: "asyncio" or "trio"
    :param loop: "uvloop" or "auto", instead of asyncio's own
    :param tls: serve TLS with the certificate of a throw-away authority; needs trustme
    :param ssl_context: serve TLS with it
    :param raise_app_exceptions: raise at the block's end what the application has raised, unless the block raises
        itself; several errors as a group
    :param patience: seconds that the start, and the end, may take
    :param settings: the settings of `serve()`; `uds=True` makes a Unix socket in a directory of its own
    :raises ConfigError: a setting makes no sense, or is one of those who start a process, as `factory` and `user`
    :raises BindError: an address cannot be bound
    :raises StartupError: the application's startup failed
    :raises ShutdownError: at the block's end, its lifespan failed later
    :raises ServerHangs: the start or the end took longer than `patience`; the text tells what goes on

    At the block's end, running requests are told `http.disconnect`, and are cancelled two seconds later
    (`timeout_shutdown_notice`, `timeout_graceful_shutdown`).
    """
    if loop is None:
        loop = "asyncio" if backend == "asyncio" else "auto"
    options = run_options(Launch(backend=backend, loop=loop))
    place = Place(settings, tls=tls, ssl_context=ssl_context)
    server = LiveServer(place, options, raise_app_exceptions=raise_app_exceptions, patience=patience)
    try:
        server._start(app)
        try:
            yield server
        except BaseException as error:
            try:
                server._stop()
                server._report()
            except BaseException as another:
                error.add_note(besides(another))
            raise
        server._stop()
    finally:
        place.close()
    server._report()


class AsyncLiveServer(_Reachable):
    """A server in the running event loop; made by `async_live_server`."""

    def __init__(self, place: Place, *, raise_app_exceptions: bool, patience: float) -> None:
        super().__init__(place, raise_app_exceptions=raise_app_exceptions, patience=patience)
        self._task: ServerTask | None = None

    async def swap(self, app: ASGIApplication) -> None:
        """Serve another application on the same address, as `LiveServer.swap()` does."""
        await self._stop()
        self._report()
        await self._start(app)

    def overview(self) -> str:
        """What goes on at this moment, as `Server.overview()` tells it."""
        return "stopped" if self._task is None else self._task.overview()

    async def _start(self, app: ASGIApplication) -> None:
        self._task = ServerTask(app, self._place, self.app_exceptions, self._patience)
        try:
            await self._task.start()
        except BaseException:
            self._task = None
            raise

    async def _stop(self, *, at_once: bool = False) -> None:
        task, self._task = self._task, None
        if task is not None:
            await task.finish(at_once=at_once)


@asynccontextmanager
async def async_live_server(
    app: ASGIApplication,
    *,
    tls: bool = False,
    ssl_context: ssl.SSLContext | None = None,
    raise_app_exceptions: bool = False,
    patience: float = 10.0,
    **settings: Any,
) -> AsyncIterator[AsyncLiveServer]:
    """Serve an application in the running event loop for the block: as `live_server`, but for what follows.

    The server is a task of its own, and no cancel scope stays open across the block: so it may be entered in one task
    and left in another, as fixtures are. When the block is cancelled, so is the server. An application that blocks
    the loop blocks the test with it; `live_server` is the one that can tell.
    """
    place = Place(settings, tls=tls, ssl_context=ssl_context)
    server = AsyncLiveServer(place, raise_app_exceptions=raise_app_exceptions, patience=patience)
    try:
        await server._start(app)
        try:
            yield server
        except BaseException as error:
            try:
                await server._stop(at_once=not isinstance(error, Exception))
                server._report()
            except BaseException as another:
                error.add_note(besides(another))
            raise
        await server._stop()
    finally:
        place.close()
    server._report()
