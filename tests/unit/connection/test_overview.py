"""`Server.overview()`: the connections and what they do, as text for people. `server/test_overview.py` has the rest."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint

from asgiserve.connection import overview
from asgiserve.connection.overview import lasting
from tests.support.serving import serving
from tests.support.websocket import WebSocketClient, handshake

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

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


def told_of_connections(text: str) -> list[str]:
    """The lines behind those of the server, without stacks."""
    lines = [line for line in text.splitlines() if not line.startswith("  ")]
    return lines[3:]


async def test_each_connection_says_what_it_waits_for_and_how_long(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")  # an access line tells how long a request took: so it is known how long one takes
    async with serving(app, lifespan="off") as served:
        clients = [served.connect(remote_address=("192.0.2.1", port)) for port in range(1, 7)]
        await anyio.sleep(2)
        await clients[1].send(b"GET / HT")
        await clients[2].send(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
        await anyio.sleep(0.5)
        await clients[3].send(b"GET /begun HTTP/1.1\r\nHost: h\r\n\r\n")
        await clients[4].send(b"GET /lingers HTTP/1.1\r\nHost: h\r\n\r\n")
        await clients[5].send(handshake("/room"))
        await anyio.sleep(0.5)
        text = served.server.overview()
    head, *lines = told_of_connections(text)
    assert head == "6 connections, 3 of them with a request or a WebSocket; 1 lingering application"
    # What has taken longest comes first, and WebSockets behind requests.
    assert lines[:3] == [
        "192.0.2.1:3, open for 3.0 s: GET /slow, no answer yet for 1.0 s",
        "192.0.2.1:4, open for 3.0 s: GET /begun, being answered for 0.5 s",
        "192.0.2.1:6, open for 3.0 s: WebSocket /room, messages go both ways; ping deadline in 19.5 s",
    ]
    assert sorted(lines[3:]) == [
        "192.0.2.1:1, open for 3.0 s: waiting for the first byte of a request; kept for 72.0 s",
        "192.0.2.1:2, open for 3.0 s: waiting for the rest of a request head; head deadline in 9.0 s",
        "192.0.2.1:5, open for 3.0 s: waiting for the first byte of a request; kept for 74.5 s",
        "lingering: GET /lingers, begun 0.5 s ago",
    ]


async def test_each_application_has_its_stack_and_those_at_one_place_have_one() -> None:
    async with serving(app, lifespan="off", access_log=False) as served:
        for target in ("/1", "/2", "/lingers"):
            await served.connect().send(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        await served.connect().send(handshake("/room"))
        await anyio.sleep(1)
        text = served.server.overview()
    assert text.count("in sleep_here") == 2  # the WebSocket calls it from another line
    first = re.search(r"GET (/\d), no answer yet\n  File", text)
    assert first is not None
    assert text.count(f"\n  at the same place as GET {first[1]}, above") == 2


async def test_messages_that_wait_for_an_application_are_told() -> None:
    async with serving(app, lifespan="off", ws_max_queue=2) as served:
        client = WebSocketClient(served.listener.connect())
        await client.open("/room")
        await client.text("1")
        await anyio.sleep(1)
        assert "messages go both ways; 1 message not received by the application;" in served.server.overview()
        for text in ("2", "3", "4"):
            await client.text(text)
        await anyio.sleep(1)
        waiting = "2 messages not received by the application, and reading has stopped"
        assert f"messages go both ways; {waiting}" in served.server.overview()


async def test_thousands_of_idle_connections_do_not_hide_the_rest() -> None:
    async with serving(app, lifespan="off") as served:
        clients = [served.connect() for _ in range(1000)]
        await anyio.sleep(1)
        for client in clients[:300]:
            await client.send(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
        await anyio.sleep(1)
        lines = told_of_connections(served.server.overview())
    assert lines[0] == "1000 connections, 300 of them with a request or a WebSocket; 0 lingering applications"
    assert lines[201] == "and 100 more connections"
    assert lines[-1] == "and 680 more idle connections"
    assert len(lines) == 1 + 201 + 21


async def test_requests_in_flight_are_told_with_their_limit() -> None:
    async with serving(app, lifespan="off", limit_concurrency=2, limit_connections=3) as served:
        await served.connect().send(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
        await anyio.sleep(1)
        lines = told_of_connections(served.server.overview())
    assert lines[0].startswith("1 of 3 connections, ")
    assert lines[1] == "1 of 2 in flight (limit_concurrency: more are answered 503)"


async def test_nothing_going_on_is_one_line() -> None:
    async with serving(app, lifespan="off") as served:
        assert told_of_connections(served.server.overview()) == [
            "0 connections, 0 of them with a request or a WebSocket; 0 lingering applications"
        ]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_it_is_made_in_another_thread_whatever_ends_meanwhile(backend: str) -> None:
    """At each line of it in turn, the requests and what lingers end."""
    going_on, ended = 0, anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal going_on
        if scope["path"] == "/lingers":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body"})
        going_on += 1
        await ended.wait()
        going_on -= 1

    async def end() -> None:
        ended.set()
        for _ in range(20):
            await checkpoint()

    async def play() -> int:
        nonlocal ended
        async with serving(app, lifespan="off", access_log=False) as served:
            for moment in range(1, 1000):
                ended = anyio.Event()
                clients = [served.connect() for _ in range(4)]
                for client, target in zip(clients, ("/1", "/2", "/lingers", "/lingers"), strict=True):
                    await client.send(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
                while going_on < 4:
                    await checkpoint()
                await anyio.to_thread.run_sync(traced, served.server.overview, moment, end)
                if not ended.is_set():
                    await end()
                    return moment
                for client in clients:
                    client.stream.abort()
        raise AssertionError("it has no end")

    assert anyio.run(play, backend=backend) > 50


def traced(made: Callable[[], str], moment: int, act: Callable[[], Any]) -> None:
    """Make it, and let something happen in the event loop at one of its lines."""
    count = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count
        if frame.f_code.co_filename != overview.__file__:
            return None
        count += event == "line"
        if event == "line" and count == moment:
            anyio.from_thread.run(act)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        made()
    finally:
        sys.settrace(before)


async def test_a_path_cannot_write_lines_of_its_own() -> None:
    async with serving(app, lifespan="off", access_log=False) as served:
        client = served.connect()
        await client.send(b"GET /a%0a%1b HTTP/1.1\r\nHost: h\r\n\r\n")
        await anyio.sleep(1)
        assert re.search(r"GET /a%0a%1b, no answer yet", served.server.overview())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0 s"),
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (60, "1 min"),
        (725, "12 min 5 s"),
        (3 * 3600 + 12 * 60 + 59, "3 h 12 min"),
        (86_400 * 2 + 3600 * 3, "2 d 3 h"),
        (86_400 + 5, "1 d 5 s"),
    ],
)
def test_a_duration_is_told_as_people_say_it(seconds: float, text: str) -> None:
    assert lasting(seconds) == text
