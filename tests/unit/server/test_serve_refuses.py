"""What `serve()` refuses to start with: raised bare, by `group.start()` too, and with nothing left behind."""

from __future__ import annotations

import errno
import socket
import sys
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asgiserve import errors
from asgiserve.config import Settings
from asgiserve.server import serve, serve_with
from asgiserve.testing import MemoryListener
from tests.unit.server.apps import Journal, hello

if TYPE_CHECKING:
    from pathlib import Path

    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio


async def start_error(serve_it: Any) -> BaseException:
    async with anyio.create_task_group() as group:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - the tests look at it
            await group.start(serve_it)
    return caught.value


async def test_a_port_in_use_is_raised_bare_before_the_app_starts() -> None:
    app = Journal()
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        error = await start_error(partial(serve, app, port=taken.getsockname()[1]))
    assert type(error) is errors.BindError
    assert error.errno == errno.EADDRINUSE
    assert app.lines == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse the second bind already")
async def test_a_socket_that_cannot_listen_is_raised_bare_and_the_app_shut_down() -> None:
    """Two sockets may share a port until one of them listens; only then does the other one learn it."""
    app = Journal()
    with closing(socket.socket()) as late, closing(socket.socket()) as quick:
        for sock in (late, quick):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        late.bind(("127.0.0.1", 0))
        quick.bind(late.getsockname())
        quick.listen()
        error = await start_error(partial(serve, app, fd=late.detach()))
    assert type(error) is errors.BindError
    assert error.errno == errno.EADDRINUSE
    assert app.was_shut_down


async def test_a_failed_startup_is_raised_bare_and_nothing_stays_bound(tmp_path: Path) -> None:
    class App(Journal):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            await receive()
            raise RuntimeError("no")

    path = tmp_path / "app.sock"
    error = await start_error(partial(serve, App(), uds=str(path)))
    assert type(error) is errors.StartupError
    assert not path.exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"no_such_setting": 1},
        {"port": -1},
        {"bind": ("nonsense",)},
        {"backend": "trio"},
        {"port": 0, "header": [("bad name", "x")]},
    ],
    ids=str,
)
async def test_a_setting_that_makes_no_sense_is_raised_bare(settings: dict[str, Any]) -> None:
    error = await start_error(partial(serve, hello, **settings))
    assert type(error) is errors.ConfigError
    assert next(iter(settings.keys() - {"port"}), "port") in str(error)


async def test_an_app_that_cannot_be_called_is_raised_bare() -> None:
    not_an_app: Any = "not an app"
    assert type(await start_error(partial(serve, not_an_app, port=0))) is errors.AppLoadError


async def test_a_failed_startup_closes_the_listeners() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        pass

    listener = MemoryListener()
    client = listener.connect()
    with pytest.raises(errors.StartupError):
        await serve_with(app, Settings.of({"lifespan": "on"}), listeners=[listener])
    assert client.peer_closed()
    with pytest.raises(ConnectionRefusedError):
        listener.connect()
