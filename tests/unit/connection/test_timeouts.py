"""Every wait for a peer ends, at the time that its setting says and in a way that fits what was going on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from asgiserve.connection.head_wait import HeadWait
from asgiserve.testing import Faults, MemoryStream
from tests.support.websocket import handshake
from tests.unit.connection.applications import (
    access_lines,
    body,
    echo,
    errors_in,
    get,
    path,
    post,
    read_for_ever,
    reply,
    serving_http,
    start,
)

if TYPE_CHECKING:
    from asgiserve.connection.deadlines import Reason
    from asgiserve.types import Message, Receive, Scope, Send
    from tests.support.serving import Client

pytestmark = pytest.mark.anyio

TICK = 0.25


async def seconds_until_closed(client: Client) -> float:
    """How long the server leaves the connection open, without a byte from it."""
    began = anyio.current_time()
    assert await client.read_all() == b""
    return anyio.current_time() - began


def within_a_tick(seconds: float) -> object:
    return pytest.approx(seconds + TICK / 2, abs=TICK / 2 + 1e-6)


# --- waiting for a request ---


async def test_a_connection_that_never_sends_is_closed_silently_at_the_keep_alive_timeout() -> None:
    async with serving_http(path) as served:
        assert await seconds_until_closed(served.connect()) == within_a_tick(75)


async def test_an_idle_connection_is_closed_silently_at_the_keep_alive_timeout() -> None:
    async with serving_http(path, timeout_keep_alive=20) as served:
        client = served.connect()
        for _ in range(3):
            await anyio.sleep(15)
            await client.get()
        assert await seconds_until_closed(client) == within_a_tick(20)


@pytest.mark.parametrize("pause", [0, 1, 4])
async def test_a_short_timeout_is_that_of_a_connection_that_has_had_a_request(pause: float) -> None:
    async with serving_http(path, timeout_keep_alive=2) as served:
        client = served.connect()
        for _ in range(3):
            await anyio.sleep(min(pause, 1.5))
            await client.get()
        assert await seconds_until_closed(client) == within_a_tick(2)
        late = served.connect()
        await anyio.sleep(pause)
        await late.get()
        assert await seconds_until_closed(late) == within_a_tick(2)


async def test_without_keep_alive_a_connection_has_the_time_of_a_head_for_its_one_request() -> None:
    async with serving_http(path, timeout_keep_alive=0, timeout_head=8) as served:
        assert await seconds_until_closed(served.connect()) == within_a_tick(8)
        client = served.connect()
        await anyio.sleep(7)
        response = await client.get("/one")
        assert (response.body, response.headers["connection"]) == (b"/one", "close")
        assert await client.is_closed()


async def test_an_idle_connection_is_closed_although_its_last_body_was_not_read() -> None:
    async with serving_http(path, timeout_keep_alive=20) as served:
        client = served.connect()
        for _ in range(2):
            await client.send(post(b"never asked for"))
            assert (await client.response()).status == 200
        assert await seconds_until_closed(client) == within_a_tick(20)


async def test_an_idle_connection_is_closed_although_its_last_response_was_listened_to() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(receive)
            group.start_soon(receive)
            await reply(send, b"listened to")

    async with serving_http(app, timeout_keep_alive=20) as served:
        client = served.connect()
        assert (await client.get()).body == b"listened to"
        assert await seconds_until_closed(client) == within_a_tick(20)


async def test_empty_lines_do_not_start_a_head() -> None:
    async with serving_http(path) as served:
        client = served.connect()
        await client.send(b"\r\n")
        assert await seconds_until_closed(client) == within_a_tick(75)


async def test_no_timeout_is_no_timeout() -> None:
    async with serving_http(path, timeout_keep_alive=None) as served:
        client = served.connect()
        await client.get()
        await anyio.sleep(80_000)
        assert (await client.get("/still")).body == b"/still"


async def test_a_request_in_the_very_moment_of_the_timeout_is_served_as_the_last() -> None:
    async with serving_http(path, timeout_keep_alive=20) as served:
        for _ in range(5):
            client = served.connect()
            await client.get()
            await anyio.sleep(20)
            response = await client.get("/late")
            assert (response.body, response.headers["connection"]) == (b"/late", "close")
            assert await client.is_closed()


async def test_half_a_head_in_the_very_moment_of_the_timeout_may_be_completed() -> None:
    async with serving_http(path, timeout_keep_alive=20) as served:
        client = served.connect()
        await client.get()
        await anyio.sleep(20)
        await client.send(get("/late")[:20])
        await anyio.sleep(5)
        await client.send(get("/late")[20:])
        response = await client.response()
        assert (response.body, response.headers["connection"]) == (b"/late", "close")
        assert await client.is_closed()


async def test_an_empty_line_in_the_very_moment_of_the_timeout_saves_nothing() -> None:
    async with serving_http(path, timeout_keep_alive=20) as served:
        client = served.connect()
        await client.get()
        await anyio.sleep(20)
        await client.send(b"\r\n")
        assert await seconds_until_closed(client) <= TICK


@pytest.mark.parametrize(("sent", "seconds"), [(b"", 75), (b"GET /", 10)])
async def test_a_stream_that_does_not_let_go_of_a_wait_is_cut(
    sent: bytes, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As TLS may not: its answers to what TLS itself asks come first, and a peer need not take them."""
    monkeypatch.setattr(MemoryStream, "interrupt", lambda stream: None)
    async with serving_http(path, limit_connections=1) as served:
        client = served.connect()
        began = anyio.current_time()
        await client.send(sent)
        with pytest.raises(anyio.BrokenResourceError):
            await client.stream.receive()
        assert began + seconds + 1 <= anyio.current_time() <= began + seconds + 1 + 2 * TICK
        assert (await served.connect().get("/next")).body == b"/next"


