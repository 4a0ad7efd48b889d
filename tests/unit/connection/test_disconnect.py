"""Peers that leave: by FIN or reset, before, during and after what they asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from tests.unit.connection.applications import (
    access_lines,
    body,
    chunked,
    errors_in,
    get,
    path,
    post,
    reply,
    serving_http,
    start,
)

if TYPE_CHECKING:
    from asgiserve.types import Message, Receive, Scope, Send

pytestmark = pytest.mark.anyio

DISCONNECT = {"type": "http.disconnect"}
NOT_QUITE = [post(b"half", length=100), chunked(b"half", end=False)]


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")


def statuses(caplog: pytest.LogCaptureFixture) -> list[int]:
    return [line[4] for line in access_lines(caplog)]


# --- in the middle of a request ---


@pytest.mark.parametrize("wire", NOT_QUITE)
@pytest.mark.parametrize("way", ["fin", "reset"])
async def test_the_end_of_the_peer_during_a_body_is_a_disconnect(
    wire: bytes, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend([await receive(), await receive(), await receive()])

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(wire)
        await anyio.sleep(1)
        if way == "fin":
            await client.stream.send_eof()
        else:
            client.stream.abort()
        await anyio.sleep(1)
    assert seen == [{"type": "http.request", "body": b"half", "more_body": True}, DISCONNECT, DISCONNECT]
    assert statuses(caplog) == [499]
    assert errors_in(caplog) == []


async def test_the_end_of_the_peer_in_a_head_closes_the_connection_silently(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving_http(path) as served:
        client = served.connect()
        await client.send(b"GET / HTTP/1.1\r\nHos")
        await client.stream.send_eof()
        assert await client.read_all() == b""
    assert access_lines(caplog) == []


# --- after a request ---


async def test_an_application_that_listens_learns_of_the_fin(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[tuple[Message, float]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        seen.append((await receive(), anyio.current_time()))

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        await anyio.sleep(5)
        await client.stream.send_eof()
        left = anyio.current_time()
        await client.is_closed()
    assert seen == [(DISCONNECT, left)]
    assert statuses(caplog) == [499]
    assert errors_in(caplog) == []


async def test_an_application_that_does_not_listen_still_answers_a_half_closed_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(5)
        await reply(send, b"answer")

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        await client.stream.send_eof()
        response = await client.response()
        assert (response.status, response.body) == (200, b"answer")
        assert await client.is_closed()
    assert statuses(caplog) == [200]


async def test_requests_that_were_pipelined_before_the_fin_are_all_answered() -> None:
    async with serving_http(path) as served:
        client = served.connect()
        await client.send(get("/1") + get("/2") + get("/3"))
        await client.stream.send_eof()
        assert [(await client.response()).body for _ in range(3)] == [b"/1", b"/2", b"/3"]
        assert await client.is_closed()


async def test_an_application_that_fails_over_the_disconnect_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await receive()
        raise RuntimeError("I wanted it to stay")

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        client.stream.abort()
        await anyio.sleep(1)
    assert errors_in(caplog) == ["Exception in ASGI application (GET /)"]
    assert statuses(caplog) == [499]


# --- in the middle of a response ---


async def test_sending_after_a_reset_is_silent_and_receive_tells(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await body(send, b"first", more=True)
        await anyio.sleep(2)
        for _ in range(3):
            await body(send, b"x" * 100_000, more=True)
        seen.append(await receive())
        await body(send)
        await body(send, b"ignored")

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        assert (await client.read()).startswith(b"HTTP/1.1 200 ")
        client.stream.abort()
        await anyio.sleep(5)
    assert seen == [DISCONNECT]
    assert errors_in(caplog) == []
    assert statuses(caplog) == [499]


@pytest.mark.parametrize(("leaves", "listens"), [("fin", True), ("reset", True), ("reset", False)])
async def test_a_second_response_behind_a_stream_whose_client_has_left_is_ignored(
    leaves: str, listens: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """As Starlette sends the `Response()` of an endpoint whose stream has ended with its client."""
    returned = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await body(send, b"first", more=True)
        if listens:
            while (await receive())["type"] != "http.disconnect":
                pass
        else:
            await anyio.sleep(2)
            await body(send, b"x", more=True)
        await reply(send, b"second")
        returned.set()

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        await client.read()
        if leaves == "fin":
            await client.stream.send_eof()
            assert b"second" not in await client.read_all()
        else:
            client.stream.abort()
        await returned.wait()
    assert errors_in(caplog) == []
    assert statuses(caplog) == [499]


async def test_a_second_response_is_an_error_while_its_client_is_there(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await body(send, b"first", more=True)
        await reply(send, b"second")

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        answer = await client.read_all()
        assert answer.endswith(b"\r\n5\r\nfirst\r\n")  # without the last chunk, which would say that this was all
    assert errors_in(caplog) == ["Exception in ASGI application (GET /)"]


async def test_a_send_that_waits_is_released_by_a_reset() -> None:
    released: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"x" * 1_000_000)
        released.append(anyio.current_time())

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        await anyio.sleep(5)
        assert released == []
        client.stream.abort()
        left = anyio.current_time()
        await anyio.sleep(1)
    assert released == [left]


async def test_a_receive_that_waits_is_woken_when_a_send_has_failed() -> None:
    seen: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def listen() -> None:
            seen.append(await receive())

        await receive()
        async with anyio.create_task_group() as group:
            group.start_soon(listen)
            await start(send)
            while not seen:
                await body(send, b"x" * 1000, more=True)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        await anyio.sleep(1)
        client.stream.abort()
        await anyio.sleep(1)
    assert seen == [DISCONNECT]


async def test_an_application_that_only_sends_lets_others_run_after_the_loss() -> None:
    rounds = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal rounds
        if scope["path"] != "/endless":
            await reply(send)
            return
        await start(send)
        while True:
            await body(send, b"x", more=True)
            rounds += 1

    async with serving_http(app) as served:
        client, other = served.connect(), served.connect()
        await client.send(get("/endless"))
        await client.read()
        client.stream.abort()
        before = rounds
        assert (await other.get("/")).status == 200
        assert rounds - before < 100


async def test_many_peers_that_vanish_leave_nothing_behind() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await start(send)
        while (await receive())["type"] != "http.disconnect":
            pass

    async with serving_http(app, limit_connections=5) as served:
        for number in range(50):
            client = served.connect()
            await client.send(get() if number % 2 else post(b"", length=5))
            await anyio.sleep(0.01)
            client.stream.abort()
        await anyio.sleep(1)
        last = served.connect()
        await last.send(get())
        assert (await last.read()).startswith(b"HTTP/1.1 200 ")


# --- cancel_on_disconnect ---


async def test_a_handler_is_cancelled_within_a_tick_of_the_fin(caplog: pytest.LogCaptureFixture) -> None:
    cancelled: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await anyio.sleep(1000)
        finally:
            cancelled.append(anyio.current_time())

    async with serving_http(app, cancel_on_disconnect=True) as served:
        client = served.connect()
        await client.send(get())
        await anyio.sleep(5.1)
        await client.stream.send_eof()
        left = anyio.current_time()
        await client.is_closed()
    (when,) = cancelled
    assert 0 < when - left <= 0.25 + 1e-6
    assert statuses(caplog)[0] == 499
    assert errors_in(caplog) == []


async def test_a_handler_of_a_peer_that_stays_is_not_cancelled() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(10)
        await reply(send, b"done")

    async with serving_http(app, cancel_on_disconnect=True) as served:
        client = served.connect()
        for _ in range(2):
            assert (await client.get()).body == b"done"


async def test_a_background_task_is_not_cancelled_by_the_disconnect() -> None:
    finished = False

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal finished
        await reply(send, b"done")
        await anyio.sleep(10)
        finished = True

    async with serving_http(app, cancel_on_disconnect=True) as served:
        client = served.connect()
        assert (await client.get()).body == b"done"
        client.stream.abort()
        await anyio.sleep(20)
        assert finished


@pytest.mark.parametrize("wire", [get(), post(b"", length=5)], ids=["no body", "body unread"])
@pytest.mark.parametrize("way", ["asks", "listens"])
async def test_who_has_been_told_of_the_disconnect_is_not_cancelled(wire: bytes, way: str) -> None:
    """Starlette runs the background task of a stream whose client has left: what it is told, it deals with."""
    ends: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive() if way == "listens" else {}
        while message.get("type") != "http.disconnect":
            with anyio.CancelScope() as asking:
                if way == "asks":  # as Starlette's is_disconnected() does
                    asking.cancel()
                message = await receive()
            await anyio.sleep(0.01)
        await anyio.sleep(10)
        ends.append("tidied up")

    async with serving_http(app, cancel_on_disconnect=True) as served:
        client = served.connect()
        await client.send(wire)
        await anyio.sleep(1.1)
        await client.stream.send_eof()
        await anyio.sleep(20)
    assert ends == ["tidied up"]


async def test_who_has_been_told_of_the_stop_is_cancelled_when_the_peer_leaves() -> None:
    cancelled: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await receive()
        try:
            await anyio.sleep(10)
        finally:
            cancelled.append(anyio.current_time())

    async with serving_http(app, cancel_on_disconnect=True, timeout_shutdown_notice=1) as served:
        client = served.connect()
        await client.send(get())
        await anyio.sleep(0.1)
        served.server.stop()
        await anyio.sleep(2)
        client.stream.abort()
        left = anyio.current_time()
        await anyio.sleep(1)
        assert cancelled
        assert cancelled[0] - left <= 0.25 + 1e-6


async def test_without_the_setting_nobody_is_cancelled() -> None:
    finished = False

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal finished
        await anyio.sleep(10)
        finished = True

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        client.stream.abort()
        await anyio.sleep(20)
        assert finished
