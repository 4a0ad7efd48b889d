"""Clients that leave: the application hears it, and what it was doing ends.

No `from __future__ import annotations` here: FastAPI evaluates the annotations of the routes below.
"""

import threading
from collections.abc import AsyncIterator, Callable
from typing import Self

import anyio
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from sse_starlette import EventSourceResponse
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint

from asgiserve.types import Receive, Scope, Send
from tests.live.conftest import LiveServers
from tests.live.raw import RawClient, request
from tests.live.servers import PATIENCE

pytestmark = pytest.mark.live

LEAVING = ["FIN", "RST"]


def leave(client: RawClient, how: str) -> None:
    if how == "RST":
        client.reset()
    else:
        client.socket.close()


async def passed_on(request: Request, call_next: RequestResponseEndpoint) -> Response:
    return await call_next(request)


@pytest.fixture(params=["plain", "BaseHTTPMiddleware"])
def app(request: pytest.FixtureRequest) -> FastAPI:
    made = FastAPI()
    if request.param != "plain":
        made.add_middleware(BaseHTTPMiddleware, dispatch=passed_on)
    return made


TICK = 0.25
"""Seconds: how often the server asks whether a client is there, if it is to cancel handlers."""

LOOKING = 3.0
"""Seconds for which a handler asks whether its client is there."""


class Watch:
    """What a handler found out about its client, for the test's thread."""

    def __init__(self) -> None:
        self.looked = threading.Event()
        self.left = threading.Event()
        self.first: bool | None = None

    async def __call__(self, request: Request) -> None:
        """Ask as handlers with long work do: again and again, between two steps."""
        self.first = await request.is_disconnected()
        self.looked.set()
        with anyio.move_on_after(LOOKING):
            while not await request.is_disconnected():  # noqa: ASYNC110 - the question can only be asked
                await anyio.sleep(0.01)
            self.left.set()


def watching_endpoint(watch: Watch, *, reads: bool) -> FastAPI:
    app = FastAPI()

    @app.post("/")
    async def endpoint(request: Request) -> None:
        if reads:
            assert await request.body() == b"hello"
        await watch(request)

    return app


def watching_middleware(watch: Watch, *, reads: bool) -> FastAPI:
    """The middleware asks. Behind it an endpoint cannot: Starlette's wrapper around `receive()` opens a task
    group, and so never gives anything to the cancelled scope in which `is_disconnected()` calls it."""

    async def dispatch(request: Request, call_next: RequestResponseEndpoint) -> Response:
        if reads:
            assert await request.body() == b"hello"
        await watch(request)
        return Response()

    app = FastAPI()
    app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
    return app


@pytest.mark.parametrize("how", LEAVING)
@pytest.mark.parametrize("body", ["no body", "body read", "body unread"])
@pytest.mark.parametrize("watching", [watching_endpoint, watching_middleware])
def test_is_disconnected_turns_true(
    live_server: LiveServers, watching: Callable[..., FastAPI], body: str, how: str
) -> None:
    watch = Watch()
    server = live_server(watching(watch, reads=body == "body read"))

    content = b"" if body == "no body" else b"hello"
    client = RawClient(server.port)
    client.send(request("/", f"Content-Length: {len(content)}", method="POST") + content)
    assert watch.looked.wait(PATIENCE)
    assert watch.first is False
    leave(client, how)

    assert watch.left.wait(LOOKING), "is_disconnected() stayed False"


@pytest.mark.parametrize("how", LEAVING)
def test_a_handler_that_waits_for_the_disconnect_is_woken(live_server: LiveServers, app: FastAPI, how: str) -> None:
    waiting, told = threading.Event(), threading.Event()

    @app.get("/")
    async def handler(request: Request) -> None:
        message = await request.receive()
        while message["type"] == "http.request":
            waiting.set()
            message = await request.receive()
        told.set()

    client = RawClient(live_server(app).port)
    client.send(request())
    assert waiting.wait(PATIENCE)
    assert not told.is_set()
    leave(client, how)

    assert told.wait(PATIENCE)


def test_is_disconnected_takes_nothing_of_the_body(live_server: LiveServers, app: FastAPI) -> None:
    @app.post("/")
    async def handler(request: Request) -> list[str]:
        asked = [await request.is_disconnected(), await request.is_disconnected()]
        return [*map(str, asked), (await request.body()).decode()]

    with RawClient(live_server(app).port) as client:
        client.send(request("/", "Content-Length: 5", method="POST") + b"hello")

        assert client.answer().body == b'["False","False","hello"]'


@pytest.mark.parametrize("how", LEAVING)
def test_a_streaming_generator_ends(live_server: LiveServers, app: FastAPI, how: str) -> None:
    """It waits for something that never comes: only the disconnect can end it."""
    waiting, ended = threading.Event(), threading.Event()

    async def produce() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            waiting.set()
            await anyio.sleep_forever()
        finally:
            ended.set()

    @app.get("/")
    async def stream() -> StreamingResponse:
        return StreamingResponse(produce())

    client = RawClient(live_server(app).port)
    client.send(request())
    client.read_until(b"first\r\n")
    assert waiting.wait(PATIENCE)
    assert not ended.is_set()
    leave(client, how)

    assert ended.wait(PATIENCE)


