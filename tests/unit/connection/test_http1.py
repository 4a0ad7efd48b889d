"""The driver of an HTTP/1 connection: the order of requests, refusals, HTTP/1.0, the scope and closing."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.support.websocket import handshake
from tests.unit.connection.applications import (
    GET,
    body,
    chunked,
    echo,
    errors_in,
    get,
    path,
    post,
    read_body,
    read_for_ever,
    reply,
    serving_http,
    start,
)

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio


# --- one request after the other ---


async def test_requests_on_one_connection_are_answered_in_order() -> None:
    async with serving_http(path) as served:
        client = served.connect()
        for number in range(3):
            response = await client.get(f"/{number}")
            assert (response.status, response.body) == (200, b"/%d" % number)


async def test_fifty_pipelined_requests_are_answered_in_order_whatever_each_takes() -> None:
    running = most = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep((int(scope["path"][1:]) * 7) % 5)
        running -= 1
        await path(scope, receive, send)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(b"".join(get(f"/{number}") for number in range(50)))
        bodies = [(await client.response()).body for _ in range(50)]
    assert bodies == [b"/%d" % number for number in range(50)]
    assert most == 1


async def test_pipelined_bodies_go_to_their_own_requests() -> None:
    async with serving_http(echo) as served:
        client = served.connect()
        await client.send(post(b"one") + chunked(b"two", b"three") + GET + post(b"four"))
        bodies = [(await client.response()).body for _ in range(4)]
    assert bodies == [b"one", b"twothree", b"", b"four"]


async def test_a_request_that_arrives_byte_by_byte_is_one_request() -> None:
    async with serving_http(echo) as served:
        client = served.connect()
        for byte in post(b"hello") + GET:
            await client.send(bytes([byte]))
            await anyio.sleep(0.01)
        assert (await client.response()).body == b"hello"
        assert (await client.response()).body == b""


async def test_a_pipelined_flood_lets_other_connections_run() -> None:
    served_before_other = []
    other_done = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/other":
            other_done.set()
        elif not other_done.is_set():
            served_before_other.append(1)
        await reply(send)

    async with serving_http(app) as served:
        flood, other = served.connect(capacity=1 << 20), served.connect()
        await flood.send(get() * 1000)
        await other.send(get("/other"))
        assert (await other.response()).status == 200
    assert len(served_before_other) < 100


# --- bad requests ---


async def test_what_comes_before_a_bad_request_is_answered_and_what_comes_after_is_not_seen() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["path"])
        await anyio.sleep(1)
        await reply(send, b"good")

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get("/good") + b"BAD\r\n\r\n" + get("/after"))
        assert (await client.response()).body == b"good"
        refusal = await client.response()
        assert (refusal.status, refusal.headers["connection"]) == (400, "close")
        await client.send(get("/late"))
        assert await client.is_closed()
    assert seen == ["/good"]


REFUSALS = [
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (get("/", "A : b"), 400),
    (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    (get("/", "Expect: the-unexpected"), 417),
    (get("/", "A: " + "b" * 70_000), 431),
    (get("/", *[f"A{number}: b" for number in range(200)]), 431),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
    (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
]


@pytest.mark.parametrize(("wire", "status"), REFUSALS)
async def test_a_refusal_is_an_answer_with_a_text_and_the_end_of_the_connection(wire: bytes, status: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("a refused request must not reach the application")

    async with serving_http(app) as served:
        client = served.connect(capacity=1 << 20)
        await client.send(wire)
        response = await client.response()
        assert response.status == status
        assert response.headers["connection"] == "close"
        assert response.headers["content-type"].startswith("text/plain")
        assert response.body
        assert await client.is_closed()


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (b"HEAD / HTTP/1.1\r\n\r\n", 400),
        (b"\r\nHEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        (b"HEAD / HTTP/2.0\r\n", 505),
        (b"HEAD / HTTP/1.1\r\nHo", 408),
    ],
)
async def test_a_refused_head_request_is_answered_without_content(wire: bytes, status: int) -> None:
    async with serving_http(path) as served:
        client = served.connect()
        await client.send(get("/") + wire)
        assert (await client.response()).body == b"/"
        refusal = await client.response("HEAD")
        assert (refusal.status, refusal.body) == (status, b"")
        assert int(refusal.headers["content-length"]) > 0
        assert await client.is_closed()


async def test_a_body_that_breaks_a_rule_is_refused_while_the_application_reads() -> None:
    messages = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        messages.append(await receive())
        messages.append(await receive())
        await reply(send, b"ignored")

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(chunked(b"fine", end=False))
        await anyio.sleep(1)
        await client.send(b"zz\r\n")
        assert (await client.response()).status == 400
        assert await client.is_closed()
    assert [message["type"] for message in messages] == ["http.request", "http.disconnect"]


@pytest.mark.parametrize("wire", [post(b"0123456789"), chunked(b"01234", b"56789")])
async def test_a_body_above_the_limit_is_refused(wire: bytes) -> None:
    async with serving_http(echo, limit_request_body=9) as served:
        client = served.connect()
        await client.send(wire)
        response = await client.response()
        assert (response.status, response.headers["connection"]) == (413, "close")
        assert await client.is_closed()


async def test_a_refusal_to_a_peer_that_never_reads_does_not_hold_the_connection() -> None:
    async with serving_http(path, limit_connections=1) as served:
        client = served.connect(capacity=10)
        await client.send(b"BAD\r\n")
        await client.send(b"\r\n")
        await anyio.sleep(60)
        other = served.connect()
        assert (await other.get()).status == 200


# --- HTTP/1.0 ---


async def test_http_10_is_answered_and_closed() -> None:
    async with serving_http(path) as served:
        client = served.connect()
        await client.send(b"GET /old HTTP/1.0\r\n\r\n")
        wire = await client.read_all()
    assert wire.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close\r\n" in wire
    assert wire.endswith(b"\r\n\r\n/old")


async def test_http_10_may_ask_for_keep_alive() -> None:
    async with serving_http(path) as served:
        client = served.connect()
        for _ in range(2):
            await client.send(b"GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            response = await client.response()
            assert (response.body, response.headers["connection"]) == (b"/old", "keep-alive")


async def test_http_10_never_gets_chunks_and_its_body_ends_with_the_connection() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await body(send, b"one", more=True)
        await body(send, b"two")

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        wire = await client.read_all()
    head, _, data = wire.partition(b"\r\n\r\n")
    assert data == b"onetwo"
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head


async def test_http_10_never_gets_an_informational_response() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.early_hint", "links": [b"</a>; rel=preload"]})
        await reply(send, await read_body(receive))

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(b"POST / HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi")
        wire = await client.read_all()
    assert wire.startswith(b"HTTP/1.1 200 OK\r\n")
    assert wire.count(b"HTTP/1.1") == 1
    assert wire.endswith(b"hi")


# --- the scope ---


@pytest.mark.parametrize("target", [b"/\xc3\xa9?x=\xff", b"/%00%0a", b"/a?b?c#d"])
async def test_an_odd_target_is_served_or_refused_and_logged(target: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with serving_http(echo) as served:
        client = served.connect()
        await client.send(b"GET %b HTTP/1.1\r\nHost: test\r\n\r\n" % target)
        assert (await client.response()).status in (200, 400)
    assert errors_in(caplog) == []


async def test_a_scope_tells_the_request_as_it_was_received() -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await reply(send)

    async with serving_http(app, root_path="/api") as served:
        client = served.connect(local_address=("10.0.0.1", 8000), remote_address=("10.0.0.2", 4000))
        await client.send(
            b"get http://other.example/a%20b/%C3%A9?x=%20&y HTTP/1.1\r\nHost: mine\r\nX-A: 1\r\nX-A: 2\r\n\r\n"
        )
        await client.response()
    (scope,) = scopes
    state, extensions = scope.pop("state"), scope.pop("extensions")
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/api/a b/é",
        "raw_path": b"/a%20b/%C3%A9",
        "query_string": b"x=%20&y",
        "root_path": "/api",
        "headers": [(b"host", b"other.example"), (b"x-a", b"1"), (b"x-a", b"2")],
        "client": ("10.0.0.2", 4000),
        "server": ("10.0.0.1", 8000),
    }
    assert state == {}
    assert sorted(extensions) == ["http.response.early_hint", "http.response.trailers"]


# --- the end of a connection ---


async def test_nothing_is_served_after_a_request_that_asked_for_the_close() -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["path"])
        await reply(send, b"bye")

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get("/last", "Connection: close") + get("/more"))
        response = await client.response()
        assert (response.body, response.headers["connection"]) == (b"bye", "close")
        assert await client.is_closed()
    assert seen == ["/last"]


async def test_an_application_may_ask_for_the_close() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"bye", headers=[(b"connection", b"close")])

    async with serving_http(app) as served:
        client = served.connect()
        response = await client.get()
        assert (response.body, response.headers["connection"]) == (b"bye", "close")
        assert await client.is_closed()


@pytest.mark.parametrize("behind", [get("/behind"), b"\r\n"], ids=["request", "empty line"])
@pytest.mark.parametrize("line", ["", "Connection: close"], ids=["server", "client"])
async def test_what_comes_behind_the_last_answered_request_does_not_take_the_answer_away(
    behind: bytes, line: str
) -> None:
    data = b"x" * 10_000

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(1)
        await reply(send, data, headers=[] if line else [(b"connection", b"close")])

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get("/last", *[line] * bool(line)))
        await anyio.sleep(0.5)
        await client.send(behind)
        assert (await client.response()).body == data
        assert await client.is_closed()


async def test_a_connection_whose_handshake_waits_for_a_response_to_be_read_ends_with_the_server() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, bytes(1500))

    async with serving_http(app) as served:
        client = served.connect(capacity=2000)
        await client.send(get("/1") + get("/2") + handshake())
        await anyio.sleep(0.5)
    with pytest.raises(anyio.BrokenResourceError):
        await read_for_ever(client)
    assert "0 connections" in served.server.overview()


async def test_nothing_of_an_exchange_is_alive_while_its_connection_idles() -> None:
    class Local:
        pass

    alive: weakref.WeakSet[Local] = weakref.WeakSet()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        local = scope["local"] = Local()
        alive.add(local)
        await anyio.lowlevel.checkpoint()  # not a sleep: trio's own leaves a cycle behind on Python 3.12.1
        await echo(scope, receive, send)

    async with serving_http(app) as served:
        client = served.connect()
        await client.get()
        assert len(alive) == 0
        await client.send(post(b"first") + get())
        for _ in range(2):
            await client.response()
        await anyio.lowlevel.checkpoint()
        assert len(alive) == 0
