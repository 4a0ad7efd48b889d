"""The handshake: what reaches the application, and how it is accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asgiserve.errors import LocalProtocolError
from tests.support.serving import serving
from tests.support.websocket import ACCEPT, TEXT, frame, handshake, serving_websockets
from tests.unit.connection.applications import path, reply, warnings_in
from tests.unit.connection.websocket_applications import Journal, accept, echo, say

if TYPE_CHECKING:
    from asgiserve.types import Message, Receive, Scope, Send

pytestmark = pytest.mark.anyio

FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\n"


class Seen:
    """Notes the scopes that it is called with, and does what it is told."""

    def __init__(self, app: Any = echo) -> None:
        self.scopes: list[Scope] = []
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await self._app(scope, receive, send)


# --- what reaches the application ---


async def test_a_handshake_reaches_the_application_as_a_websocket_scope() -> None:
    app = Seen()
    async with serving_websockets(app, root_path="/api") as served:
        await served.open(
            "/chat%20room?q=1", "Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Protocol: c", "Cookie: x=y"
        )
    (scope,) = app.scopes
    assert (scope["type"], scope["scheme"], scope["http_version"]) == ("websocket", "ws", "1.1")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/api/chat room", b"/chat%20room", b"q=1")
    assert scope["subprotocols"] == ["a", "b", "c"]
    assert scope["headers"][-3:] == [
        (b"sec-websocket-protocol", b"a, b"),
        (b"sec-websocket-protocol", b"c"),
        (b"cookie", b"x=y"),
    ]
    assert (scope["client"], scope["server"]) == (("127.0.0.1", 50000), ("127.0.0.1", 80))


@pytest.mark.parametrize(
    ("request_line", "lines", "status", "fields"),
    [
        ("POST / HTTP/1.1", {}, 405, {"allow": "GET"}),
        (
            "GET / HTTP/1.1",
            {"Sec-WebSocket-Version": "12"},
            426,
            {"sec-websocket-version": "13", "upgrade": "websocket"},
        ),
        ("GET / HTTP/1.1", {"Sec-WebSocket-Key": "c2hvcnQ="}, 400, {}),
        ("GET / HTTP/1.1", {"Sec-WebSocket-Protocol": "\xe9"}, 400, {}),
    ],
    ids=["method", "version", "key", "not ASCII"],
)
async def test_a_bad_handshake_is_refused_without_the_application(
    request_line: str, lines: dict[str, str], status: int, fields: dict[str, str]
) -> None:
    app = Seen()
    request = handshake().decode().replace("GET / HTTP/1.1", request_line)
    for name, value in lines.items():
        request = "".join(line for line in request.splitlines(True) if not line.startswith(name))
        request = request.replace("\r\n\r\n", f"\r\n{name}: {value}\r\n\r\n") if "\r\n\r\n" in request else request
        if not request.endswith("\r\n\r\n"):
            request += f"{name}: {value}\r\n\r\n"
    async with serving_websockets(app) as served:
        client = served.connect()
        await client.send(request.encode("latin-1"))
        response = await client.response()
        assert response.status == status
        assert response.headers["connection"] in ("close", "upgrade, close")
        assert {name: response.headers[name] for name in fields} == fields
        assert await client.is_closed()
        await served.open()
    assert len(app.scopes) == 1


async def test_http_10_has_no_websocket() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await reply(send, b"plain")

    async with serving_websockets(app) as served:
        client = served.connect()
        await client.send(handshake().replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert (await client.response()).body == b"plain"


async def test_one_that_comes_by_http_10_is_told_once_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    async with serving_websockets(path) as served:
        for target in ("/chat", "/chat", "/other"):
            client = served.connect()
            await client.send(handshake(target).replace(b"HTTP/1.1", b"HTTP/1.0"))
            assert (await client.response()).body == target.encode()
        await served.connect().get("/", "Upgrade: websocket\r\n")
    (warning,) = warnings_in(caplog)
    assert "A request for a WebSocket (/chat) has come by HTTP/1.0" in warning
    assert "nginx needs `proxy_http_version 1.1`" in warning


async def test_no_warning_where_none_would_be_opened(caplog: pytest.LogCaptureFixture) -> None:
    async with serving_websockets(path, ws="none") as served:
        client = served.connect()
        await client.send(handshake().replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert (await client.response()).body == b"/"
    async with serving_websockets(path) as served:
        client = served.connect()
        await client.send(b"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n")
        assert (await client.response()).body == b"/"
    assert warnings_in(caplog) == []


async def test_without_the_setting_a_handshake_is_a_plain_request() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await reply(send, b"plain")

    async with serving_websockets(app, ws="none") as served:
        client = served.connect()
        await client.send(handshake())
        assert (await client.response()).body == b"plain"
        await client.send(handshake())
        assert (await client.response()).body == b"plain"


async def test_a_websocket_may_follow_requests_on_its_connection() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await reply(send, b"plain")
        else:
            await echo(scope, receive, send)

    async with serving_websockets(app) as served:
        client = served.connect()
        for _ in range(3):
            assert (await client.get()).body == b"plain"
        await client.open(behind=frame(TEXT, b"x"))
        assert await client.message() == "x"


# --- accepting ---


async def test_an_accepted_handshake_is_answered_exactly_so() -> None:
    async with serving_websockets(echo, date_header=False) as served:
        head = await served.connect().open()
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 101 Switching Protocols"
    assert sorted(lines[1:-2]) == [
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {ACCEPT.decode()}",
        "Upgrade: websocket",
        "server: asgiserve",
    ]


async def test_headers_and_the_subprotocol_of_the_application_are_sent() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send, subprotocol="b", headers=[(b"Set-Cookie", b"a=1"), (b"set-cookie", b"b=2")])

    async with serving_websockets(app, header=["X-Frame: no"]) as served:
        head = await served.connect().open("/", "Sec-WebSocket-Protocol: a, b")
    assert b"\r\nSec-WebSocket-Protocol: b\r\n" in head
    assert b"\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n" in head
    assert b"\r\nX-Frame: no\r\n" in head


@pytest.mark.parametrize(
    "more",
    [
        {"headers": [(b"x-a", b"a\r\nset-cookie: evil")]},
        {"headers": [(b"x a", b"a")]},
        {"headers": [(b"sec-websocket-accept", b"mine")]},
        {"subprotocol": "not offered"},
    ],
    ids=["value", "name", "protected", "subprotocol"],
)
async def test_an_acceptance_that_is_refused_leaves_everything_as_it_was(more: dict[str, Any]) -> None:
    errors: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await accept(receive, send, **more)
        except LocalProtocolError as error:
            errors.append(str(error))
        await send({"type": "websocket.accept", "headers": [(b"x-second", b"1")]})
        await say(send, "open")

    async with serving_websockets(app) as served:
        client = served.connect()
        head = await client.open("/", "Sec-WebSocket-Protocol: a")
        assert (b"evil" in head, b"x-second: 1" in head) == (False, True)
        assert await client.message() == "open"
    assert len(errors) == 1
    assert "evil" not in errors[0]


async def test_frames_that_come_with_the_handshake_are_delivered() -> None:
    app = Journal()
    async with serving_websockets(app) as served:
        client = served.connect()
        await client.open(behind=frame(TEXT, b"one") + frame(TEXT, b"two") + frame(TEXT, b"three")[:5])
        await client.send(frame(TEXT, b"three")[5:])
        await client.close()
        await app.ended.wait()
    assert app.contents == ["one", "two", "three"]


@pytest.mark.parametrize("listens", [False, True])
async def test_frames_that_come_before_the_acceptance_are_delivered(listens: bool) -> None:
    received: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        async with anyio.create_task_group() as group:
            if listens:

                async def listen() -> None:
                    received.append(await receive())

                group.start_soon(listen)
            await anyio.sleep(2)
            await send({"type": "websocket.accept"})
        received.append(await receive())
        await say(send, "done")

    async with serving_websockets(app) as served:
        client = served.connect()
        await client.send(handshake() + frame(TEXT, b"one"))
        await anyio.sleep(1)
        await client.send(frame(TEXT, b"two"))
        await client.read_until(b"\r\n\r\n")
        if not listens:
            assert (await client.message()) == "done"
            assert [one["text"] for one in received] == ["one"]
        else:
            assert (await client.message()) == "done"
            assert [one["text"] for one in received] == ["one", "two"]


async def test_a_peer_that_floods_before_it_is_accepted_is_not_read_for_ever() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        with anyio.move_on_after(5):
            await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] == "websocket.receive":
            pass

    async with serving_websockets(app) as served:
        client = served.connect()
        await client.send(handshake())
        sent = 0
        with anyio.move_on_after(4):
            while True:
                await client.stream.send(frame(TEXT, b"x" * 1000))
                sent += 1
        assert 60 <= sent < 300
        await client.read_until(b"\r\n\r\n")


# --- limits and logs ---


async def test_a_websocket_counts_for_the_concurrency_limit_until_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    app = Seen()
    async with serving_websockets(app, limit_concurrency=1) as served:
        first = await served.open()
        second = served.connect()
        refused = await second.refused()
        assert (refused.status, refused.headers["retry-after"], refused.headers["connection"]) == (503, "1", "close")
        assert await second.is_closed()
        await first.close()
        assert await first.read_all()
        await served.open()
    assert len(app.scopes) == 2
    assert "Exceeded concurrency limit." in [record.getMessage() for record in caplog.records]


async def test_requests_and_websockets_share_the_concurrency_limit() -> None:
    async with serving(echo, lifespan="off", limit_concurrency=1) as served:
        client = served.connect()
        await client.send(handshake())
        await client.read_until(b"\r\n\r\n")
        assert (await served.connect().get()).status == 503


async def test_what_becomes_of_a_handshake_is_logged_as_in_uvicorn(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if scope["path"] == "/yes":
            await send({"type": "websocket.accept"})
        elif scope["path"] == "/no":
            await send({"type": "websocket.close"})
        else:
            await send({"type": "websocket.http.response.start", "status": 401})
            await send({"type": "websocket.http.response.body"})

    caplog.set_level("INFO", "asgiserve.error")
    async with serving_websockets(app) as served:
        await served.open("/yes?q=1")
        await served.connect().refused("/no")
        await served.connect().refused("/denied")
    lines = [record.getMessage() for record in caplog.records if "WebSocket" in record.getMessage()]
    assert lines == [
        '127.0.0.1:50000 - "WebSocket /yes?q=1" [accepted]',
        '127.0.0.1:50000 - "WebSocket /no" 403',
        '127.0.0.1:50000 - "WebSocket /denied" 401',
    ]