@pytest.mark.parametrize("how", LEAVING)
def test_with_the_setting_a_handler_is_cancelled(live_server: LiveServers, app: FastAPI, how: str) -> None:
    waiting, cancelled = threading.Event(), threading.Event()

    @app.get("/")
    async def handler() -> None:
        waiting.set()
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            cancelled.set()
            raise

    client = RawClient(live_server(app, cancel_on_disconnect=True).port)
    client.send(request())
    assert waiting.wait(PATIENCE)
    assert not cancelled.wait(2 * TICK)
    leave(client, how)

    assert cancelled.wait(PATIENCE)


@pytest.mark.parametrize("how", LEAVING)
@pytest.mark.parametrize("streaming", [False, True])
def test_with_the_setting_a_background_task_is_not_cancelled(
    live_server: LiveServers, app: FastAPI, streaming: bool, how: str
) -> None:
    """Behind a response that the client has read, and behind a stream that it has left in the middle."""
    busy, done = threading.Event(), threading.Event()

    async def work() -> None:
        busy.set()
        await anyio.sleep(3 * TICK)
        done.set()

    async def produce() -> AsyncIterator[bytes]:
        yield b"first"
        if streaming:
            busy.set()
            await anyio.sleep_forever()

    @app.get("/")
    async def handler() -> StreamingResponse:
        return StreamingResponse(produce(), background=BackgroundTask(work))

    client = RawClient(live_server(app, cancel_on_disconnect=True).port)
    client.send(request())
    client.read_until(b"first\r\n")
    assert busy.wait(PATIENCE)
    leave(client, how)

    assert done.wait(PATIENCE)


class Endless:
    """Always has more: whoever iterates is in `send()`, blocked or about to be, when the client leaves."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        return bytes(65536)


@pytest.mark.parametrize("how", LEAVING)
def test_a_stream_that_never_pauses_ends(live_server: LiveServers, app: FastAPI, how: str) -> None:
    ended = threading.Event()

    @app.get("/")
    async def stream() -> StreamingResponse:
        return StreamingResponse(Endless())

    async def outermost(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        finally:
            if scope["type"] == "http":
                ended.set()

    client = RawClient(live_server(outermost).port)
    client.send(request())
    client.read()
    assert not ended.is_set()
    leave(client, how)

    assert ended.wait(PATIENCE)


class Events:
    """A stream of server-sent events, of which each is released by the test."""

    def __init__(self) -> None:
        self.steps = [anyio.Event() for _ in range(3)]
        self.waiting = threading.Event()
        self.ended = threading.Event()

    async def __aiter__(self) -> AsyncIterator[dict[str, str]]:
        try:
            for number, step in enumerate(self.steps):
                yield {"data": f"event {number}"}
                self.waiting.set()
                await step.wait()
        finally:
            self.ended.set()


def test_server_sent_events_arrive_one_by_one(live_server: LiveServers, app: FastAPI) -> None:
    events = Events()

    @app.get("/")
    async def stream() -> EventSourceResponse:
        return EventSourceResponse(aiter(events))

    server = live_server(app)
    with RawClient(server.port) as client:
        client.send(request())
        assert b"text/event-stream" in client.read_until(b"\r\n\r\n")
        for number, step in enumerate(events.steps):
            assert f"data: event {number}\r\n".encode() in client.read_until(b"\r\n\r\n\r\n")
            server.call(step.set)
        assert client.read_until(b"0\r\n\r\n")
    assert events.ended.wait(PATIENCE)


@pytest.mark.parametrize("how", LEAVING)
def test_a_stream_of_events_ends(live_server: LiveServers, app: FastAPI, how: str) -> None:
    events = Events()

    @app.get("/")
    async def stream() -> EventSourceResponse:
        return EventSourceResponse(aiter(events))

    client = RawClient(live_server(app).port)
    client.send(request())
    client.read_until(b"data: event 0\r\n")
    assert events.waiting.wait(PATIENCE)
    assert not events.ended.is_set()
    leave(client, how)

    assert events.ended.wait(PATIENCE)


def test_a_stop_ends_a_stream_of_events_at_its_notice(live_server: LiveServers, app: FastAPI) -> None:
    """Well before the end of the grace period, which is set beyond this test's patience."""
    events = Events()

    @app.get("/")
    async def stream() -> EventSourceResponse:
        return EventSourceResponse(aiter(events))

    server = live_server(app, timeout_shutdown_notice=0.1, timeout_graceful_shutdown=60)
    with RawClient(server.port) as client:
        client.send(request())
        client.read_until(b"data: event 0\r\n")
        assert events.waiting.wait(PATIENCE)
        server.stop()
        server.wait_ended()
        assert events.ended.is_set()
