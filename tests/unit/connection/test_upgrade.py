"""Requests that ask for a protocol that is not there, or that is switched off: requests as any other.

RFC 9110 7.8: a server may ignore an Upgrade field, and the client goes on in the protocol that it has used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.connection.applications import echo, get, path, post, reply, serving_http

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

WEBSOCKET = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
HTTP_2 = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
UNKNOWN = ("Connection: Upgrade", "Upgrade: teapot/1.0, websocket")

EVERY_OFFER = pytest.mark.parametrize("lines", [WEBSOCKET, HTTP_2, UNKNOWN], ids=["websocket", "h2c", "unknown"])


@EVERY_OFFER
async def test_a_request_to_upgrade_reaches_the_application_as_http(lines: tuple[str, ...]) -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        assert await receive() == {"type": "http.request", "body": b"", "more_body": False}
        await reply(send, b"plain")

    async with serving_http(app, ws="none") as served:
        client = served.connect()
        await client.send(get("/chat", *lines))
        response = await client.response()
    (scope,) = scopes
    assert (scope["type"], scope["scheme"], scope["http_version"], scope["path"]) == ("http", "http", "1.1", "/chat")
    sent = [tuple(line.split(": ", 1)) for line in ("Host: test", *lines)]
    assert scope["headers"] == [(name.lower().encode(), value.encode()) for name, value in sent]
    assert (response.status, response.body) == (200, b"plain")
    assert "upgrade" not in response.headers
    assert "connection" not in response.headers


@EVERY_OFFER
async def test_a_connection_goes_on_in_http_behind_a_request_to_upgrade(lines: tuple[str, ...]) -> None:
    async with serving_http(path, ws="none") as served:
        client = served.connect()
        await client.send(get("/one", *lines) + get("/two"))
        bodies = [(await client.response()).body for _ in range(2)]
        await client.send(get("/three", *lines))
        bodies.append((await client.response()).body)
    assert bodies == [b"/one", b"/two", b"/three"]


async def test_a_request_to_upgrade_may_have_a_body() -> None:
    async with serving_http(echo) as served:
        client = served.connect()
        await client.send(post(b"asked", *HTTP_2) + post(b"next"))
        assert [(await client.response()).body for _ in range(2)] == [b"asked", b"next"]
