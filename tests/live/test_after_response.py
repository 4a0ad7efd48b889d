"""What an application does after its response: background tasks and the exits of dependencies.

No `from __future__ import annotations` here: FastAPI evaluates the annotations of the routes below.
"""

import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated

import anyio
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Request, Response
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint

from tests.live.conftest import LiveServers
from tests.live.raw import RawClient
from tests.live.servers import PATIENCE

pytestmark = pytest.mark.live


class Work:
    """Something that goes on until the test lets it end."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.ended = threading.Event()
        self.may_end = anyio.Event()
        self.may_end_in_thread = threading.Event()

    async def do(self) -> None:
        self.begun.set()
        await self.may_end.wait()
        self.ended.set()

    def do_in_thread(self) -> None:
        self.begun.set()
        if self.may_end_in_thread.wait(PATIENCE):
            self.ended.set()

    def let_end(self) -> None:
        self.may_end.set()
        self.may_end_in_thread.set()


async def passed_on(request: Request, call_next: RequestResponseEndpoint) -> Response:
    return await call_next(request)


def with_middleware(app: FastAPI) -> FastAPI:
    app.add_middleware(BaseHTTPMiddleware, dispatch=passed_on)
    return app


def with_background_task(work: Work) -> FastAPI:
    app = FastAPI()

    @app.get("/first")
    async def first(tasks: BackgroundTasks) -> str:
        tasks.add_task(work.do)
        return "answered"

    return app


def with_background_task_in_thread(work: Work) -> FastAPI:
    app = FastAPI()

    @app.get("/first")
    def first(tasks: BackgroundTasks) -> str:
        tasks.add_task(work.do_in_thread)
        return "answered"

    return app


def with_dependency(work: Work) -> FastAPI:
    app = FastAPI()

    async def resource() -> AsyncIterator[str]:
        yield "answered"
        await work.do()

    @app.get("/first")
    async def first(value: Annotated[str, Depends(resource)]) -> str:
        return value

    return app


def with_dependency_in_thread(work: Work) -> FastAPI:
    app = FastAPI()

    def resource() -> Iterator[str]:
        yield "answered"
        work.do_in_thread()

    @app.get("/first")
    def first(value: Annotated[str, Depends(resource)]) -> str:
        return value

    return app


KINDS = [
    with_background_task,
    with_background_task_in_thread,
    with_dependency,
    with_dependency_in_thread,
    lambda work: with_middleware(with_background_task(work)),
    lambda work: with_middleware(with_dependency(work)),
]
NAMES = [
    "background task",
    "background task in a thread",
    "dependency",
    "dependency in a thread",
    "background task in BaseHTTPMiddleware",
    "dependency in BaseHTTPMiddleware",
]


@pytest.fixture(params=KINDS, ids=NAMES)
def application(request: pytest.FixtureRequest) -> tuple[FastAPI, Work]:
    work = Work()
    app: FastAPI = request.param(work)

    @app.get("/second")
    async def second() -> str:
        return "second"

    return app, work


def test_the_next_request_of_the_connection_does_not_wait(
    live_server: LiveServers, application: tuple[FastAPI, Work]
) -> None:
    app, work = application
    server = live_server(app)

    with RawClient(server.port) as client:
        assert client.get("/first").body == b'"answered"'
        assert client.get("/second").body == b'"second"'
        assert work.begun.wait(PATIENCE)
        assert not work.ended.is_set()
        server.call(work.let_end)
        assert work.ended.wait(PATIENCE)
        assert client.get("/second").body == b'"second"'


def test_it_outlives_the_connection(live_server: LiveServers, application: tuple[FastAPI, Work]) -> None:
    app, work = application
    server = live_server(app)

    with RawClient(server.port) as client:
        assert client.get("/first", "Connection: close").body == b'"answered"'
        assert work.begun.wait(PATIENCE)
        assert client.read_all() == b""
    assert not work.ended.is_set()
    server.call(work.let_end)

    assert work.ended.wait(PATIENCE)


def test_a_graceful_stop_waits_for_it(live_server: LiveServers, application: tuple[FastAPI, Work]) -> None:
    app, work = application
    server = live_server(app)
    with RawClient(server.port) as client:
        client.get("/first")
        assert work.begun.wait(PATIENCE)

    server.stop()
    assert not work.ended.is_set()
    server.call(work.let_end)
    server.wait_ended()

    assert work.ended.is_set()