@pytest.mark.parametrize("late", [b"", get("/late")])
async def test_a_stop_in_the_very_moment_of_the_timeout_resets_nobody(
    late: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    expire = HeadWait.expire

    def expire_and_drain(wait: HeadWait, reason: Reason) -> None:
        expire(wait, reason)
        client.stream.send_nowait(late)
        wait.drain(anyio.current_time())

    monkeypatch.setattr(HeadWait, "expire", expire_and_drain)
    async with serving_http(path, timeout_keep_alive=20) as served:
        client = served.connect()
        await client.get()
        assert (await client.read_all()).endswith(b"/late" if late else b"")


# --- a head that does not end ---


async def test_a_head_has_ten_seconds_however_its_bytes_are_spread() -> None:
    async with serving_http(path) as served:
        client = served.connect()
        await anyio.sleep(30)
        began = anyio.current_time()
        async with anyio.create_task_group() as group:
            group.start_soon(drip, client, get("/", "A: " + "a" * 1000))
            response = await client.response()
            took = anyio.current_time() - began
            group.cancel_scope.cancel()
        assert took == within_a_tick(10)
        assert (response.status, response.headers["connection"]) == (408, "close")


async def drip(client: Client, data: bytes) -> None:
    """A byte a second, as long as the server takes them."""
    try:
        for byte in data:
            await client.send(bytes([byte]))
            await anyio.sleep(1)
    except anyio.BrokenResourceError:
        pass


async def test_the_second_head_of_a_connection_has_its_own_ten_seconds() -> None:
    async with serving_http(path) as served:
        client = served.connect()
        await client.send(get("/first") + b"GET /sec")
        assert (await client.response()).body == b"/first"
        began = anyio.current_time()
        assert (await client.response()).status == 408
        assert anyio.current_time() - began == within_a_tick(10)
        assert await client.is_closed()


@pytest.mark.parametrize("piece", [None, 4])
@pytest.mark.parametrize(("rest", "status"), [(b" / HTTP/1.1\r\nHost: h\r\n\r\n", 200), (b" / HT", 408)])
async def test_the_rest_of_a_head_in_the_very_moment_of_its_deadline_is_not_lost(
    rest: bytes, status: int, piece: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt = MemoryStream.interrupt

    def late(stream: MemoryStream) -> None:
        client.stream.send_nowait(rest)
        interrupt(stream)

    monkeypatch.setattr(MemoryStream, "interrupt", late)
    async with serving_http(path) as served:
        client = served.connect(to_server=Faults(piece=piece))
        await client.send(b"GET")
        response = await client.response()
        assert (response.status, response.headers["connection"]) == (status, "close")
        assert await client.is_closed()


async def test_a_peer_that_does_not_read_its_408_is_closed_all_the_same() -> None:
    async with serving_http(path, limit_connections=1) as served:
        client = served.connect(capacity=10)
        await client.send(b"GET /")
        await anyio.sleep(20)
        assert (await served.connect().get("/next")).body == b"/next"


# --- a body that does not come ---


async def test_a_body_that_stops_is_a_disconnect_for_who_waits_and_the_connection_is_cut(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    seen: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while not seen or seen[-1]["type"] == "http.request":
            seen.append(await receive())
        await reply(send, b"nobody hears it")

    async with serving_http(app) as served:
        client = served.connect()
        began = anyio.current_time()
        await client.send(post(b"one", length=100))
        await anyio.sleep(20)
        await client.send(b"two")
        with pytest.raises(anyio.BrokenResourceError):
            await client.read()
        assert anyio.current_time() - began == within_a_tick(50)
        await anyio.sleep(1)
    assert [message.get("body") for message in seen] == [b"one", b"two", None]
    assert seen[-1] == {"type": "http.disconnect"}
    assert [line[4] for line in access_lines(caplog)] == [408]
    assert errors_in(caplog) == []


async def test_a_slow_body_that_keeps_coming_is_no_stalled_one() -> None:
    async with serving_http(echo) as served:
        client = served.connect()
        await client.send(post(b"", length=5))
        for byte in b"hello":
            await anyio.sleep(29)
            await client.send(bytes([byte]))
        assert (await client.response()).body == b"hello"


async def test_nobody_is_cut_while_the_application_does_not_ask_for_the_body() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(1000)
        await echo(scope, receive, send)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(post(b"", length=5))
        await anyio.sleep(1010)
        await client.send(b"hello")
        assert (await client.response()).body == b"hello"


# --- a response that nobody takes ---


async def test_a_peer_that_never_reads_is_cut_and_the_send_returns_silently(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    seen: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        began = anyio.current_time()
        await reply(send, b"x" * 1_000_000)
        seen.extend([anyio.current_time() - began, await receive()])
        await anyio.sleep(100)
        seen.append("background task done")

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        await anyio.sleep(200)
        with pytest.raises(anyio.BrokenResourceError):
            await read_for_ever(client)
    assert seen == [within_a_tick(30), {"type": "http.disconnect"}, "background task done"]
    assert [line[4] for line in access_lines(caplog)] == [408]


async def test_a_slow_peer_that_makes_progress_is_not_cut() -> None:
    data = bytes(range(256)) * 400

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, data)

    async with serving_http(app) as served:
        client = served.connect(capacity=65_536)
        await client.send(get())
        wire = b""
        while len(wire) < len(data):
            await anyio.sleep(20)
            wire += await client.stream.receive(1000)
        assert data.startswith(wire.partition(b"\r\n\r\n")[2])


async def test_a_slow_reader_of_small_parts_is_not_cut() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for _ in range(20):
            await body(send, b"x" * 1000, more=True)
        await body(send)

    async with serving_http(app) as served:
        client = served.connect(capacity=1000)
        await client.send(get())
        wire = b""
        while not wire.endswith(b"0\r\n\r\n"):
            await anyio.sleep(20)
            wire += await client.stream.receive(1000)
        assert wire.count(b"x") == 20_000


@pytest.mark.parametrize("then", ["fails", "is a handshake"])
async def test_a_peer_that_never_reads_is_cut_whatever_comes_behind_the_response_in_its_way(then: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            await anyio.sleep_forever()
        if scope["path"] == "/fails":
            await anyio.sleep(0.1)  # what was kept leaves now, and its rest waits for the peer
            raise ValueError("mine")
        await reply(send, bytes(1500))

    last = get("/fails") if then == "fails" else handshake()
    async with serving_http(app, timeout_write=5, ws_ping_interval=None) as served:
        client = served.connect(capacity=2000)
        await client.send(get("/1") + get("/2") + last)
        await anyio.sleep(5.5)
        with pytest.raises(anyio.BrokenResourceError):
            await read_for_ever(client)


# --- the whole request ---


async def test_a_request_that_takes_too_long_is_cancelled_and_answered_504() -> None:
    seen: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await anyio.sleep(1000)
        finally:
            seen.append("cleaned up")

    async with serving_http(app, timeout_request=7) as served:
        client = served.connect()
        began = anyio.current_time()
        response = await client.get()
        assert anyio.current_time() - began == within_a_tick(7)
        assert (response.status, response.headers["connection"]) == (504, "close")
        assert await client.is_closed()
    assert seen == ["cleaned up"]


@pytest.mark.parametrize("sends", ["all", "half"])
async def test_a_request_that_takes_too_long_in_receive_is_cancelled_there_and_told_nothing_else(sends: str) -> None:
    heard: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            while True:
                heard.append((await receive())["type"])
        except anyio.get_cancelled_exc_class():
            heard.append("cancelled")
            raise

    async with serving_http(app, timeout_request=7, timeout_body=100) as served:
        client = served.connect()
        await client.send(post(b"half", length=4 if sends == "all" else 8))
        assert (await client.response()).status == 504
    assert heard == ["http.request", "cancelled"]


async def test_a_request_that_takes_too_long_behind_its_head_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        while True:
            await body(send, b"tick", more=True)
            await anyio.sleep(1)

    async with serving_http(app, timeout_request=7) as served:
        client = served.connect()
        began = anyio.current_time()
        await client.send(get())
        wire = await client.read_all()
        assert anyio.current_time() - began == within_a_tick(7)
    assert wire.startswith(b"HTTP/1.1 200 ")
    assert wire.endswith(b"tick\r\n")
    assert errors_in(caplog) == []


async def test_each_request_of_a_connection_has_its_own_time() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(5)
        await path(scope, receive, send)

    async with serving_http(app, timeout_request=7) as served:
        client = served.connect()
        await client.send(b"".join(get(f"/{number}") for number in range(4)))
        assert [(await client.response()).body for _ in range(4)] == [b"/0", b"/1", b"/2", b"/3"]


async def test_a_background_task_is_not_counted_as_the_request() -> None:
    finished = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"done")
        await anyio.sleep(100)
        finished.append(scope["path"])

    async with serving_http(app, timeout_request=7) as served:
        client = served.connect()
        assert (await client.get("/one")).body == b"done"
        assert (await client.get("/two")).body == b"done"
        await anyio.sleep(200)
        assert sorted(finished) == ["/one", "/two"]


async def test_a_timeout_does_not_touch_an_application_that_needs_no_peer() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await anyio.sleep(10_000)
        await reply(send, b"at last")

    async with serving_http(app) as served:
        began = anyio.current_time()
        client = served.connect()
        await client.send(get())
        with anyio.fail_after(20_000):
            assert b"at last" in await client.stream.receive()
        assert anyio.current_time() - began == pytest.approx(10_000)
