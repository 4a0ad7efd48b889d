"""Applications that end, fail, go on or corrupt their task, and what is left of their WebSockets: nothing."""

from __future__ import annotations

import asyncio
import gc
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asgiserve.backend import current_backend
from asgiserve.connection.websocket import WebSocket
from asgiserve.errors import ClientDisconnected
from tests.support.websocket import handshake, serving_websockets
from tests.unit.connection.applications import errors_in, read_for_ever, reply
from tests.unit.connection.websocket_applications import accept, echo, hear, say, say_for_ever

if TYPE_CHECKING:
    import logging

    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio


# --- the application ends ---


async def test_an_application_that_returns_closes_with_1000() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await say(send, "bye")

    async with serving_websockets(app) as served:
        client = await served.open()
        assert await client.message() == "bye"
        assert await client.closed_with() == (1000, "")


@pytest.mark.parametrize("error", [ValueError("secret"), SystemExit(3), KeyboardInterrupt(), BaseException("secret")])
async def test_an_application_that_raises_closes_with_1011_and_is_logged(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        if scope["path"] == "/fail":
            raise error
        await say(send, await hear(receive))

    async with serving_websockets(app) as served:
        client = await served.open("/fail")
        assert await client.closed_with() == (1011, "")
        other = await served.open("/fine")
        await other.text("fine")
        assert await other.message() == "fine"
    assert errors_in(caplog) == ["Exception in ASGI application (WebSocket /fail)"]


@pytest.mark.parametrize("grouped", [False, True])
async def test_a_client_disconnected_that_leaves_the_application_is_no_error(
    grouped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    ended = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        try:
            if grouped:
                async with anyio.create_task_group() as group:
                    group.start_soon(say_for_ever, send, "x")
            else:
                await receive()
                await say(send, "x")
        finally:
            ended.set()

    async with serving_websockets(app) as served:
        client = await served.open()
        await client.stream.aclose()
        await ended.wait()
        await anyio.sleep(1)
    assert not errors_in(caplog)


async def test_a_client_disconnected_of_another_websocket_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    sends: list[Send] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        sends.append(send)
        await receive()
        if scope["path"] == "/second":
            await say(sends[0], "x")

    async with serving_websockets(app) as served:
        first = await served.open("/first")
        second = await served.open("/second")
        await first.close()
        await first.frame()
        await second.text("now")
        assert await second.closed_with() == (1011, "")
    assert errors_in(caplog) == ["Exception in ASGI application (WebSocket /second)"]


async def test_an_error_after_the_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await receive()
        raise ValueError

    async with serving_websockets(app) as served:
        client = await served.open()
        await client.close(4000)
        assert (await client.frame()).code == 4000
        assert await client.is_closed()
        await anyio.sleep(1)
    assert errors_in(caplog) == ["Exception in ASGI application (WebSocket /)"]


async def test_an_application_that_goes_on_after_the_end_counts_no_more() -> None:
    running = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal running
        await accept(receive, send)
        running += 1
        await anyio.sleep(100)
        running -= 1

    async with serving_websockets(app, limit_concurrency=1, limit_connections=1) as served:
        for _ in range(5):
            client = await served.open()
            await client.close()
            await client.frame()
            assert await client.is_closed()
            await client.stream.aclose()
        assert running == 5
        await anyio.sleep(101)
        assert running == 0


async def test_receive_and_send_after_the_application_has_ended_touch_nothing() -> None:
    kept: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        kept.extend([receive, send])

    async with serving_websockets(app) as served:
        client = await served.open()
        assert await client.closed_with() == (1000, "")
        receive, send = kept
        assert await receive() == {"type": "websocket.disconnect", "code": 1000, "reason": ""}
        with pytest.raises(ClientDisconnected):
            await say(send, "x")


async def test_receive_and_send_after_a_refusal_was_cut_short_say_that_it_is_over() -> None:
    kept: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        kept.extend([receive, send])
        await receive()
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"half", "more_body": True})
        await anyio.sleep_forever()

    async with serving_websockets(app, timeout_graceful_shutdown=1) as served:
        client = served.connect()
        await client.send(handshake("/"))
        await client.read_until(b"half")
        served.server.stop()
        await anyio.sleep(5)
    receive, send = kept
    assert await receive() == {"type": "websocket.disconnect", "code": 1006, "reason": ""}
    with pytest.raises(ClientDisconnected):
        await send({"type": "websocket.http.response.body"})


