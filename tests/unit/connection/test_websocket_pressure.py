"""Back-pressure: who is slow slows the other side, and what is kept meanwhile has a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from asgiserve.connection.websocket_inbox import Inbox
from asgiserve.errors import ClientDisconnected
from tests.support.websocket import BINARY, CLOSE, PING, PONG, TEXT, Frame, frame, serving_websockets
from tests.unit.connection.websocket_applications import TICK, Journal, accept, hear, say, say_for_ever

if TYPE_CHECKING:
    from asgiserve.types import Message, Receive, Scope, Send
    from tests.support.websocket import WebSocketClient

pytestmark = pytest.mark.anyio


class Sender:
    """Sends one frame again and again, and counts how often the connection took all of it."""

    def __init__(self, client: WebSocketClient, one: bytes) -> None:
        self.count = 0
        self._client = client
        self._one = one

    async def run(self, most: int) -> None:
        while self.count < most:
            await self._client.stream.send(self._one)
            self.count += 1

    async def blocked(self) -> int:
        """How many were taken before a minute passed without progress."""
        count = -1
        while self.count != count:
            count = self.count
            await anyio.sleep(60)
        return count


# --- the inbox ---


def test_the_inbox_is_full_at_either_bound() -> None:
    inbox = Inbox(3, 10)
    for message in ("a", b"b"):
        inbox.put(message)
        assert not inbox.full
    inbox.put("c")
    assert inbox.full
    assert [inbox.take() for _ in range(3)] == ["a", b"b", "c"]
    assert not inbox.full
    assert not inbox


def test_the_inbox_counts_bytes_and_not_characters() -> None:
    inbox = Inbox(100, 10)
    inbox.put("é" * 4)
    assert not inbox.full
    inbox.put("é")
    assert inbox.full
    inbox.take()
    assert not inbox.full


def test_one_message_always_fits_in_the_inbox() -> None:
    inbox = Inbox(100, 10)
    assert not inbox.full
    inbox.put(b"x" * 10)
    assert inbox.full


# --- a slow application ---


async def sleeps(receive: Receive, send: Send) -> None:
    await anyio.sleep(1000)


@pytest.mark.parametrize("bound", [{"ws_max_queue": 5}, {"ws_max_size": 45_000}], ids=["messages", "bytes"])
async def test_a_slow_application_stops_the_reading_at_either_bound(bound: dict[str, int]) -> None:
    app = Journal(sleeps)
    one = frame(BINARY, b"x" * 10_000)
    async with serving_websockets(app, **bound, ws_ping_interval=0) as served:
        client = await served.open(capacity=len(one))
        async with anyio.create_task_group() as group:
            sender = Sender(client, one)
            group.start_soon(sender.run, 50)
            # In the inbox; in the codec, which was given up to 64 KiB at once; and on the way.
            assert 5 <= await sender.blocked() <= 5 + 65_536 // len(one) + 1
        await client.close()
        await app.ended.wait()
    assert app.contents == [b"x" * 10_000] * 50


async def test_what_is_kept_is_delivered_in_order_and_reading_goes_on() -> None:
    app = Journal(sleeps)
    async with serving_websockets(app, ws_max_queue=4) as served:
        client = await served.open(capacity=100)
        for number in range(100):
            await client.text(str(number))
        await client.close()
        await app.ended.wait()
    assert app.contents == [str(number) for number in range(100)]


async def test_an_application_that_handles_each_message_slowly_gets_all_of_them() -> None:
    received: list[str | bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        for _ in range(60):
            received.append(await hear(receive))
            await anyio.sleep(0.3)
        await say(send, "all")

    async with serving_websockets(app, ws_max_queue=3) as served:
        client = await served.open(capacity=50)
        for number in range(60):
            await client.text(str(number))
        assert await client.message() == "all"
    assert received == [str(number) for number in range(60)]


async def test_pings_are_answered_while_the_application_is_busy_for_a_minute() -> None:
    app = Journal(sleeps)
    async with serving_websockets(app, ws_ping_interval=0) as served:
        client = await served.open()
        for number in range(59):
            await client.send(frame(PING, b"%d" % number))
            began = anyio.current_time()
            assert await client.frame() == Frame(PONG, b"%d" % number)
            assert anyio.current_time() - began <= 2 * TICK
            await anyio.sleep(1 - (anyio.current_time() - began))
        await client.text("after")
        await client.close()
        await app.ended.wait()
    assert app.contents == ["after"]


async def test_pings_are_answered_while_the_only_task_that_receives_is_busy() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)

        async def child() -> None:
            await hear(receive)
            await anyio.sleep(1000)

        async with anyio.create_task_group() as group:
            group.start_soon(child)

    async with serving_websockets(app, ws_ping_interval=0) as served:
        client = await served.open()
        await anyio.sleep(5)
        await client.text("now")
        await anyio.sleep(5)
        await client.send(frame(PING, b"p"))
        began = anyio.current_time()
        assert await client.frame() == Frame(PONG, b"p")
        assert anyio.current_time() - began <= 2 * TICK


async def test_a_ping_behind_a_full_inbox_is_answered_when_reading_goes_on() -> None:
    app = Journal(sleeps)
    async with serving_websockets(app, ws_max_queue=2, ws_ping_interval=0) as served:
        client = await served.open()
        await client.send(frame(TEXT, b"x") * 2 + frame(PING, b"late"))
        await client.silence(900)
        assert await client.frame() == Frame(PONG, b"late")


async def test_a_close_behind_a_full_inbox_is_heard_when_reading_goes_on() -> None:
    app = Journal(sleeps)
    async with serving_websockets(app, ws_max_queue=2) as served:
        client = await served.open()
        await client.send(frame(TEXT, b"x") * 5)
        await client.close(4000, "bye")
        await app.ended.wait()
    assert (app.contents, app.disconnect) == (["x"] * 5, (4000, "bye"))


# --- a slow client ---


async def test_a_client_that_does_not_read_blocks_send() -> None:
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await accept(receive, send)
        while True:
            await say(send, b"x" * 1000)
            sent += 1

    async with serving_websockets(app, timeout_write=None, ws_ping_interval=0) as served:
        client = await served.open(capacity=10_000)
        await anyio.sleep(1000)
        held = sent
        await anyio.sleep(1000)
        assert 9 <= held == sent <= 20
        await client.read()
        await anyio.sleep(1)
        assert held + 9 <= sent <= held + 10


async def test_a_client_that_never_reads_is_cut_and_the_application_told_by_send() -> None:
    raised: list[float] = []
    received: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        began = anyio.current_time()
        with pytest.raises(ClientDisconnected):
            await say_for_ever(send, b"x" * 1000)
        raised.append(anyio.current_time() - began)
        received.append(await receive())

    async with serving_websockets(app, timeout_write=7, ws_ping_interval=0) as served:
        client = await served.open()
        await anyio.sleep(10)
        assert not await client.is_closed()
    assert raised == [pytest.approx(7 + TICK / 2, abs=TICK / 2)]
    assert received == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]


async def test_a_slow_client_that_makes_progress_is_not_cut() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await say(send, b"x" * 200_000)

    async with serving_websockets(app, timeout_write=7, ws_ping_interval=0) as served:
        client = await served.open(capacity=10_000)
        began = anyio.current_time()
        data = b""
        while not data.endswith(b"x\x88\x02\x03\xe8"):
            await anyio.sleep(5)
            data = await client.read()
        assert anyio.current_time() - began >= 90


async def test_a_client_that_reads_nothing_gets_its_pongs_when_it_does() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await hear(receive)
        await say(send, b"x" * 100)
        await receive()

    async with serving_websockets(app, timeout_write=None, ws_ping_interval=0) as served:
        client = await served.open(capacity=103)
        await client.text("now")
        await anyio.sleep(1)
        for number in range(50):
            await client.send(frame(PING, b"%d" % number))
        await anyio.sleep(1)
        assert await client.message() == b"x" * 100
        pongs = []
        while not pongs or pongs[-1] != b"49":
            pongs.append((await client.frame()).payload)
        await client.close()
        assert (await client.frame()).opcode == CLOSE
    # One was half way out, one waited for it; the others were not the last.
    assert len(pongs) <= 3
