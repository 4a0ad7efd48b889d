"""Handshakes of the client of `websockets` against plain ASGI: what is told, chosen and refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.live.applications import respond
from tests.live.raw import RawClient
from tests.live.servers import PATIENCE
from tests.live.websocket_raw import connected
from tests.live.websocket_site import echo, told

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send
    from tests.live.conftest import LiveServers

pytestmark = pytest.mark.live


def test_the_application_is_told_who_asks_for_what(live_server: LiveServers) -> None:
    server = live_server(told, root_path="/mounted")
    with connected(server, "/a%20b?c=%20d", subprotocols=["chat", "other"]) as client:
        scope: dict[str, Any] = json.loads(client.recv(PATIENCE))

        assert client.subprotocol == "chat"
        assert scope.pop("client") == list(client.local_address)
        assert client.response is not None
        assert client.response.headers["x-chosen"] == "1"
        assert client.response.headers.get_all("set-cookie") == ["a=1", "b=2"]
    headers = dict(scope.pop("headers"))
    assert headers["host"] == f"127.0.0.1:{server.port}"
    assert headers["sec-websocket-protocol"] == "chat, other"
    assert scope == {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": "/mounted/a b",
        "raw_path": "/a%20b",
        "query_string": "c=%20d",
        "root_path": "/mounted",
        "server": ["127.0.0.1", server.port],
        "subprotocols": ["chat", "other"],
    }


def refusal(server: Any) -> tuple[int, bytes, list[tuple[str, str]]]:
    with pytest.raises(InvalidStatus) as caught, connected(server):
        pass
    response = caught.value.response
    return response.status_code, bytes(response.body), list(response.headers.raw_items())


def test_a_close_before_the_accept_is_a_403(live_server: LiveServers) -> None:
    after = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            raise NotImplementedError
        await receive()
        await send({"type": "websocket.close", "code": 4000})
        after.append(await receive())

    server = live_server(app)

    assert refusal(server)[0] == 403
    server.finish()
    assert [(message["type"], message["code"]) for message in after] == [("websocket.disconnect", 1006)]


def test_a_refusal_of_the_applications_own_reaches_the_client(live_server: LiveServers) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            raise NotImplementedError
        assert "websocket.http.response" in scope["extensions"]
        await receive()
        headers = [(b"content-type", b"text/plain"), (b"www-authenticate", b"Basic")]
        await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
        for part in (b"who ", b"", b"are "):
            await send({"type": "websocket.http.response.body", "body": part, "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"you?"})

    status, body, headers = refusal(live_server(app))

    assert (status, body) == (401, b"who are you?")
    assert ("www-authenticate", "Basic") in headers


@pytest.mark.parametrize("fails", [True, False], ids=["raises", "returns"])
def test_an_application_that_ends_before_the_accept_is_a_500(live_server: LiveServers, fails: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            raise NotImplementedError
        await receive()
        if fails:
            raise ValueError("no such luck")

    server = live_server(app)

    assert refusal(server)[0] == 500
    (error,) = server.take_errors()
    assert ("ValueError: no such luck" in error) is fails


def test_a_request_without_upgrade_is_still_http(live_server: LiveServers) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await respond(send, 200, b"http")
        else:
            await echo(scope, receive, send)

    server = live_server(app)
    with connected(server) as client:
        client.send("websocket")
        assert client.recv(PATIENCE) == "websocket"
        with RawClient(server.port) as other:
            assert other.get().body == b"http"