async def test_an_overview_may_be_made_while_a_websocket_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """In another thread, it has seen the connection among the others and asks it only now."""
    part, told = WebSocket.part, list[str]()

    def part_and_tell(socket: WebSocket) -> None:
        part(socket)
        told.append(socket.doing(0.0))

    monkeypatch.setattr(WebSocket, "part", part_and_tell)
    async with serving_websockets(echo) as served:
        client = await served.open("/x")
        await client.close()
        await client.read_all()
    assert told == ["WebSocket /x, nothing more comes for the application, and nothing more is sent for it"]


async def test_an_application_that_leaves_a_scope_open_costs_its_connection_and_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kept = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        if scope["path"] == "/corrupt":
            left = anyio.CancelScope()
            left.__enter__()
            left.cancel()
            kept.append(left)
            return
        await say(send, await hear(receive))

    async with serving_websockets(app) as served:
        fine = await served.open("/fine")
        corrupt = await served.open("/corrupt")
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await read_for_ever(corrupt)
        await fine.text("fine")
        assert await fine.message() == "fine"
        assert served.server.state == "serving"
    assert errors_in(caplog)


async def test_an_application_that_cancels_its_own_task_costs_its_websocket_and_no_other() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        if scope["path"] == "/cancel":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        await say(send, await hear(receive))

    if current_backend() == "trio":
        pytest.skip("nothing can cancel a trio task but its scopes")
    async with serving_websockets(app) as served:
        fine = await served.open("/fine")
        cancelled = await served.open("/cancel")
        assert await cancelled.closed_with() == (1011, "")
        await fine.text("fine")
        assert await fine.message() == "fine"


# --- context and task ---


async def test_each_websocket_runs_in_a_context_of_its_own() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="unset")
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        seen.append(variable.get())
        variable.set(scope["path"])
        await hear(receive)
        seen.append(variable.get())

    async with serving_websockets(app) as served:
        clients = [await served.open(target) for target in ("/a", "/b")]
        for client in clients:
            await client.text("now")
            assert await client.closed_with() == (1000, "")
    assert seen == ["unset", "unset", "/a", "/b"]


async def test_an_error_is_logged_in_the_context_of_its_websocket(caplog: pytest.LogCaptureFixture) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="unset")
    seen: list[str] = []

    def note(record: logging.LogRecord) -> bool:
        seen.append(variable.get())
        return True

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        variable.set("mine")
        await accept(receive, send)
        raise ValueError

    caplog.handler.addFilter(note)
    async with serving_websockets(app) as served:
        client = await served.open()
        assert await client.closed_with() == (1011, "")
    caplog.handler.removeFilter(note)
    assert "mine" in seen


async def test_an_application_of_asgi_2_is_called_twice() -> None:
    def app(scope: Scope) -> Any:
        async def call(receive: Receive, send: Send) -> None:
            await echo(scope, receive, send)

        return call

    async with serving_websockets(app) as served:  # type: ignore[arg-type]
        client = await served.open()
        await client.text("x")
        assert await client.message() == "x"


async def test_a_websocket_may_follow_a_request_whose_application_goes_on() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await reply(send, b"plain")
            await anyio.sleep(5)
        else:
            await echo(scope, receive, send)

    async with serving_websockets(app) as served:
        client = served.connect()
        assert (await client.get()).body == b"plain"
        await client.open()
        for _ in range(10):
            await client.text("x")
            assert await client.message() == "x"
            await anyio.sleep(1)
        await client.close()
        assert (await client.frame()).code == 1000


# --- nothing is left ---


async def test_hundreds_of_websockets_that_come_and_go_leave_nothing_behind() -> None:
    async with serving_websockets(echo) as served:
        service = served.server._stopping._service
        for number in range(300):
            client = await served.open()
            if number % 3 == 0:
                await client.text("x")
                assert await client.message() == "x"
                await client.close()
                await client.frame()
            if number % 3 == 1:
                client.stream.abort()
            else:
                await client.stream.aclose()
        for _ in range(100):
            aborted = served.connect()
            await aborted.send(handshake())
            aborted.stream.abort()
        await anyio.sleep(5)
        assert (service.connections, service.lingering) == (set(), set())
        assert (service.tasks, service.in_flight) == (0, 0)
        gc.collect()
        # By type(): isinstance() asks proxies of other tests' libraries, such as Django's settings, for their class.
        left = [one for one in gc.get_objects() if type(one) is WebSocket and one.service is service]
        assert left == []
