"""The id of a request: from its header or made, in the response and in the log."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asgiserve import logs
from asgiserve.config import Settings
from asgiserve.errors import ConfigError
from asgiserve.log_output import JsonFormatter
from asgiserve.server import serve
from tests.support.websocket import serving_websockets
from tests.unit.connection.applications import access_lines, body, get, reply, serving_http, start
from tests.unit.connection.websocket_applications import echo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asgiserve.types import Header, Receive, Scope, Send
    from tests.support.serving import Response

pytestmark = pytest.mark.anyio

MADE = re.compile("[0-9a-f]{32}")
TWICE = "X-Request-ID: a\r\nX-Request-ID: b"


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")


class Seen:
    """Notes the ids that it finds in the headers of its requests, and those of their contexts."""

    def __init__(self, headers: Sequence[Header] = ()) -> None:
        self.ids: list[list[str]] = []
        self.in_context: list[str] = []
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.ids.append([value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"])
        self.in_context.append(logs.request_id.get(""))
        await reply(send, b"hello", headers=self._headers)


async def answered(app: Any, *lines: str, request: bytes = b"", **settings: Any) -> Response:
    async with serving_http(app, request_id_header="X-Request-ID", **settings) as served:
        client = served.connect()
        await client.send(request or get("/", *lines))
        return await client.response()


async def test_an_id_of_the_client_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    app = Seen()

    response = await answered(app, "X-Request-Id: 4bf9-2f.3/5+77=:_~")

    assert response.headers["x-request-id"] == "4bf9-2f.3/5+77=:_~"
    assert app.ids == [["4bf9-2f.3/5+77=:_~"]]
    assert app.in_context == ["4bf9-2f.3/5+77=:_~"]
    assert [line[7] for line in access_lines(caplog)] == ["4bf9-2f.3/5+77=:_~"]
    assert caplog.messages[-1].endswith("ms 4bf9-2f.3/5+77=:_~")


@pytest.mark.parametrize(
    "line",
    [
        "X-Other: 1",
        "X-Request-ID:",
        "X-Request-ID: a b",
        'X-Request-ID: a"',
        "X-Request-ID: a\\",
        "X-Request-ID: \xe9",
        f"X-Request-ID: {'a' * 129}",
        TWICE,
    ],
)
async def test_without_an_id_that_can_be_used_one_is_made(caplog: pytest.LogCaptureFixture, line: str) -> None:
    app = Seen()
    request = f"GET / HTTP/1.1\r\nHost: test\r\n{line}\r\n\r\n".encode("latin-1")

    made = (await answered(app, request=request)).headers["x-request-id"]

    assert MADE.fullmatch(made)
    assert app.ids == [[made]]
    assert [line[7] for line in access_lines(caplog)] == [made]


async def test_an_id_of_128_characters_is_kept() -> None:
    assert (await answered(Seen(), f"X-Request-ID: {'a' * 128}")).headers["x-request-id"] == "a" * 128


async def test_each_request_of_a_connection_has_its_own_id(caplog: pytest.LogCaptureFixture) -> None:
    app = Seen()
    async with serving_http(app, request_id_header="x-request-id") as served:
        client = served.connect()
        await client.send(get("/1") + get("/2") + get("/3", "X-Request-ID: third"))
        ids = [(await client.response()).headers["x-request-id"] for _ in range(3)]
    assert len(set(ids)) == 3
    assert ids[2] == "third"
    assert app.ids == [[each] for each in ids]
    assert [line[7] for line in access_lines(caplog)] == ids


async def test_an_id_that_the_application_sends_is_left_alone() -> None:
    response = await answered(Seen([(b"X-Request-ID", b"its own")]), "X-Request-ID: abc")

    assert [value for name, value in response.fields if name.lower() == b"x-request-id"] == [b"its own"]


async def test_the_servers_own_answer_has_the_id(caplog: pytest.LogCaptureFixture) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError

    response = await answered(failing, "X-Request-ID: abc")

    assert (response.status, response.headers["x-request-id"]) == (500, "abc")
    assert "Exception in ASGI application (GET /, request abc)" in caplog.messages
    assert [line[7] for line in access_lines(caplog)] == ["abc"]


@pytest.mark.parametrize(
    ("messages", "fault"),
    [
        ([], "without starting a response"),
        ([{"type": "http.response.start", "status": 200}], "without completing its response"),
    ],
    ids=["nothing", "a start"],
)
async def test_a_fault_of_the_application_is_told_with_the_id(
    caplog: pytest.LogCaptureFixture, messages: Sequence[Any], fault: str
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    async with serving_http(app, request_id_header="X-Request-ID") as served:
        client = served.connect()
        await client.send(get("/", "X-Request-ID: abc"))
        await anyio.sleep(1)
    assert f"ASGI application returned {fault} (GET /, request abc)" in caplog.messages


async def test_a_streamed_response_has_the_id() -> None:
    async def streaming(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await body(send, b"a", more=True)
        await body(send, b"b")

    response = await answered(streaming, "X-Request-ID: abc")

    assert (response.body, response.headers["x-request-id"]) == (b"ab", "abc")


@pytest.mark.parametrize("task_per_request", [False, True])
async def test_every_record_that_is_logged_in_a_request_finds_its_id(task_per_request: bool) -> None:
    logger = logging.getLogger("tests.request_id")
    lines: list[str] = []

    class Collected(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Collected()
    handler.setFormatter(JsonFormatter())
    logger.addHandler(handler)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(1)
        logger.warning("from the application")
        await reply(send, b"hello")

    try:
        await answered(app, "X-Request-ID: abc", task_per_request=task_per_request)
        logger.warning("from outside")
    finally:
        logger.removeHandler(handler)
    within, outside = map(json.loads, lines)
    assert (within["message"], within["request_id"]) == ("from the application", "abc")
    assert "request_id" not in outside


async def test_a_format_shows_the_id(caplog: pytest.LogCaptureFixture) -> None:
    settings = {"access_log_format": "{request_id} {response[x-request-id]}", "request_id_header": "X-Request-ID"}
    async with serving_http(Seen(), **settings) as served:
        await served.connect().get(headers="X-Request-ID: abc\r\n")
    assert "abc abc" in caplog.messages


async def test_without_the_setting_there_are_no_ids(caplog: pytest.LogCaptureFixture) -> None:
    app = Seen()
    async with serving_http(app) as served:
        response = await served.connect().get(headers="X-Request-ID: abc\r\n")
    assert "x-request-id" not in response.headers
    assert app.in_context == [""]
    assert [len(line) for line in access_lines(caplog)] == [7]


# --- WebSocket --------------------------------------------------------------------------------


async def test_the_handshake_of_a_websocket_is_answered_with_the_id() -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        assert logs.request_id.get("") == "abc"
        await echo(scope, receive, send)

    async with serving_websockets(app, request_id_header="X-Request-ID") as served:
        head = await served.connect().open("/", "X-Request-ID: abc")
    assert b"\r\nx-request-id: abc\r\n" in head
    assert (b"x-request-id", b"abc") in scopes[0]["headers"]


@pytest.mark.parametrize(
    "message",
    [
        {"type": "websocket.close"},
        {"type": "websocket.http.response.start", "status": 401, "headers": [(b"content-length", b"0")]},
    ],
    ids=["close", "response"],
)
async def test_a_refused_websocket_is_answered_with_the_id(message: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(message)
        if message["type"] != "websocket.close":
            await send({"type": "websocket.http.response.body"})

    async with serving_websockets(app, request_id_header="X-Request-ID") as served:
        response = await served.connect().refused("/", "X-Request-ID: abc")
    assert response.headers["x-request-id"] == "abc"


# --- the setting ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "a b", "x:", "é", 1])
async def test_what_is_no_name_of_a_header_is_refused(name: Any) -> None:
    with pytest.raises(ConfigError, match=r"^request_id_header: expected the name of a header, but got "):
        Settings.of({"request_id_header": name})


@pytest.mark.parametrize("name", ["Content-Length", "Connection", "Transfer-Encoding", "Upgrade"])
async def test_a_header_that_means_something_else_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^request_id_header: response field "):
        await serve(Seen(), port=0, request_id_header=name)
