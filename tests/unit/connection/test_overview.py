"""`Server.overview()`: what goes on, as text for people."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.support.serving import serving
from tests.support.websocket import handshake

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        await sleep_here()
    if scope["path"] == "/begun":
        await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/lingers":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})
    await sleep_here()


async def sleep_here() -> None:
    await anyio.sleep(60)


async def test_each_connection_says_what_it_waits_for_and_how_long() -> None:
    async with serving(app, lifespan="off", access_log=False) as served:
        clients = [served.connect(remote_address=("192.0.2.1", port)) for port in range(1, 7)]
        await anyio.sleep(2)
        await clients[1].send(b"GET / HT")
        await clients[2].send(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
        await clients[3].send(b"GET /begun HTTP/1.1\r\nHost: h\r\n\r\n")
        await clients[4].send(b"GET /lingers HTTP/1.1\r\nHost: h\r\n\r\n")
        await clients[5].send(handshake("/room"))
        await anyio.sleep(1)
        text = served.server.overview()
    lines = [line for line in text.splitlines() if not line.startswith("  ")]
    assert lines[0].endswith("6 connections, 1 lingering application")
    assert sorted(lines[1:]) == [
        "192.0.2.1:1, open for 3.0 s: waiting for the first byte of a request; kept for 72.0 s",
        "192.0.2.1:2, open for 3.0 s: waiting for the rest of a request head; head deadline in 9.0 s",
        "192.0.2.1:3, open for 3.0 s: GET /slow, no answer yet",
        "192.0.2.1:4, open for 3.0 s: GET /begun, being answered",
        "192.0.2.1:5, open for 3.0 s: waiting for the first byte of a request; kept for 74.0 s",
        "192.0.2.1:6, open for 3.0 s: WebSocket /room, messages go both ways; ping deadline in 19.0 s",
        "lingering: GET /lingers",
    ]
    assert text.count("in sleep_here") == 4


async def test_nothing_going_on_is_one_line() -> None:
    async with serving(app, lifespan="off") as served:
        assert served.server.overview().endswith(": 0 connections, 0 lingering applications")
        assert served.server.overview().startswith("serving on ")


async def test_a_path_cannot_write_lines_of_its_own() -> None:
    async with serving(app, lifespan="off", access_log=False) as served:
        client = served.connect()
        await client.send(b"GET /a%0a%1b HTTP/1.1\r\nHost: h\r\n\r\n")
        await anyio.sleep(1)
        assert re.search(r"GET /a%0a%1b, no answer yet", served.server.overview())
