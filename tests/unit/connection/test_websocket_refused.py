"""A WebSocket that is not opened: refused by its application, or answered in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from asgiserve.errors import ClientDisconnected, LocalProtocolError
from tests.support.websocket import CLOSE, handshake, serving_websockets
from tests.unit.connection.applications import errors_in
from tests.unit.connection.websocket_applications import TICK, accept, echo, say

if TYPE_CHECKING:
    from asgiserve.types import Message, Receive, Scope, Send

pytestmark = pytest.mark.anyio


# --- refusing ---


async def test_a_close_before_the_acceptance_is_a_403_and_a_disconnect() -> None:
    received: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 4000, "reason": "no"})
        received.append(await receive())
        with pytest.raises(ClientDisconnected):
            await send({"type": "websocket.accept"})

    async with serving_websockets(app) as served:
        client = served.connect()
        response = await client.refused()
        assert (response.status, response.headers["connection"]) == (403, "close")
        assert await client.is_closed()
    assert received == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]


async def test_a_403_comes_although_the_application_goes_on() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.close"})
        await anyio.sleep(1000)

    async with serving_websockets(app, limit_connections=1, limit_concurrency=1) as served:
        for _ in range(3):
            client = served.connect()
            began = anyio.current_time()
            assert (await client.refused()).status == 403
            assert await client.is_closed()
            await client.stream.aclose()
            assert anyio.current_time() == began


@pytest.mark.parametrize("parts", [[b"no entry"], [b"no ", b"", b"entry"], [b""]], ids=len)
@pytest.mark.parametrize("length", [True, False])
async def test_an_application_may_refuse_with_a_response_of_its_own(parts: list[bytes], length: bool) -> None:
    received: list[Message] = []
    body = b"".join(parts)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert "websocket.http.response" in scope["extensions"]
        await receive()
        headers = [(b"content-length", b"%d" % len(body))] if length else []
        await send({"type": "websocket.http.response.start", "status": 401, "headers": [*headers, (b"x-a", b"b")]})
        for part in parts[:-1]:
            await send({"type": "websocket.http.response.body", "body": part, "more_body": True})
            await anyio.sleep(1)
        await send({"type": "websocket.http.response.body", "body": parts[-1]})
        received.append(await receive())

    async with serving_websockets(app) as served:
        client = served.connect()
        response = await client.refused()
        assert (response.status, response.body, response.headers["x-a"]) == (401, body, "b")
        assert response.headers["connection"] == "close"
        assert await client.is_closed()
    assert received == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]


async def test_a_denial_may_take_its_time() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": 401})
        for part in (b"a", b"b"):
            await anyio.sleep(100)
            await send({"type": "websocket.http.response.body", "body": part, "more_body": part == b"a"})

    async with serving_websockets(app) as served:
        response = await served.connect().refused()
        assert (response.status, response.body) == (401, b"ab")


async def test_a_denial_that_fails_before_its_body_is_a_clean_500(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"content-length", b"5")]})
        if scope["path"] == "/length":
            await send({"type": "websocket.http.response.body", "body": b"four"})
        raise ValueError("mine")

    async with serving_websockets(app) as served:
        assert (await served.connect().refused("/")).status == 500
        assert (await served.connect().refused("/length")).status == 500
    assert len(errors_in(caplog)) == 2
    lines = [line for line in caplog.messages if "WebSocket /" in line and "Exception" not in line]
    assert [line[-3:] for line in lines] == ["500", "500"], "what the peer got, and once"


async def test_a_denial_that_is_not_completed_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": 401})
        await send({"type": "websocket.http.response.body", "body": b"half", "more_body": True})

    async with serving_websockets(app) as served:
        client = served.connect()
        await client.send(handshake())
        assert b"half" in await client.read_until(b"half")
        assert not await client.is_closed()
    assert errors_in(caplog) == ["ASGI application returned without completing its response (WebSocket /)"]


async def test_a_start_that_is_refused_may_be_followed_by_another() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        with pytest.raises(LocalProtocolError):
            await send({"type": "websocket.http.response.start", "status": 101})
        await send({"type": "websocket.http.response.start", "status": 404})
        await send({"type": "websocket.http.response.body"})

    async with serving_websockets(app) as served:
        assert (await served.connect().refused()).status == 404


# --- no answer ---


@pytest.mark.parametrize("error", [ValueError("mine"), SystemExit(3), KeyboardInterrupt(), BaseException("mine")])
async def test_an_application_that_fails_before_its_answer_is_a_500(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise error

    async with serving_websockets(app) as served:
        client = served.connect()
        response = await client.refused("/chat")
        assert (response.status, response.headers["connection"]) == (500, "close")
        assert await client.is_closed()
    assert errors_in(caplog) == ["Exception in ASGI application (WebSocket /chat)"]


async def test_an_application_that_returns_without_an_answer_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        pass

    async with serving_websockets(app) as served:
        assert (await served.connect().refused()).status == 500
    assert errors_in(caplog) == ["ASGI application returned without accepting or refusing the WebSocket (WebSocket /)"]


async def test_an_application_that_does_not_answer_in_time_is_a_504_and_told() -> None:
    received: list[Message] = []
    raised: list[BaseException] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if scope["path"] == "/listen":
            received.append(await receive())
        else:
            await anyio.sleep(60)
        try:
            await send({"type": "websocket.accept"})
        except ClientDisconnected as error:
            raised.append(error)

    async with serving_websockets(app) as served:
        for target in ("/listen", "/sleep"):
            began = anyio.current_time()
            client = served.connect()
            assert (await client.refused(target)).status == 504
            assert anyio.current_time() - began == pytest.approx(30 + TICK / 2, abs=TICK / 2)
            assert await client.is_closed()
        await anyio.sleep(60)
    assert received == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]
    assert len(raised) == 2


async def test_the_time_for_an_answer_is_a_setting_and_ends_with_the_answer() -> None:
    async with serving_websockets(echo, timeout_ws_handshake=1, ws_ping_interval=0) as served:
        client = await served.open()
        await anyio.sleep(100)
        await client.text("still")
        assert await client.message() == "still"


async def test_a_peer_that_leaves_before_the_answer_is_a_disconnect(caplog: pytest.LogCaptureFixture) -> None:
    received: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        received.extend([await receive(), await receive()])

    async with serving_websockets(app) as served:
        client = served.connect()
        await client.send(handshake())
        await anyio.sleep(1)
        await client.stream.aclose()
        await anyio.sleep(1)
        assert received == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}] * 2
    assert not errors_in(caplog)


async def test_messages_before_the_acceptance_are_refused() -> None:
    errors: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await say(send, "early")
        except LocalProtocolError as error:
            errors.append(str(error))
        await accept(receive, send)

    async with serving_websockets(app) as served:
        assert (await (await served.open()).frame()).opcode == CLOSE
    assert "expected 'websocket.accept' or 'websocket.close'" in errors[0]
