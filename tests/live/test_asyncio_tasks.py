"""What only asyncio has: tasks without an owner, which applications make and forget."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from tests.live.applications import respond
from tests.live.backends import on_asyncio_only
from tests.live.raw import RawClient
from tests.live.servers import PATIENCE

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send
    from tests.live.conftest import LiveServers

pytestmark = [pytest.mark.live, on_asyncio_only]


class Forgetful:
    """Answers at once, and leaves a task behind that waits for the test."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self.may_end: asyncio.Event
        self.ended = threading.Event()
        self.outcome: BaseException | str = "not begun"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        if scope["path"] == "/start":
            self.may_end = asyncio.Event()
            self.tasks.add(asyncio.create_task(self._work()))
        await respond(send, 200, b"answered")

    async def _work(self) -> None:
        try:
            await self.may_end.wait()
            await asyncio.sleep(0)
            self.outcome = "completed"
        except BaseException as error:
            self.outcome = error
            raise
        finally:
            self.ended.set()


def test_a_forgotten_task_outlives_its_request_and_its_connection(live_server: LiveServers) -> None:
    app = Forgetful()
    server = live_server(app)

    with RawClient(server.port) as client:
        assert client.get("/start").body == b"answered"
        assert client.get("/other", "Connection: close").body == b"answered"
        assert client.read_all() == b""
    assert not app.ended.is_set()
    server.call(lambda: app.may_end.set())

    assert app.ended.wait(PATIENCE)
    assert app.outcome == "completed"


def test_a_forgotten_task_does_not_hold_up_a_stop(live_server: LiveServers) -> None:
    """`serve()` returns without it; the loop's own end cancels it, as for any other program on asyncio."""
    app = Forgetful()
    server = live_server(app, timeout_graceful_shutdown=60)
    with RawClient(server.port) as client:
        client.get("/start")

    server.stop()
    server.wait_ended()

    assert isinstance(app.outcome, asyncio.CancelledError)


def test_a_forgotten_task_that_fails_harms_nobody_else(live_server: LiveServers) -> None:
    async def fail() -> None:
        raise ValueError("nobody looks at this")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        task = asyncio.create_task(fail())
        await asyncio.wait([task])
        await respond(send, 200, repr(task.exception()).encode())

    with RawClient(live_server(app).port) as client:
        for _ in range(2):
            assert client.get("/").body == b"ValueError('nobody looks at this')"


def test_an_application_that_cancels_its_own_task_fails_alone(live_server: LiveServers) -> None:
    """The task is the connection's as well: it must still write the answer, and end in order."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        if scope["path"] == "/cancel":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        await respond(send, 200, b"answered")

    server = live_server(app)
    with RawClient(server.port) as client:
        assert client.get("/cancel").status == 500
        assert client.read_all() == b""
    with RawClient(server.port) as client:
        assert client.get("/").body == b"answered"
    (error,) = server.take_errors()
    assert "(GET /cancel)" in error
