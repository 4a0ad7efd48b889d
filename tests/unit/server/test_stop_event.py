"""The event of `serve(stop=...)`, where it is set before the server serves: the startup is given up."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest

from asgiserve.config import Settings
from asgiserve.errors import StartupError
from asgiserve.server import serve_with
from asgiserve.testing import MemoryListener
from tests.support.serving import PATIENCE
from tests.unit.connection.applications import get
from tests.unit.server.apps import Journal

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio


async def set_after(event: anyio.Event, seconds: float) -> None:
    await anyio.sleep(seconds)
    event.set()


async def test_setting_the_stop_event_ends_a_startup_that_goes_on() -> None:
    ended: list[float] = []

    class App(Journal):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            await receive()
            try:
                await anyio.sleep(PATIENCE)
            finally:
                ended.append(anyio.current_time())

    listener, stop, began = MemoryListener(), anyio.Event(), anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(set_after, stop, 7)
        server = await group.start(partial(serve_with, App(), Settings(), listeners=[listener], stop=stop))
        assert server.state == "stopped"
        with pytest.raises(ConnectionRefusedError):
            listener.connect()
    assert [moment - began for moment in ended] == pytest.approx([7])
    assert anyio.current_time() - began == pytest.approx(7)


async def test_what_a_startup_raises_that_the_stop_event_ends_is_raised() -> None:
    class App(Journal):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            await receive()
            try:
                await anyio.sleep(PATIENCE)
            finally:
                raise ValueError("in the cleaning up")

    stop = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(set_after, stop, 7)
        with pytest.raises(StartupError, match="in the cleaning up"):
            await group.start(partial(serve_with, App(), Settings(), listeners=[MemoryListener()], stop=stop))


async def test_a_startup_that_completes_although_the_stop_event_was_set_is_shut_down() -> None:
    class App(Journal):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(10)
                await super().lifespan(receive, send)

    app, stop = App(), anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(set_after, stop, 9)
        with anyio.fail_after(PATIENCE):
            await serve_with(app, Settings(), listeners=[MemoryListener()], stop=stop)
    assert app.was_shut_down


async def test_a_startup_that_waits_is_not_gone_on_with_where_the_event_is_set_already() -> None:
    class App(Journal):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            await receive()
            await anyio.sleep(1)
            raise AssertionError("gone on with")

    stop = anyio.Event()
    stop.set()
    with anyio.fail_after(1):
        await serve_with(App(), Settings(), listeners=[MemoryListener()], stop=stop)


async def test_a_cancelled_startup_that_says_it_has_failed_is_no_error() -> None:
    class App(Journal):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            await receive()
            try:
                await anyio.sleep(PATIENCE)
            except BaseException as error:  # as Starlette does
                await send({"type": "lifespan.startup.failed", "message": repr(error)})
                raise

    stop = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(set_after, stop, 7)
        server = await group.start(partial(serve_with, App(), Settings(), listeners=[MemoryListener()], stop=stop))
    assert server.state == "stopped"


async def test_no_request_is_run_behind_a_shutdown_that_comes_as_the_startup_completes() -> None:
    class App(Journal):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                self.lines.append("request")
            await super().__call__(scope, receive, send)

    for _ in range(60):  # on trio the order of tasks is left to chance
        app, listener, stop = App(), MemoryListener(), anyio.Event()
        await listener.connect().send(get("/"))
        stop.set()
        await serve_with(app, Settings(), listeners=[listener], stop=stop)
        assert app.lines[-1:] != ["request"]
