"""Context variables wherever a request can be: in a paused body, a WebSocket, a background task, a thread, a WSGI
application, a cancellation. What one sets is its own; `test_contextvars.py` has the plain cases.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTasks
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from asgiserve.testing.clock import virtual_time
from tests.support.serving import serving
from tests.support.websocket import WebSocketClient
from tests.unit.connection.applications import body, get, post, read_body, reply, serving_http, start

if TYPE_CHECKING:
    import logging
    from collections.abc import Awaitable, Callable, Iterator

    from starlette.requests import Request
    from starlette.responses import Response

    from asgiserve.types import ASGIApplication, Receive, Scope, Send

var: ContextVar[str] = ContextVar("var", default="nothing")


@pytest.fixture(params=[False, True], ids=["inline", "task per request"])
def settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"task_per_request": request.param}


def with_lifespan(app: ASGIApplication) -> ASGIApplication:
    """The variable is "lifespan" for whatever `app` serves."""

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        await receive()
        var.set("lifespan")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    return outer


# --- bodies that come in parts ---


@pytest.mark.anyio
async def test_a_request_whose_body_pauses_keeps_its_context_while_others_run(settings: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        before = var.get()
        token = var.set(scope["path"])
        data = await read_body(receive)
        seen = var.get()
        var.reset(token)  # raises, if this is another context by now
        await reply(send, f"{before} {seen} {var.get()} {data.decode()}".encode())

    async with serving(with_lifespan(app), **settings) as served:
        slow, other = served.connect(), served.connect()
        await slow.send(post(b"first", target="/slow", length=11))
        assert (await other.get("/other")).body == b"lifespan /other lifespan "
        await anyio.sleep(1)
        # The next request comes with the end of the body, and is read by the task that has led this one.
        await slow.send(b" then " + post(b"", target="/next"))
        assert (await slow.response()).body == b"lifespan /slow lifespan first then "
        assert (await slow.response()).body == b"lifespan /next lifespan "


@pytest.mark.anyio
async def test_a_response_that_waits_for_its_client_keeps_its_context(settings: dict[str, Any]) -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        var.set(scope["path"])
        await start(send)
        for _ in range(5):
            await body(send, b"x" * 1000, more=True)
            seen.append(var.get())
        await body(send)

    async with serving_http(app, **settings) as served:
        clients = [served.connect(capacity=100) for _ in range(2)]
        for number, client in enumerate(clients):
            await client.send(get(f"/{number}"))
        await anyio.sleep(1)
        for client in clients:
            assert len((await client.response()).body) == 5000
    assert sorted(seen) == ["/0"] * 5 + ["/1"] * 5


# --- WebSockets ---


@pytest.mark.anyio
async def test_a_websocket_sees_the_lifespan_and_no_other_connection() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await reply(send, var.get().encode())
            return
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            before = var.get()
            var.set(message["text"])
            await anyio.sleep(1)  # meanwhile somebody else reads, in a task that is not the application's
            await send({"type": "websocket.send", "text": f"{before} {var.get()}"})

    async with serving(with_lifespan(app)) as served:
        one, two = (WebSocketClient(served.listener.connect()) for _ in range(2))
        for client in (one, two):
            await client.open()
        for client, text in ((one, "a"), (two, "b"), (one, "c"), (two, "d")):
            await client.text(text)
        assert [await one.message(), await one.message()] == ["lifespan a", "a c"]
        assert [await two.message(), await two.message()] == ["lifespan b", "b d"]
        assert (await served.connect().get()).body == b"lifespan"


@pytest.mark.anyio
async def test_a_request_and_the_websocket_behind_it_on_one_connection_have_contexts_of_their_own(
    settings: dict[str, Any],
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen = var.get()
        var.set(scope["path"])
        if scope["type"] == "http":
            await reply(send, seen.encode())
            return
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": seen})

    async with serving(with_lifespan(app), **settings) as served:
        client = WebSocketClient(served.listener.connect())
        assert (await client.get("/request")).body == b"lifespan"
        await client.open("/websocket")
        assert await client.message() == "lifespan"


# --- behind the response, and in the middle of a cancellation ---


async def _set_path(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    var.set(f"{var.get()} {request.url.path}")
    return await call_next(request)


@pytest.mark.anyio
@pytest.mark.parametrize("middleware", [False, True])
async def test_background_tasks_see_what_their_request_has_set(settings: dict[str, Any], middleware: bool) -> None:
    late: list[str] = []

    async def work() -> None:
        await anyio.sleep(5)
        late.append(var.get())

    async def endpoint(request: Request) -> Response:
        before = var.get()
        var.set(f"{before} endpoint")
        tasks = BackgroundTasks()
        tasks.add_task(work)
        tasks.add_task(work)
        return PlainTextResponse(before, background=tasks)

    app = Starlette(routes=[Route("/{rest}", endpoint)])
    if middleware:
        app.add_middleware(BaseHTTPMiddleware, dispatch=_set_path)
    async with serving_http(app, **settings) as served:
        client = served.connect()
        for target in ("/1", "/2"):
            expected = f"nothing {target}" if middleware else "nothing"
            assert (await client.get(target)).body.decode() == expected
        await anyio.sleep(20)
    ends = [f"nothing {target} endpoint" if middleware else "nothing endpoint" for target in ("/1", "/1", "/2", "/2")]
    assert sorted(late) == ends


@pytest.mark.anyio
async def test_what_is_logged_of_a_connection_is_not_logged_in_the_context_of_a_request_before(
    settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A child of the request answers: so the connection goes on in a task that is made in the child's context."""
    seen: list[str] = []

    def note(record: logging.LogRecord) -> bool:
        if "Invalid HTTP request" in record.getMessage():
            seen.append(var.get())
        return True

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        var.set("request")
        async with anyio.create_task_group() as group:
            group.start_soon(reply, send)
            await anyio.sleep(5)

    var.set("whoever serves")
    caplog.handler.addFilter(note)
    try:
        async with serving_http(app, **settings) as served:
            client = served.connect()
            await client.get()
            await client.send(b"no request\r\n\r\n")
            assert (await client.response()).status == 400
    finally:
        caplog.handler.removeFilter(note)
    assert seen == ["whoever serves"]


