"""The end of a WebSocket that either side closes: with which code, who is told, and that the connection ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asgiserve.errors import ClientDisconnected
from tests.support.websocket import CLOSE, PING, TEXT, close_frame, frame, serving_websockets
from tests.unit.connection.applications import Turns, counting, errors_in, read_for_ever, send_for_ever
from tests.unit.connection.websocket_applications import TICK, Journal, accept, hear, say, say_for_ever

if TYPE_CHECKING:
    from asgiserve.types import Message, Receive, Scope, Send

pytestmark = pytest.mark.anyio


async def sleeps(receive: Receive, send: Send) -> None:
    await anyio.sleep(60)


async def receives_and_sleeps(receive: Receive, send: Send) -> None:
    assert await hear(receive) == "before"
    await anyio.sleep(60)


busy_or_not = pytest.mark.parametrize("before", [None, sleeps], ids=["receives", "busy"])


# --- the peer closes ---


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1001, "gone"), (3000, "é" * 61), (4999, "x"), (None, "")], ids=str
)
@busy_or_not
async def test_the_peers_code_and_reason_reach_the_application_and_come_back(
    code: int | None, reason: str, before: Any
) -> None:
    app = Journal(before)
    async with serving_websockets(app) as served:
        client = await served.open()
        await client.close(code, reason)
        answer = await client.frame()
        assert (answer.opcode, answer.code, answer.reason) == (CLOSE, code, reason)
        assert await client.is_closed()
        await app.ended.wait()
    assert app.disconnect == (1005 if code is None else code, reason)


@busy_or_not
async def test_the_peers_close_is_answered_at_once_and_the_connection_ends(before: Any) -> None:
    app = Journal(before)
    async with serving_websockets(app, limit_connections=1) as served:
        client = await served.open()
        began = anyio.current_time()
        await client.close()
        assert (await client.frame()).opcode == CLOSE
        assert await client.is_closed()
        assert anyio.current_time() == began
        await client.stream.aclose()
        # The connection gives its place back although the application may go on.
        await served.open()
        assert anyio.current_time() - began <= 3 * TICK


async def test_the_peers_close_is_answered_within_a_tick_where_the_application_has_received_before() -> None:
    app = Journal(receives_and_sleeps)
    async with serving_websockets(app) as served:
        client = await served.open()
        await client.text("before")
        await anyio.sleep(1e-3)
        began = anyio.current_time()
        await client.close()
        assert (await client.frame()).opcode == CLOSE
        assert anyio.current_time() - began <= TICK


async def test_what_comes_behind_the_peers_close_is_not_looked_at() -> None:
    app = Journal()
    async with serving_websockets(app) as served:
        client = await served.open()
        await client.send(close_frame(4000) + frame(TEXT, b"never") + frame(PING) + b"\xff" * 1000)
        answer = await client.frame()
        assert (answer.opcode, answer.code) == (CLOSE, 4000)
        assert await client.is_closed()
    assert (app.contents, app.disconnect) == ([], (4000, ""))


async def test_a_disconnect_is_repeated_for_whoever_goes_on_asking_and_lets_others_run() -> None:
    received: list[Message] = []
    turns = Turns()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        async with counting(turns):
            while len(received) < 50:
                received.append(await receive())
        ended.set()

    ended = anyio.Event()
    async with serving_websockets(app) as served:
        client = await served.open()
        await client.close(4000, "bye")
        await ended.wait()
    assert received == [{"type": "websocket.disconnect", "code": 4000, "reason": "bye"}] * 50
    assert turns.count >= 40


@pytest.mark.parametrize("ending", ["aclose", "abort", "send_eof"])
@busy_or_not
async def test_a_lost_connection_is_1006(ending: str, before: Any, caplog: pytest.LogCaptureFixture) -> None:
    app = Journal(before)
    async with serving_websockets(app) as served:
        client = await served.open()
        await client.text("before")
        result = getattr(client.stream, ending)()
        if result is not None:
            await result
        await app.ended.wait()
    assert (app.contents, app.disconnect) == (["before"], (1006, ""))
    assert not errors_in(caplog)


@pytest.mark.parametrize("reads_on", [True, False])
async def test_a_peer_that_ends_its_side_in_the_middle_of_a_message_may_read_it_to_its_end(
    reads_on: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await say(send, b"x" * 200_000)
        await anyio.sleep(100)

    async with serving_websockets(app) as served:
        client = await served.open()
        await client.stream.send_eof()
        await anyio.sleep(5)
        if reads_on:
            assert await client.message() == b"x" * 200_000
            assert await client.is_closed()
        else:
            await anyio.sleep(10)
            with pytest.raises(anyio.BrokenResourceError):
                await read_for_ever(client)
    assert not errors_in(caplog)


async def test_the_code_of_a_peer_that_closes_and_leaves_wins_over_the_loss() -> None:
    """Writing fails first; what the peer said before it left is still there."""
    raised: list[BaseException] = []

    async def push(receive: Receive, send: Send) -> None:
        try:
            await say_for_ever(send, b"x", pause=0.1)
        except ClientDisconnected as error:
            raised.append(error)

    app = Journal(push)
    async with serving_websockets(app) as served:
        client = await served.open()
        await client.close(4001, "enough")
        await client.stream.aclose()
        await app.ended.wait()
    assert len(raised) == 1
    assert app.disconnect == (4001, "enough")


async def test_an_application_that_only_sends_learns_of_the_loss_in_send(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        try:
            await say_for_ever(send, b"x", pause=0.1)
        finally:
            ended.append(anyio.current_time())

    async with serving_websockets(app) as served:
        for ending in ("send_eof", "close", "aclose"):
            client = await served.open()
            await anyio.sleep(5)
            if ending == "close":
                await client.close()
            else:
                await getattr(client.stream, ending)()
            left = anyio.current_time()
            await anyio.sleep(5)
            assert ended.pop() - left <= 2 * TICK + 0.1
    assert not errors_in(caplog)


async def test_what_is_sent_after_the_end_raises_an_os_error() -> None:
    raised: list[BaseException] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        assert (await receive())["type"] == "websocket.disconnect"
        for message in ({"type": "websocket.send", "text": "x"}, {"type": "websocket.close"}):
            try:
                await send(message)
            except OSError as error:
                raised.append(error)

    async with serving_websockets(app) as served:
        client = await served.open()
        await client.close()
        await client.frame()
        assert await client.is_closed()
    assert [type(error) for error in raised] == [ClientDisconnected] * 2


# --- the application closes ---


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "gone"), (4000, "é" * 200)])
async def test_an_application_closes_with_its_code_and_reason(code: int, reason: str) -> None:
    received: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await send({"type": "websocket.close", "code": code, "reason": reason})
        received.append(await receive())
        with pytest.raises(ClientDisconnected):
            await say(send, "never")
        with pytest.raises(ClientDisconnected):
            await send({"type": "websocket.close"})

    async with serving_websockets(app) as served:
        client = await served.open()
        assert await client.closed_with() == (code, reason.encode()[:123].decode(errors="ignore"))
    assert received == [{"type": "websocket.disconnect", "code": code, "reason": reason}]


@pytest.mark.parametrize("goes_on", [False, True])
async def test_the_peer_has_ten_seconds_to_answer_a_close(goes_on: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await send({"type": "websocket.close"})
        if goes_on:
            await anyio.sleep(1000)

    async with serving_websockets(app, limit_connections=1) as served:
        client = await served.open()
        began = anyio.current_time()
        assert (await client.frame()).opcode == CLOSE
        assert not await client.is_closed()
        assert anyio.current_time() - began == pytest.approx(10 + TICK / 2, abs=TICK / 2 + 1e-6)
        await served.open()


async def test_messages_that_come_before_the_peers_answer_are_dropped() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await send({"type": "websocket.close"})
        assert (await receive())["type"] == "websocket.disconnect"

    async with serving_websockets(app) as served:
        client = await served.open()
        await client.frame()
        for _ in range(20):
            await client.send(frame(TEXT, b"x" * 50_000))
        began = anyio.current_time()
        await client.close()
        assert await client.is_closed()
        assert anyio.current_time() == began


async def test_a_peer_that_never_stops_sending_does_not_keep_the_connection() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)

    async with serving_websockets(app, timeout_ws_close=3) as served:
        client = await served.open()
        began = anyio.current_time()
        with pytest.raises(anyio.BrokenResourceError):
            await send_for_ever(client, frame(TEXT, b"x" * 1000), pause=0.1)
        assert anyio.current_time() - began <= 3 + 2 * TICK


async def test_a_close_of_one_task_wakes_another_that_receives() -> None:
    received: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)

        async def listen() -> None:
            received.append(await receive())

        async with anyio.create_task_group() as group:
            group.start_soon(listen)
            await anyio.sleep(1)
            await send({"type": "websocket.close", "code": 4000, "reason": "mine"})

    async with serving_websockets(app) as served:
        client = await served.open()
        began = anyio.current_time()
        assert await client.closed_with() == (4000, "mine")
        assert anyio.current_time() - began == pytest.approx(1)
    assert received == [{"type": "websocket.disconnect", "code": 4000, "reason": "mine"}]


async def test_a_sender_that_waits_for_its_turn_is_told_of_the_close() -> None:
    raised: list[BaseException] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)

        async def second() -> None:
            try:
                await say(send, b"never")
            except ClientDisconnected as error:
                raised.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(say, send, b"x" * 200_000)
            await anyio.sleep(1)
            group.start_soon(second)
            await anyio.sleep(1)
            await send({"type": "websocket.close"})

    async with serving_websockets(app) as served:
        client = await served.open()
        await anyio.sleep(3)
        assert await client.message() == b"x" * 200_000
        assert await client.closed_with() == (1000, "")
    assert len(raised) == 1


async def test_a_close_waits_behind_the_message_that_is_on_its_way() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        async with anyio.create_task_group() as group:
            group.start_soon(say, send, b"x" * 200_000)
            await anyio.sleep(1)
            await send({"type": "websocket.close", "code": 4000})

    async with serving_websockets(app) as served:
        client = await served.open()
        await anyio.sleep(2)
        assert await client.message() == b"x" * 200_000
        assert await client.closed_with() == (4000, "")
