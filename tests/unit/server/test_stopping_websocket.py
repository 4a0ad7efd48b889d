"""WebSockets at a stop: told at once with 1012, whatever either side is doing, and never longer than the grace."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.support.websocket import CLOSE, PING, TEXT, WebSocketClient, close_frame, frame, handshake
from tests.unit.connection.applications import errors_in, send_for_ever
from tests.unit.connection.websocket_applications import Journal as WebSocketJournal
from tests.unit.connection.websocket_applications import accept, echo, say_for_ever
from tests.unit.server.apps import Journal, hello
from tests.unit.server.running import running

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send
    from tests.unit.server.running import Run

pytestmark = pytest.mark.anyio

TICK = 0.25


async def opened(run: Run, target: str = "/", **options: Any) -> WebSocketClient:
    """A client whose WebSocket is open."""
    client = WebSocketClient(run.listener.connect(**options))
    await client.open(target)
    return client


async def goodbye(client: WebSocketClient) -> int | None:
    """Read up to the server's Close frame, and answer it."""
    one = await client.frame()
    while one.opcode != CLOSE:
        one = await client.frame()
    await client.send(frame(CLOSE, one.payload))
    return one.code


async def sleeps(receive: Receive, send: Send) -> None:
    await anyio.sleep(3600)


async def test_an_idle_websocket_is_closed_with_1012_at_once_and_the_server_ends() -> None:
    app = WebSocketJournal()
    async with running(Journal(app)) as run:
        client = await opened(run)
        await anyio.sleep(15)
        run.server.stop()
        began = anyio.current_time()
        assert await goodbye(client) == 1012
        assert await client.is_closed()
        await client.stream.aclose()
        assert await run.end() == 0
        assert anyio.current_time() == began
    assert app.disconnect == (1012, "")


async def test_an_application_is_told_although_its_peer_does_not_answer_the_close() -> None:
    app = WebSocketJournal()
    async with running(app) as run:
        client = await opened(run)
        began = anyio.current_time()
        run.server.stop()
        await app.ended.wait()
        assert anyio.current_time() == began
        assert (await client.frame()).code == 1012
        # The peer has ten seconds, and the server waits for nobody else.
        assert await run.end() == pytest.approx(10, abs=2 * TICK)
    assert app.disconnect == (1012, "")


async def test_a_busy_application_goes_on_and_is_told_when_it_asks() -> None:
    async def five_seconds(receive: Receive, send: Send) -> None:
        await anyio.sleep(5)

    app = WebSocketJournal(five_seconds)
    async with running(app) as run:
        client = await opened(run)
        await anyio.sleep(1)
        run.server.stop()
        began = anyio.current_time()
        assert await goodbye(client) == 1012
        assert await client.is_closed()
        await client.stream.aclose()
        assert anyio.current_time() == began
        assert await run.end() == pytest.approx(4)
    assert app.disconnect == (1012, "")


async def test_messages_that_were_kept_are_delivered_before_the_disconnect() -> None:
    async def five_seconds(receive: Receive, send: Send) -> None:
        await anyio.sleep(5)

    app = WebSocketJournal(five_seconds)
    async with running(app) as run:
        client = await opened(run)
        await client.send(frame(TEXT, b"one") + frame(TEXT, b"two"))
        await anyio.sleep(1)
        run.server.stop()
        await goodbye(client)
        await run.end()
    assert (app.contents, app.disconnect) == (["one", "two"], (1012, ""))


async def test_an_application_that_only_sends_ends_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    async def push(receive: Receive, send: Send) -> None:
        await say_for_ever(send, "x", pause=0.5)

    async with running(WebSocketJournal(push)) as run:
        client = await opened(run)
        await anyio.sleep(5)
        run.server.stop()
        assert await goodbye(client) == 1012
        assert await run.end() <= 0.5 + 2
    assert not errors_in(caplog)


@pytest.mark.parametrize("flood", [frame(TEXT, b"x" * 1000), frame(PING, b"x")], ids=["messages", "pings"])
async def test_a_peer_that_floods_and_never_answers_is_cut(flood: bytes) -> None:
    async with running(echo) as run:
        client = await opened(run)
        async with anyio.create_task_group() as group:

            async def read() -> None:
                try:
                    while True:
                        await client.read()
                except (anyio.BrokenResourceError, anyio.EndOfStream):
                    pass

            group.start_soon(read)

            async def send() -> None:
                with pytest.raises(anyio.BrokenResourceError):
                    await send_for_ever(client, flood, pause=0.01)

            group.start_soon(send)
            await anyio.sleep(1)
            run.server.stop()
            assert await run.end() == pytest.approx(10, abs=2 * TICK)


async def test_a_peer_that_reads_nothing_is_cut() -> None:
    async def push(receive: Receive, send: Send) -> None:
        await say_for_ever(send, "x" * 1000)

    async with running(WebSocketJournal(push), timeout_write=None, ws_ping_interval=0) as run:
        await opened(run)
        await anyio.sleep(5)
        run.server.stop()
        assert await run.end() == pytest.approx(10, abs=2 * TICK)


