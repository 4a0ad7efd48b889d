"""Real time, real event loops, real sockets: the backend matrix and the servers of the live tests."""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, overload

import httpx
import pytest

from tests.live.backends import EVERY_LOOP
from tests.live.servers import PATIENCE, ProcessServer, ThreadServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tests.live.backends import Backend


@pytest.fixture(scope="session", autouse=True)
def signals_as_at_a_terminal() -> None:
    """Processes inherit which signals are ignored: tests under nohup would start servers that know no SIGHUP.

    A handler, and not the default: it is not inherited, and who runs the tests under nohup wants them to go on.
    """
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.fixture(params=EVERY_LOOP)
def anyio_backend(request: pytest.FixtureRequest) -> Backend:
    """The backend of the server under test. A mark of `backends` narrows it."""
    backend: Backend = request.param
    return backend


class LiveServers:
    """The factory that tests know as `live_server`."""

    def __init__(self, backend: Backend, stack: ExitStack) -> None:
        self.backend = backend
        self._stack = stack

    @overload
    def __call__(self, app: str, **settings: Any) -> ProcessServer: ...
    @overload
    def __call__(self, app: Callable[..., Awaitable[None]], **settings: Any) -> ThreadServer: ...

    def __call__(self, app: Callable[..., Awaitable[None]] | str, **settings: Any) -> ProcessServer | ThreadServer:
        """Serve an application: an object in a thread of the test, an import string in a process.

        The settings are those of `serve()`; a process also takes `wrapper`, `pass_fds` and `ready`.
        """
        server: ProcessServer | ThreadServer
        if isinstance(app, str):
            own = {name: settings.pop(name) for name in ("wrapper", "pass_fds", "ready") if name in settings}
            server = ProcessServer(app, self.backend, settings, **own)
        else:
            server = ThreadServer(app, self.backend, settings)
        self._stack.callback(server.finish)
        return server


@pytest.fixture
def live_server(anyio_backend: Backend) -> Iterator[LiveServers]:
    """Starts servers; each ends with the test, within a bound, or fails it."""
    with ExitStack() as stack:
        yield LiveServers(anyio_backend, stack)


@pytest.fixture
def http() -> Iterator[Callable[[ProcessServer | ThreadServer], httpx.Client]]:
    """Makes httpx clients for a server; they close before it stops."""
    with ExitStack() as stack:

        def client(server: ProcessServer | ThreadServer) -> httpx.Client:
            made = httpx.Client(base_url=server.url, trust_env=False, timeout=PATIENCE)
            return stack.enter_context(made)

        yield client
