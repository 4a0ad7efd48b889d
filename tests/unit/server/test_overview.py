"""`Server.overview()`: the server itself, where it listens and how its stop goes on, as text for people."""

from __future__ import annotations

import errno
import os
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

from asgiserve import __version__
from asgiserve.config import Settings
from asgiserve.server import serve_with
from asgiserve.testing import MemoryListener
from tests.support.serving import serving
from tests.unit.connection.applications import get

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asgiserve.streams import Stream
    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await anyio.sleep(1)
        await send({"type": "lifespan.shutdown.complete"})
        return
    await anyio.sleep(1000)


async def without_lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotImplementedError


def lines(served: Any) -> list[str]:
    text: str = served.server.overview()
    return text.splitlines()


async def test_the_first_lines_tell_of_the_server(anyio_backend_name: str) -> None:
    async with serving(app) as served:
        await anyio.sleep(3725)
        await served.connect().send(get())
        await anyio.sleep(1)
        told = lines(served)
    assert told[0] == f"asgiserve {__version__} on {anyio_backend_name}, process {os.getpid()}: serving for 1 h 2 min"
    assert told[1] == "1 request in 1 h 2 min; lifespan: started"
    assert told[2] == "MemoryListener: accepts"


@pytest.mark.parametrize(
    ("mode", "text"), [("off", "off"), ("auto", "not supported by the application")], ids=["off", "auto"]
)
async def test_a_server_without_a_lifespan_says_so(mode: str, text: str) -> None:
    async with serving(without_lifespan, lifespan=mode) as served:
        assert lines(served)[1].endswith(f"; lifespan: {text}")


async def test_a_limit_on_connections_shows_where_nothing_is_accepted() -> None:
    async with serving(app, limit_connections=1) as served:
        client = served.connect()
        await anyio.sleep(1)
        assert lines(served)[2:4] == [
            "MemoryListener: accepts nothing: limit_connections is reached",
            "1 of 1 connection, 0 of them with a request or a WebSocket; 0 lingering applications",
        ]
        client.stream.abort()
        await anyio.sleep(1)
        assert lines(served)[2] == "MemoryListener: accepts"


class Exhausted(MemoryListener):
    """The process has no descriptor left, until `enough` is set."""

    enough = False

    def accept_nowait(self) -> Callable[[], Awaitable[Stream]] | None:
        if not self.enough:
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept_nowait()


async def test_a_listener_without_descriptors_shows_why_nothing_is_accepted() -> None:
    listener = Exhausted()
    async with anyio.create_task_group() as group:
        serve_it = partial(serve_with, app, Settings(), listeners=[listener])
        server = await group.start(serve_it)
        await anyio.sleep(1)
        assert "Exhausted: accepts nothing: Too many open files" in server.overview()
        listener.enough = True
        await anyio.sleep(1)
        assert "Exhausted: accepts\n" in server.overview()
        group.cancel_scope.cancel()


async def test_a_stop_tells_how_far_it_is() -> None:
    async with serving(app, shutdown_delay=5, timeout_graceful_shutdown=20, timeout_lifespan_shutdown=3) as served:
        await served.connect().send(get("/busy"))
        await anyio.sleep(1)
        served.server.stop()
        await anyio.sleep(2)
        assert lines(served)[0].endswith(": draining for 2.0 s; the stop begins in 3.0 s (shutdown_delay)")
        await anyio.sleep(4)
        told = lines(served)
        assert told[0].endswith(": stopping for 1.0 s; what still runs in 19.0 s is cancelled")
        assert told[2] == "MemoryListener: accepts no more"
        await anyio.sleep(19.5)
        told = lines(served)
        assert told[0].endswith(": stopping for 20.5 s; all connections have ended")
        assert told[1].endswith("; lifespan: shutting down")
        await anyio.sleep(10)
        told = lines(served)
        assert ": stopped for " in told[0]
        assert told[1].endswith("; lifespan: shut down")


async def test_what_goes_on_although_it_was_cancelled_is_told_as_such() -> None:
    async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(100)

    async with serving(stubborn, lifespan="off") as served:
        await served.connect().send(get("/stubborn"))
        await anyio.sleep(1)
        served.server.abort()
        await anyio.sleep(5)
        told = lines(served)
    assert told[0].endswith(": stopping for 5.0 s; what runs has been cancelled")
    assert any("GET /stubborn" in line for line in told)


async def test_a_graceful_stop_without_a_limit_promises_no_end() -> None:
    async with serving(app, timeout_graceful_shutdown=None) as served:
        await served.connect().send(get("/busy"))
        await anyio.sleep(1)
        served.server.stop()
        await anyio.sleep(2)
        assert lines(served)[0].endswith(": stopping for 2.0 s")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_it_can_be_asked_for_in_another_thread(backend: str) -> None:
    """A loop that is blocked answers no question: whoever asks then reads the server from outside."""

    async def play() -> str:
        async with serving(app) as served:
            return await anyio.to_thread.run_sync(served.server.overview)

    assert f" on {backend}, process {os.getpid()}: serving for 0." in anyio.run(play, backend=backend)


async def test_sockets_are_told_by_their_urls() -> None:
    async with anyio.create_task_group() as group:
        server = await group.start(partial(serve_with, app, Settings.of({"port": 0, "timeout_graceful_shutdown": 0})))
        assert f"\n{server.urls[0]}: accepts\n" in server.overview()
        assert server.urls[0].startswith("http://127.0.0.1:")
        group.cancel_scope.cancel()
