"""`send()` of an HTTP/1 exchange: when bytes go out, which, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asgiserve.errors import LocalProtocolError
from tests.unit.connection.applications import (
    access_lines,
    body,
    errors_in,
    get,
    reply,
    serving_http,
    start,
)

if TYPE_CHECKING:
    from asgiserve.types import Message, Receive, Scope, Send

pytestmark = pytest.mark.anyio

HELLO = b"hello, world"


# --- when bytes go out ---


async def test_a_response_of_known_length_is_one_write() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, HELLO)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        wire = await client.read()
    assert wire.startswith(b"HTTP/1.1 200 OK\r\n")
    assert wire.endswith(b"\r\n\r\n" + HELLO)


async def test_a_response_of_unknown_length_shows_its_head_at_once() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, headers=[(b"content-type", b"text/event-stream")])
        await anyio.sleep(10)
        await body(send, b"event", more=True)
        await anyio.sleep(10)
        await body(send)

    async with serving_http(app) as served:
        client = served.connect()
        began = anyio.current_time()
        await client.send(get())
        head = await client.read()
        assert anyio.current_time() == began
        assert head.endswith(b"\r\n\r\n")
        assert b"transfer-encoding: chunked\r\n" in head
        assert await client.read() == b"5\r\nevent\r\n"
        assert anyio.current_time() - began == pytest.approx(10)
        assert await client.read() == b"0\r\n\r\n"


async def test_a_held_head_goes_out_after_a_tick_when_the_application_suspends() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=5)
        await anyio.sleep(10)
        await body(send, b"later")

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        began = anyio.current_time()
        assert (await client.read()).endswith(b"\r\n\r\n")
        assert 0.2 <= anyio.current_time() - began <= 0.5
        assert await client.read() == b"later"


async def test_a_held_head_goes_out_although_the_application_suspends_again_and_again() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=5)
        for _ in range(100):
            await anyio.sleep(0.1)
        await body(send, b"later")

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        began = anyio.current_time()
        assert (await client.read()).endswith(b"\r\n\r\n")
        assert anyio.current_time() - began <= 0.5


async def test_a_held_head_goes_out_also_when_a_child_task_has_started_the_response() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def respond() -> None:
            await anyio.sleep(1)
            await start(send, length=5)
            await anyio.sleep(10)
            await body(send, b"later")

        async with anyio.create_task_group() as group:
            group.start_soon(respond)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        began = anyio.current_time()
        assert (await client.read()).endswith(b"\r\n\r\n")
        assert 1.2 <= anyio.current_time() - began <= 1.5
        assert await client.read() == b"later"


async def test_a_head_whose_body_follows_within_a_tick_is_not_split_off() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=len(HELLO))
        await anyio.sleep(0.1)
        await body(send, HELLO)

    async with serving_http(app) as served:
        client = served.connect()
        for _ in range(3):
            await client.send(get())
            assert (await client.read()).endswith(b"\r\n\r\n" + HELLO)
            await anyio.sleep(0.2)


async def test_an_application_that_only_sends_lets_others_run() -> None:
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        if scope["path"] != "/endless":
            await reply(send)
            return
        await start(send)
        while True:
            await body(send, b"x", more=True)
            sent += 1

    async with serving_http(app) as served:
        endless, other = served.connect(capacity=1 << 20), served.connect()
        await endless.send(get("/endless"))
        assert (await other.get("/")).status == 200
    assert sent < 100


async def test_a_peer_that_does_not_read_stops_the_application() -> None:
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await start(send)
        while True:
            await body(send, b"x" * 1000, more=True)
            sent += 1000

    async with serving_http(app, timeout_write=None) as served:
        client = served.connect(capacity=65_536)
        await client.send(get())
        await anyio.sleep(1000)
        assert 60_000 <= sent <= 131_072


# --- bodies ---


@pytest.mark.parametrize("length", [None, 1_000_003])
async def test_a_large_body_arrives_exactly(length: int | None) -> None:
    data = (bytes(range(251)) * 4000)[:1_000_003]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=length)
        await body(send, data[:400_000], more=True)
        await body(send, data[400_000:])

    async with serving_http(app) as served:
        assert (await served.connect().get()).body == data


async def test_a_large_body_in_one_message_arrives_exactly() -> None:
    data = bytes(range(251)) * 4000

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, data)

    async with serving_http(app) as served:
        client = served.connect()
        for _ in range(2):
            assert (await client.get()).body == data


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_a_body_may_be_any_kind_of_bytes(kind: Any) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=len(HELLO))
        await body(send, kind(HELLO))

    async with serving_http(app) as served:
        assert (await served.connect().get()).body == HELLO


async def test_a_response_to_head_has_fields_and_no_body() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=12)
        await body(send, b"hello, ", more=True)
        await body(send, b"world")

    async with serving_http(app) as served:
        client = served.connect()
        for _ in range(2):
            await client.send(b"HEAD / HTTP/1.1\r\nHost: test\r\n\r\n")
            response = await client.response("HEAD")
            assert (response.status, response.body, response.headers["content-length"]) == (200, b"", "12")


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_body_has_none_whatever_is_sent(status: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=5, status=status)
        await body(send, b"hello")

    async with serving_http(app) as served:
        client = served.connect()
        for _ in range(2):
            await client.send(get())
            wire = await client.read()
            assert wire.startswith(b"HTTP/1.1 %d " % status)
            assert wire.endswith(b"\r\n\r\n")
            assert b"transfer-encoding" not in wire
            assert (b"content-length" in wire) == (status == 304)


async def test_what_is_sent_after_the_last_body_is_ignored() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, HELLO)
        await body(send, b"more")
        await start(send, status=500)
        await send({"type": "http.response.trailers", "headers": []})

    async with serving_http(app) as served:
        client = served.connect()
        for _ in range(2):
            response = await client.get()
            assert (response.status, response.body) == (200, HELLO)


async def test_two_tasks_that_send_at_once_do_not_mix_their_bytes() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        async with anyio.create_task_group() as group:
            for letter in b"abc":
                group.start_soon(body_of, send, bytes([letter]) * 100_000)
        await body(send)

    async def body_of(send: Send, data: bytes) -> None:
        await body(send, data, more=True)

    async with serving_http(app) as served:
        data = (await served.connect().get()).body
    parts = [data[:100_000], data[100_000:200_000], data[200_000:]]
    assert sorted(parts) == [b"a" * 100_000, b"b" * 100_000, b"c" * 100_000]


# --- fields ---


async def test_fields_of_the_connection_are_the_servers_own() -> None:
    fields = [
        (b"connection", b"keep-alive, x"),
        (b"keep-alive", b"timeout=5"),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"h2c"),
        (b"x-own", b"kept"),
    ]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, HELLO, headers=fields)

    async with serving_http(app) as served:
        client = served.connect()
        response = await client.get()
        assert response.body == HELLO
        assert response.headers["x-own"] == "kept"
        assert not response.headers.keys() & {"connection", "keep-alive", "transfer-encoding", "upgrade"}
        assert (await client.get()).body == HELLO


async def test_date_and_server_are_added_unless_the_application_has_its_own() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        own = [(b"Date", b"yesterday"), (b"Server", b"mine")] if scope["path"] == "/own" else []
        await reply(send, headers=own)

    async with serving_http(app) as served:
        client = served.connect()
        added = await client.get("/")
        assert added.headers["server"] == "asgiserve"
        assert added.headers["date"].endswith(" GMT")
        own = await client.get("/own")
    names = [name.lower() for name, _ in own.fields]
    assert (own.headers["date"], own.headers["server"]) == ("yesterday", "mine")
    assert names.count(b"date") == names.count(b"server") == 1


@pytest.mark.parametrize(
    "field", [(b"x-a", b"b\r\nSet-Cookie: evil=1"), (b"x-a: b\r\nevil", b"1"), (b"x-a", b"b\x00")]
)
async def test_a_field_that_would_split_the_response_is_a_500_and_never_on_the_wire(
    field: tuple[bytes, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, HELLO, headers=[field, (b"x-fine", b"1")])

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        wire = await client.read_all()
    assert wire.startswith(b"HTTP/1.1 500 ")
    assert b"evil" not in wire
    assert b"x-fine" not in wire
    assert len(errors_in(caplog)) == 1


@pytest.mark.parametrize("fault", [{"status": 99}, {"status": 1000}, {"headers": [(b"content-length", b"-1")]}])
async def test_after_a_refused_start_an_error_middleware_may_start_another(fault: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with pytest.raises(LocalProtocolError):
            await send({"type": "http.response.start", "status": 200, **fault})
        await reply(send, b"sorry", status=500)

    async with serving_http(app) as served:
        client = served.connect()
        for _ in range(2):
            response = await client.get()
            assert (response.status, response.body) == (500, b"sorry")


# --- broken lengths ---


async def test_a_first_body_that_does_not_fit_its_length_is_a_clean_500(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=3)
        await body(send, HELLO if scope["path"] == "/long" else b"")

    async with serving_http(app) as served:
        for target in ("/long", "/short"):
            client = served.connect()
            response = await client.get(target)
            assert (response.status, response.headers["connection"]) == (500, "close")
            assert HELLO not in response.body
            assert await client.is_closed()
    assert len(errors_in(caplog)) == 2


async def test_an_application_that_swallows_its_broken_length_still_gives_a_clean_500(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=3)
        with pytest.raises(LocalProtocolError, match="longer than its Content-Length"):
            await body(send, HELLO)
        await anyio.sleep(5)

    async with serving_http(app) as served:
        client = served.connect()
        assert (await client.get()).status == 500
    assert not any("Unexpected error" in line for line in errors_in(caplog))


@pytest.mark.parametrize("second", [b"", HELLO])
async def test_a_later_body_that_does_not_fit_its_length_cuts_the_response(second: bytes) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=10)
        await body(send, b"hello", more=True)
        await body(send, second)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        wire = await client.read_all()
    assert b"content-length: 10\r\n" in wire
    assert wire.endswith(b"\r\n\r\nhello")


# --- early hints and trailers ---


async def test_early_hints_go_out_before_the_response() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload", b"</b.js>; rel=preload"]})
        await anyio.sleep(1)
        await start(send, length=12)
        await send({"type": "http.response.early_hint", "links": [b"</c.js>; rel=preload"]})
        await body(send, HELLO)

    async with serving_http(app) as served:
        response = await served.connect().get()
    assert [hint.status_code for hint in response.informational] == [103, 103]
    assert list(response.informational[0].headers) == [
        (b"link", b"</a.css>; rel=preload"),
        (b"link", b"</b.js>; rel=preload"),
    ]
    assert response.body == HELLO


async def test_early_hints_behind_the_head_are_not_sent() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]})
        await body(send, HELLO)

    async with serving_http(app) as served:
        response = await served.connect().get()
    assert (response.body, response.informational) == (HELLO, [])


async def with_trailers(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
    await body(send, HELLO)
    await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")], "more_trailers": True})
    await send({"type": "http.response.trailers", "headers": [(b"x-count", b"2")]})


@pytest.mark.parametrize(
    ("te", "expected"),
    [
        ("TE: trailers", [(b"x-sum", b"1"), (b"x-count", b"2")]),
        ("TE: gzip;q=0.5, Trailers", [(b"x-sum", b"1"), (b"x-count", b"2")]),
        ("TE: x-trailers", []),
        ("A: b", []),
    ],
)
async def test_trailers_are_sent_to_whom_takes_them(te: str, expected: list[tuple[bytes, bytes]]) -> None:
    async with serving_http(with_trailers) as served:
        client = served.connect()
        for _ in range(2):
            response = await client.get(headers=f"{te}\r\nConnection: TE\r\n" if te.startswith("TE") else "")
            assert (response.body, response.trailers) == (HELLO, expected)


async def test_trailers_have_no_place_behind_a_body_of_known_length() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        fields = [(b"content-length", b"12")]
        await send({"type": "http.response.start", "status": 200, "headers": fields, "trailers": True})
        await body(send, HELLO)
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]})

    async with serving_http(app) as served:
        client = served.connect()
        for _ in range(2):
            response = await client.get(headers="TE: trailers\r\n")
            assert (response.body, response.trailers) == (HELLO, [])


@pytest.mark.parametrize("sends_them", [True, False])
async def test_http_10_is_offered_no_trailers_and_does_not_wait_for_them(
    sends_them: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["extensions"] == {}
        if sends_them:
            await with_trailers(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
        await body(send, HELLO)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(b"GET / HTTP/1.0\r\nTE: trailers\r\n\r\n")
        wire = await client.read_all()
    assert wire.endswith(b"\r\n\r\n" + HELLO)
    assert errors_in(caplog) == []


async def test_trailers_announced_and_never_sent_cut_the_response(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
        await body(send, HELLO)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        assert not (await client.read_all()).endswith(b"0\r\n\r\n")
    assert errors_in(caplog) == ["ASGI application returned without completing its response (GET /)"]


# --- what is refused ---


@pytest.mark.parametrize(
    ("before", "message", "texts"),
    [
        ([], {"type": "http.response.body"}, ["'http.response.body'", "no response has been started"]),
        ([], {"type": "http.disconnect"}, ["'http.disconnect'", "'http.response.start'"]),
        ([], {}, ["a dict with a \"type\""]),
        ([], None, ["a dict with a \"type\""]),
        ([], {"type": "http.response.start"}, ["'http.response.start'", "'status'", "missing"]),
        ([], {"type": "http.response.start", "status": "200"}, ["'status'", "an int", "str"]),
        (
            [],
            {"type": "http.response.start", "status": 200, "headers": [("a", "b")]},
            ["'headers'", "pairs of bytes"],
        ),
        (
            [{"type": "http.response.start", "status": 200}],
            {"type": "http.response.start", "status": 200},
            ["'http.response.start'", "has been started", "'http.response.body'"],
        ),
        (
            [{"type": "http.response.start", "status": 200}],
            {"type": "http.response.body", "body": "text"},
            ["'http.response.body'", "'body'", "str"],
        ),
        (
            [{"type": "http.response.start", "status": 200}],
            {"type": "http.response.trailers"},
            ["'http.response.trailers'", "has been started"],
        ),
    ],
)
async def test_a_message_that_does_not_fit_is_refused_by_name_and_state(
    before: list[Message], message: Any, texts: list[str]
) -> None:
    refusals = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for one in before:
            await send(one)
        with pytest.raises(LocalProtocolError) as refused:
            await send(message)
        refusals.append(str(refused.value))
        if not before:
            await start(send)
        await body(send, HELLO)

    async with serving_http(app) as served:
        client = served.connect()
        for _ in range(2):
            assert (await client.get()).body == HELLO
    assert len(refusals) == 2
    assert all(text in refusals[0] for text in texts), refusals[0]


async def test_additional_keys_are_ignored() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "x-more": object()})
        await send({"type": "http.response.body", "body": HELLO, "x-more": object()})

    async with serving_http(app) as served:
        assert (await served.connect().get()).body == HELLO


# --- cancelled sends ---


@pytest.mark.parametrize("length", [None, 300_000])
async def test_a_send_that_was_cancelled_in_the_queue_cuts_the_response(length: int | None) -> None:
    """Its bytes are lost: whatever came behind them would be read as if they had never been there."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=length)
        async with anyio.create_task_group() as group:
            group.start_soon(part, send, b"a" * 100_000, 1000)
            await anyio.sleep(1)
            group.start_soon(part, send, b"b" * 100_000, 1)
            await anyio.sleep(5)
        await body(send, b"c" * 100_000)

    async def part(send: Send, data: bytes, patience: float) -> None:
        with anyio.move_on_after(patience):
            await body(send, data, more=True)

    async with serving_http(app) as served:
        client = served.connect(capacity=1000)
        await client.send(get() + get("/next"))
        await anyio.sleep(10)
        wire = b""
        try:
            while True:
                wire += await client.read()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            pass
    assert b"c" not in wire.partition(b"\r\n\r\n")[2]
    assert wire.count(b"HTTP/1.1") == 1
    assert not wire.endswith(b"0\r\n\r\n")


async def test_a_head_is_never_overtaken_by_its_body() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=5)
        async with anyio.create_task_group() as group:
            group.start_soon(hint, send)
            await anyio.sleep(5)
            group.start_soon(body, send, b"hello")

    async def hint(send: Send) -> None:
        await send({"type": "http.response.early_hint", "links": [b"a" * 3000]})

    async with serving_http(app) as served:
        client = served.connect(capacity=1000)
        await client.send(get())
        await anyio.sleep(10)
        response = await client.response()
    assert (response.status, response.body, len(response.informational)) == (200, b"hello", 1)


async def test_the_access_line_tells_what_was_sent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(2)
        await start(send, status=201)
        await body(send, b"one", more=True)
        await body(send, b"three")

    async with serving_http(app) as served:
        client = served.connect()
        await client.get("/a%20b?c=d")
        await anyio.sleep(1)
        ((address, method, target, version, status, size, milliseconds),) = access_lines(caplog)
    assert (address, method, target, version) == ("127.0.0.1:50000", "GET", "/a%20b?c=d", "1.1")
    assert (status, size) == (201, 8)
    assert milliseconds == pytest.approx(2000)