@pytest.mark.anyio
async def test_a_cancelled_request_cleans_up_in_its_own_context(settings: dict[str, Any]) -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        token = var.set(scope["path"])
        try:
            await anyio.sleep(100)
        finally:
            seen.append(var.get())
            var.reset(token)
            seen.append(var.get())

    async with serving(with_lifespan(app), timeout_request=1, **settings) as served:
        for target in ("/1", "/2"):
            assert (await served.connect().get(target)).status == 504
    assert seen == ["/1", "lifespan", "/2", "lifespan"]


# --- threads: no virtual time, since nobody there waits for them ---

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


@backends
def test_a_thread_sees_the_context_of_its_request_and_leaves_no_trace(backend: str, settings: dict[str, Any]) -> None:
    def in_thread() -> str:
        seen = var.get()
        var.set("thread")
        return f"{seen} {anyio.from_thread.run_sync(var.get)}"

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        before = var.get()
        var.set(scope["path"])
        answers = [await anyio.to_thread.run_sync(in_thread) for _ in range(2)]
        await reply(send, repr([before, *answers, var.get()]).encode())

    async def play() -> list[bytes]:
        async with serving(with_lifespan(app), **settings) as served:
            client = served.connect()
            return [(await client.get(target)).body for target in ("/1", "/2")]

    expected = "['lifespan', '{0} thread', '{0} thread', '{0}']"
    assert anyio.run(play, backend=backend) == [expected.format(target).encode() for target in ("/1", "/2")]


@backends
def test_a_wsgi_application_has_the_context_of_its_request_in_whichever_thread(
    backend: str, settings: dict[str, Any]
) -> None:
    threads: set[int] = set()
    both_here = threading.Barrier(2)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        threads.add(threading.get_ident())
        before = var.get()
        var.set(environ["PATH_INFO"])
        both_here.wait(10)  # two requests at once, in two threads
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield f"{before} {var.get()} ".encode()
        both_here.wait(10)
        yield var.get().encode()

    async def play() -> list[bytes]:
        var.set("whoever serves")
        bodies: list[bytes] = []
        async with serving(app, **settings) as served:

            async def ask(target: str) -> None:
                client = served.connect()
                bodies.extend([(await client.get(target)).body for _ in range(2)])

            async with anyio.create_task_group() as group:
                group.start_soon(ask, "/1")
                group.start_soon(ask, "/2")
        return bodies

    bodies = anyio.run(play, backend=backend)
    assert sorted(bodies) == [b"whoever serves /1 /1"] * 2 + [b"whoever serves /2 /2"] * 2
    assert len(threads) >= 2


# --- the same on both ---


def _tale(backend: str, **settings: Any) -> list[str]:
    """What all the parts of several requests see, in order."""
    told: list[str] = []

    def tell(where: str) -> None:
        told.append(f"{anyio.current_time() - began[0]:.3f} {where}: {var.get()}")

    began: list[float] = []

    async def child(name: str) -> None:
        tell(f"{name} child begins")
        var.set(f"{name} child")
        await anyio.sleep(0.5)
        tell(f"{name} child ends")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        name = scope["path"]
        tell(f"{name} begins")
        var.set(name)
        async with anyio.create_task_group() as group:
            group.start_soon(child, name)
        tell(f"{name} behind its child")
        await read_body(receive)
        tell(f"{name} has its body")
        await reply(send)
        tell(f"{name} has answered")
        await anyio.sleep(2.2)
        tell(f"{name} ends")

    async def play() -> None:
        async with serving(with_lifespan(app), **settings) as served:
            began.append(anyio.current_time())
            client = served.connect()
            await client.send(get("/1") + get("/2") + post(b"half", target="/3", length=8))
            await anyio.sleep(3.1)
            await client.send(b"more" + get("/4"))
            for _ in range(4):
                await client.response()
            await anyio.sleep(10)

    name, options = virtual_time(backend)
    anyio.run(play, backend=name, backend_options=dict(options))
    return told


def test_both_backends_show_the_same_contexts_at_the_same_times(settings: dict[str, Any]) -> None:
    told = _tale("asyncio", **settings)
    assert told == _tale("trio", **settings)
    assert [line.partition(" ")[2] for line in told if "/3" in line] == [
        "/3 begins: lifespan",
        "/3 child begins: /3",
        "/3 child ends: /3 child",
        "/3 behind its child: /3",
        "/3 has its body: /3",
        "/3 has answered: /3",
        "/3 ends: /3",
    ]
