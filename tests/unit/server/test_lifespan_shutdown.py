"""The end of the application's lifespan: when its shutdown runs, how long, and what its failure becomes."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from types import NoneType
from typing import TYPE_CHECKING

import anyio
import pytest

from asgiserve.backend import current_backend
from asgiserve.config import Settings
from asgiserve.errors import ShutdownError
from asgiserve.server import serve_with
from asgiserve.testing import MemoryListener
from tests.support.serving import PATIENCE
from tests.unit.server.apps import Journal, Slow, hello
from tests.unit.server.running import running

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio


async def test_a_graceful_stop_shuts_the_lifespan_down_after_the_last_request() -> None:
    app = Journal()

    async def http(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(5)
        app.lines.append("answered")
        await hello(scope, receive, send)

    app.http = http
    async with running(app) as run:
        client = run.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await anyio.sleep(1)
        run.server.stop()
        assert await run.end() == pytest.approx(4)
    assert app.lines == ["lifespan.startup", "answered", "lifespan.shutdown"]


async def test_a_cancelled_server_still_shuts_the_lifespan_down() -> None:
    class App(Journal):
        async def shut_down(self) -> None:
            await anyio.sleep(2)
            self.lines.append("flushed")

    app = App()
    async with running(app) as run:
        run.scope.cancel()
        assert await run.end() == pytest.approx(2)
    assert app.lines == ["lifespan.startup", "lifespan.shutdown", "flushed"]
    assert run.error is None


async def test_an_aborted_server_still_shuts_the_lifespan_down() -> None:
    app = Journal(slow := Slow(60))
    async with running(app) as run:
        await run.connect().send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await slow.begun.wait()
        run.server.abort()
        assert await run.end() < 1
    assert slow.cancelled
    assert app.was_shut_down


async def test_shutdown_failed_is_a_shutdown_error_with_its_message() -> None:
    class App(Journal):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.failed", "message": "could not flush"})

    async with running(App()) as run:
        run.server.stop()
        await run.end()
    assert type(run.error) is ShutdownError
    assert "could not flush" in str(run.error)


async def test_a_shutdown_that_raises_is_a_shutdown_error_with_its_cause() -> None:
    cause = RuntimeError("could not flush")

    class App(Journal):
        async def shut_down(self) -> None:
            raise cause

    async with running(App()) as run:
        run.server.stop()
        await run.end()
    assert type(run.error) is ShutdownError
    assert run.error.__cause__ is cause


async def test_what_fails_in_the_shutdown_of_a_cancelled_server_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class App(Journal):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.failed", "message": "could not flush"})

    async with running(App()) as run:
        run.scope.cancel()
        await run.end()
    assert run.error is None
    assert any("could not flush" in line.message for line in caplog.records if line.levelno == logging.ERROR)


async def test_so_is_a_cancellation_that_is_the_applications_own(caplog: pytest.LogCaptureFixture) -> None:
    """As of a job that it has cancelled, and then waits for."""
    if current_backend() != "asyncio":
        pytest.skip("trio has no cancellation but that of scopes")

    class App(Journal):
        async def shut_down(self) -> None:
            raise asyncio.CancelledError("job")

    async with running(App()) as run:
        run.scope.cancel()
        await run.end()
    assert run.error is None
    assert "Application shutdown failed: CancelledError: job" in caplog.text


@pytest.mark.parametrize("limit", [0, 3, 100])
@pytest.mark.parametrize("cancelled", [True, False])
async def test_a_shutdown_ends_at_its_limit(limit: float, cancelled: bool) -> None:
    class App(Journal):
        async def shut_down(self) -> None:
            await anyio.sleep(PATIENCE)

    app = App()
    async with running(app, timeout_lifespan_shutdown=limit) as run:
        if cancelled:
            run.scope.cancel()
        else:
            run.server.stop()
        took = await run.end()
    assert limit <= took <= limit + 1
    assert app.lines[0] == "lifespan.startup"
    if not cancelled:
        assert type(run.error) is ShutdownError
        assert f"longer than {limit} s" in str(run.error)


@pytest.mark.parametrize("completes", [True, False])
async def test_one_that_goes_on_asking_lets_others_run_and_is_cancelled_at_the_limit(
    completes: bool,
) -> None:
    class App(Journal):
        rounds = 0

        async def lifespan(self, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            if completes:
                await send({"type": "lifespan.shutdown.complete"})
            while self.rounds < 1000:
                assert (await receive())["type"] == "lifespan.shutdown"
                self.rounds += 1

    app = App()
    async with running(app, timeout_lifespan_shutdown=0) as run:
        run.server.stop()
        await run.end()
    assert app.rounds < 10
    assert type(run.error) is (NoneType if completes else ShutdownError)


async def test_a_cancelled_startup_that_goes_on_asking_lets_others_run() -> None:
    """It is given the shutdown although it has not completed, and again for as long as it asks."""
    rounds = 0
    asks = anyio.Event()

    class App(Journal):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            nonlocal rounds
            await receive()
            with anyio.CancelScope(shield=True):
                asks.set()
                assert (await receive())["type"] == "lifespan.shutdown"
                with anyio.move_on_after(0):
                    while rounds < 1000:
                        rounds += 1
                        assert (await receive())["type"] == "lifespan.shutdown"

    async with anyio.create_task_group() as group:
        group.start_soon(partial(serve_with, App(), Settings(), listeners=[MemoryListener()]))
        await asks.wait()
        group.cancel_scope.cancel()
    assert rounds < 10


async def test_a_shutdown_that_swallows_its_end_is_still_reported() -> None:
    class App(Journal):
        async def shut_down(self) -> None:
            with anyio.move_on_after(PATIENCE):
                try:
                    await anyio.sleep(PATIENCE)
                except BaseException:
                    self.lines.append("swallowed")

        async def lifespan(self, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await self.shut_down()

    app = App()
    async with running(app) as run:
        run.server.stop()
        took = await run.end()
    assert app.lines == ["swallowed"]
    assert took == pytest.approx(3, abs=1)
    assert type(run.error) is ShutdownError
