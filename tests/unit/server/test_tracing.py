"""The level trace: every ASGI message is a line, without bodies and headers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asgiserve import logs
from asgiserve.server.tracing import traced
from tests.support.serving import serving
from tests.support.websocket import serving_websockets
from tests.unit.connection.applications import body, echo, post, reply, serving_http, start
from tests.unit.connection.websocket_applications import echo as echo_messages

if TYPE_CHECKING:
    from asgiserve.types import Message, Receive, Scope, Send

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _trace_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logs.TRACE, "asgiserve.error")


def traces(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logs.TRACE]


async def test_every_message_of_a_request_is_a_line(caplog: pytest.LogCaptureFixture) -> None:
    async with serving_http(echo) as served:
        client = served.connect()
        await client.send(post(b"hello", "Authorization: secret"))
        assert (await client.response()).body == b"hello"
        client.stream.abort()
        await anyio.sleep(1)
    made, started, *messages, completed, lost = traces(caplog)
    client_name = "127.0.0.1:50000 - "
    assert made == f"{client_name}Connection made"
    assert started.startswith(f"{client_name}ASGI [1] Started scope={{'type': 'http', ")
    assert "'method': 'POST', " in started
    assert "'headers': <...>" in started
    assert "'state': <...>" in started
    assert messages == [
        f"{client_name}ASGI [1] Receive {{'type': 'http.request', 'body': <5 bytes>, 'more_body': False}}",
        f"{client_name}ASGI [1] Send {{'type': 'http.response.start', 'status': 200, 'headers': <...>}}",
        f"{client_name}ASGI [1] Send {{'type': 'http.response.body', 'body': <5 bytes>, 'more_body': False}}",
    ]
    assert completed == f"{client_name}ASGI [1] Completed"
    assert lost == f"{client_name}Connection lost"
    assert "secret" not in caplog.text


async def test_the_messages_of_the_lifespan_are_lines(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async with serving(app):
        pass
    started, *told = traces(caplog)
    assert started.startswith("ASGI [1] Started scope={'type': 'lifespan', ")
    assert told == [
        "ASGI [1] Receive {'type': 'lifespan.startup'}",
        "ASGI [1] Send {'type': 'lifespan.startup.complete'}",
        "ASGI [1] Receive {'type': 'lifespan.shutdown'}",
        "ASGI [1] Send {'type': 'lifespan.shutdown.complete'}",
        "ASGI [1] Completed",
    ]


async def test_the_messages_of_a_websocket_are_lines(caplog: pytest.LogCaptureFixture) -> None:
    async with serving_websockets(echo_messages) as served:
        client = await served.open()
        await client.text("hello")
        assert await client.message() == "hello"
    told = traces(caplog)
    assert any(line.endswith("Upgrading to WebSocket") for line in told)
    assert any("Receive {'type': 'websocket.receive', " in line and "'text': <5 chars>" in line for line in told)
    assert any("Send {'type': 'websocket.send', " in line and "'text': <5 chars>" in line for line in told)
    assert "hello" not in caplog.text


async def test_an_error_is_a_trace_and_still_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError

    async with serving_http(app) as served:
        assert (await served.connect().get()).status == 500
    assert any(line.endswith("ASGI [1] Raised ValueError") for line in traces(caplog))
    assert "Exception in ASGI application (GET /)" in caplog.messages


class Unshowable(bytes):
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (None, "None"),
        (3, "<int>"),
        ({"type": Unshowable()}, "(cannot be shown: RuntimeError)"),
        ({"type": "x", "body": None}, "{'type': 'x', 'body': None}"),
        ({"type": "x", "body": 1, "bytes": "a", "text": b"a"}, "{'type': 'x', 'body': <int>, 'bytes': <str>, "),
        ({"type": "x", "body": memoryview(b"abc")}, "{'type': 'x', 'body': <3 bytes>}"),
        ({"type": "\x1b[31m\n"}, "{'type': '\\x1b[31m\\n'}"),
    ],
)
async def test_whatever_an_application_sends_is_traced_and_passed_on(
    caplog: pytest.LogCaptureFixture, message: Any, shown: str
) -> None:
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(message)

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await traced(app)({"type": "http"}, receive, send)

    assert sent == [message]
    assert f"ASGI [1] Send {shown}" in traces(caplog)[1]


async def test_certificates_of_clients_are_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        pass

    async def nothing(*_: Any) -> Any:
        raise AssertionError

    await traced(app)({"type": "http", "extensions": {"tls": {"client_cert_chain": ["PEM"]}}}, nothing, nothing)

    assert "'extensions': ['tls']" in traces(caplog)[0]


async def test_what_goes_on_after_a_response_still_lingers(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"hello")
        await anyio.sleep(60)

    async with serving_http(app) as served:
        client = served.connect()
        began = anyio.current_time()
        for _ in range(3):
            assert (await client.get()).body == b"hello"
        assert anyio.current_time() - began < 1


async def test_a_client_that_leaves_is_a_message(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await body(send, b"a", more=True)
        while (await receive())["type"] != "http.disconnect":
            pass

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        await anyio.sleep(1)
        client.stream.abort()
        await anyio.sleep(1)
    assert any(line.endswith("Receive {'type': 'http.disconnect'}") for line in traces(caplog))


async def test_above_the_level_trace_the_application_is_called_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "asgiserve.error")
    names: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        names.append(receive.__qualname__)  # type: ignore[attr-defined]
        await reply(send, b"hello")

    async with serving_http(app) as served:
        await served.connect().get()
    assert names == ["Exchange.receive"]
    assert traces(caplog) == []
