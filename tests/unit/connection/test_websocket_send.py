"""Messages that go: who waits for whom, what a cancellation costs, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import FrameProtocol

from asgiserve.errors import ClientDisconnected, LocalProtocolError
from tests.support.websocket import (
    PING,
    PONG,
    TEXT,
    close_frame,
    frame,
    handshake,
    serving_websockets,
)
from tests.unit.connection.applications import errors_in
from tests.unit.connection.websocket_applications import accept, hear, say

if TYPE_CHECKING:
    from asgiserve.types import Message, Receive, Scope, Send

pytestmark = pytest.mark.anyio


# --- send() ---


async def test_messages_of_several_tasks_do_not_mix() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)

        async def send_all(letter: bytes) -> None:
            for _ in range(10):
                await say(send, letter * 100_000)

        async with anyio.create_task_group() as group:
            for letter in (b"a", b"b", b"c"):
                group.start_soon(send_all, letter)

    async with serving_websockets(app) as served:
        client = await served.open()
        messages = [await client.message() for _ in range(30)]
    assert all(len(set(message)) == 1 and len(message) == 100_000 for message in messages)
    assert len(messages) == 30


async def test_pings_are_answered_between_the_messages_of_a_busy_sender() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        for _ in range(20):
            await say(send, b"x" * 200_000)

    async with serving_websockets(app) as served:
        client = await served.open()
        await anyio.sleep(1)
        for number in range(5):
            await client.send(frame(PING, b"%d" % number))
        await anyio.sleep(1)
        frames = [await client.frame() for _ in range(21)]
    pongs = [(place, one.payload) for place, one in enumerate(frames) if one.opcode == PONG]
    # The first waits behind the message that is on its way; of all that wait, the last is enough.
    assert [payload for _, payload in pongs][-1] == b"4"
    assert pongs[0][0] == 1


async def test_a_send_that_is_cancelled_before_its_turn_harms_nobody() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        async with anyio.create_task_group() as group:
            group.start_soon(say, send, b"a" * 500_000)
            await anyio.sleep(1)
            with anyio.move_on_after(1) as scope_of_second:
                await say(send, b"never")
            assert scope_of_second.cancelled_caught
        await say(send, b"last")

    async with serving_websockets(app) as served:
        client = await served.open()
        await anyio.sleep(3)
        assert await client.message() == b"a" * 500_000
        assert await client.message() == b"last"


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("messages", [("first", "never", "last, not first"), (b"first", b"never", b"never first")])
async def test_a_send_that_is_cancelled_behind_a_pong_harms_nobody(
    compressed: bool, messages: tuple[str, str, str] | tuple[bytes, bytes, bytes]
) -> None:
    first, never, last = messages

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await hear(receive)
        await say(send, first)
        await anyio.sleep(1)
        for _ in range(2):
            with anyio.move_on_after(1) as cancelled:
                await say(send, never)
            assert cancelled.cancelled_caught
        await say(send, last)
        await anyio.sleep(1000)

    async with serving_websockets(app, ws_per_message_deflate=compressed) as served:
        client = await served.open("/", "Sec-WebSocket-Extensions: permessage-deflate", capacity=110)
        await client.text("now")
        await client.send(frame(PING, b"p" * 120))
        await anyio.sleep(5)
        extension = PerMessageDeflate()
        extension.finalize("permessage-deflate; server_max_window_bits=12; client_no_context_takeover")
        frames = FrameProtocol(client=True, extensions=[extension])
        received = []
        with anyio.fail_after(60):
            while received != [first, last]:
                frames.receive_bytes(await client.read())
                received += [one.payload for one in frames.received_frames() if not one.opcode.iscontrol()]


async def test_a_send_that_is_cancelled_half_way_cuts_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    app_ended: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        with anyio.move_on_after(1):
            await say(send, b"a" * 500_000)
        app_ended.append(await receive())
        with pytest.raises(OSError, match="closed"):
            await say(send, b"never")

    async with serving_websockets(app) as served:
        client = await served.open()
        await anyio.sleep(2)
        with pytest.raises(anyio.BrokenResourceError):
            await client.message()
    assert app_ended == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]
    assert not errors_in(caplog)


@pytest.mark.parametrize(
    "answer",
    [
        [{"type": "websocket.accept"}],
        [
            {"type": "websocket.http.response.start", "status": 403},
            {"type": "websocket.http.response.body", "body": b"x" * 1000},
        ],
    ],
    ids=["acceptance", "denial"],
)
async def test_an_answer_to_a_handshake_that_is_cancelled_half_way_cuts_the_connection(answer: list[Message]) -> None:
    received: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        with anyio.move_on_after(1) as cancelled:
            for message in answer:
                await send(message)
        assert cancelled.cancelled_caught
        received.append(await receive())
        await anyio.sleep(1000)

    async with serving_websockets(app) as served:
        client = served.connect(capacity=50)
        await client.send(handshake())
        await anyio.sleep(2)
        with anyio.fail_after(60), pytest.raises(anyio.BrokenResourceError):
            await client.read_all()
    assert received == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]


async def test_what_the_peer_said_before_it_left_is_received_however_many_were_sending() -> None:
    received: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)

        async def fail() -> None:
            with pytest.raises(ClientDisconnected):
                await say(send, "x" * 100_000)

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(fail)
        received.extend([await receive(), await receive()])

    async with serving_websockets(app) as served:
        client = await served.open()
        client.stream.send_nowait(frame(TEXT, b"last words") + close_frame(4001, "bye"))
        client.stream.abort()
        await anyio.sleep(5)
    assert received == [
        {"type": "websocket.receive", "text": "last words"},
        {"type": "websocket.disconnect", "code": 4001, "reason": "bye"},
    ]


async def test_a_message_that_is_refused_changes_nothing() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        for wrong in (
            {"type": "websocket.send"},
            {"type": "websocket.send", "text": "a", "bytes": b"b"},
            {"type": "websocket.send", "text": "\ud800"},
            {"type": "websocket.close", "code": 1006},
            {"type": "websocket.close", "code": 999},
            {"type": "websocket.accept"},
            {"type": "websocket.zebra"},
        ):
            with pytest.raises(LocalProtocolError):
                await send(wrong)
        await say(send, await hear(receive))

    async with serving_websockets(app) as served:
        client = await served.open()
        await client.text("fine")
        assert await client.message() == "fine"