async def test_an_application_that_never_ends_is_cancelled_when_the_grace_period_ends() -> None:
    app = Journal(inner := WebSocketJournal(sleeps))
    async with running(app) as run:
        client = await opened(run)
        run.server.stop()
        assert await goodbye(client) == 1012
        assert await run.end() == pytest.approx(25)
    assert (inner.ended.is_set(), app.was_shut_down) == (True, True)


async def test_an_application_that_goes_on_although_it_was_cancelled_is_named(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        with anyio.CancelScope(shield=True):
            await anyio.sleep(30)

    async with running(app, timeout_graceful_shutdown=2) as run:
        client = await opened(run, "/stubborn")
        run.server.stop()
        assert await goodbye(client) == 1012
        await run.end()
    named = [line for line in errors_in(caplog) if "goes on although it was cancelled (GET /stubborn)" in line]
    assert named
    assert "await anyio.sleep(30)" in named[0]


async def returns_when_cancelled(receive: Receive, send: Send) -> None:
    try:
        await sleeps(receive, send)
    except anyio.get_cancelled_exc_class():
        raise Ended from None


async def fails_when_cancelled(receive: Receive, send: Send) -> None:
    try:
        await sleeps(receive, send)
    finally:
        raise ValueError


class Ended(Exception):
    """The application is to return."""


@pytest.mark.parametrize("reaction", [sleeps, returns_when_cancelled, fails_when_cancelled])
@pytest.mark.parametrize("how", ["abort", "cancel"])
async def test_a_hard_stop_tells_the_peer_and_cancels_the_application(how: str, reaction: Any) -> None:
    inner = WebSocketJournal(reaction)

    @Journal
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(Ended):
            await inner(scope, receive, send)

    async with running(app) as run:
        client = await opened(run)
        await anyio.sleep(1)
        if how == "abort":
            run.server.abort()
        else:
            run.scope.cancel()
        assert (await client.frame()).code == 1012
        assert await run.end() <= 1
    assert (inner.ended.is_set(), app.was_shut_down) == (True, True)


async def test_a_quick_stop_tells_websockets_as_well() -> None:
    async with running(echo) as run:
        client = await opened(run)
        run.server.stop_quickly(5)
        assert await goodbye(client) == 1012
        assert await run.end() <= 2


async def test_a_handshake_that_waits_for_its_application_is_answered_503() -> None:
    received: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        received.append(await receive())

    async with running(app) as run:
        client = WebSocketClient(run.listener.connect())
        await client.send(handshake())
        await anyio.sleep(2)
        run.server.stop()
        response = await client.response()
        assert (response.status, response.headers["retry-after"]) == (503, "1")
        assert await client.is_closed()
        await client.stream.aclose()
        assert await run.end() == 0
    assert received == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]


async def test_a_handshake_in_the_linger_is_answered_503_without_the_application() -> None:
    called: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        called.append(scope["type"])
        await hello(scope, receive, send)

    async with running(app) as run:
        client = WebSocketClient(run.listener.connect())
        assert (await client.get()).status == 200
        run.server.stop()
        await anyio.sleep(0.5)
        assert (await client.refused()).status == 503
        assert await client.is_closed()
        await client.stream.aclose()
        assert await run.end() <= TICK
    assert called == ["http"]


async def test_a_denial_that_has_begun_is_finished() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": 401})
        for _ in range(5):
            await send({"type": "websocket.http.response.body", "body": b"no", "more_body": True})
            await anyio.sleep(1)
        await send({"type": "websocket.http.response.body"})

    async with running(app) as run:
        client = WebSocketClient(run.listener.connect())
        await client.send(handshake())
        await anyio.sleep(2)
        run.server.stop()
        response = await client.response()
        assert (response.status, response.body) == (401, b"no" * 5)
        await client.stream.aclose()
        assert await run.end() <= TICK


async def test_a_websocket_that_was_closing_already_is_left_to_it() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await send({"type": "websocket.close", "code": 4000})
        await anyio.sleep(3)

    async with running(app) as run:
        client = await opened(run)
        assert (await client.frame()).code == 4000
        run.server.stop()
        await anyio.sleep(1)
        await client.send(close_frame(4000))
        assert await client.is_closed()
        await client.stream.aclose()
        assert await run.end() == pytest.approx(2)


async def test_a_thousand_websockets_are_told_in_the_same_moment() -> None:
    app = echo
    async with running(app) as run:
        clients = [await opened(run) for _ in range(1000)]
        run.server.stop()
        began = anyio.current_time()
        for client in clients:
            assert await goodbye(client) == 1012
            await client.stream.aclose()
        assert await run.end() == 0
        assert anyio.current_time() == began


async def test_open_websockets_count_as_in_flight(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with running(echo) as run:
        client = await opened(run)
        run.server.stop()
        await goodbye(client)
        await run.end()
    told = [line.getMessage() for line in caplog.records if line.getMessage().startswith("Waiting for at")]
    assert told == ["Waiting for at most 25 s for 1 connection to close (1 with a request in flight)."]
