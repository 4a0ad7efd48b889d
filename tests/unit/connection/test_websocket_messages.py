"""Messages that come: their contents, their order, who receives them, and that none is lost."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.support.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    frame,
    serving_websockets,
)
from tests.unit.connection.applications import Turns, counting
from tests.unit.connection.websocket_applications import TICK, Journal, accept, echo, hear, say

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

MESSAGES: list[str | bytes] = [
    "",
    b"",
    "x",
    b"x",
    "é€😀",
    b"\xff\x00",
    "a" * 125,
    "b" * 126,
    b"c" * 65_536,
    "d" * 70_000,
]


def encoded(message: str | bytes) -> bytes:
    return frame(TEXT, message.encode()) if isinstance(message, str) else frame(BINARY, message)


# --- contents and order ---


async def test_messages_of_both_kinds_and_all_sizes_are_echoed_unchanged() -> None:
    async with serving_websockets(echo) as served:
        client = await served.open()
        for message in MESSAGES:
            async with anyio.create_task_group() as group:
                group.start_soon(client.send, encoded(message))
                assert await client.message() == message


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_messages_arrive_in_order_however_their_bytes_are_split(size: int) -> None:
    app = Journal()
    wire = b"".join(map(encoded, MESSAGES[:8])) * 3
    async with serving_websockets(app) as served:
        client = await served.open()
        for start in range(0, len(wire), size):
            await client.send(wire[start : start + size])
        await client.close()
        await app.ended.wait()
    assert app.contents == MESSAGES[:8] * 3


async def test_fragments_are_one_message_and_pings_between_them_are_answered() -> None:
    app = Journal()
    async with serving_websockets(app) as served:
        client = await served.open()
        await client.send(frame(TEXT, "é".encode()[:1], fin=False) + frame(PING, b"p"))
        assert await client.frame() == Frame(PONG, b"p")
        await client.send(frame(CONTINUATION, "é".encode()[1:], fin=False) + frame(CONTINUATION))
        await client.close()
        await app.ended.wait()
    assert app.contents == ["é"]


async def test_what_came_before_an_error_is_delivered_and_then_the_error_is_told() -> None:
    app = Journal()
    async with serving_websockets(app) as served:
        client = await served.open()
        await client.send(frame(TEXT, b"fine") + frame(TEXT, b"\xff") + frame(TEXT, b"never"))
        code, _ = await client.closed_with()
        await app.ended.wait()
    assert code == 1007
    assert app.contents == ["fine"]
    assert app.disconnect == (1007, "text is not UTF-8")


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (frame(TEXT, b"x" * 1001), 1009),
        (frame(TEXT, b"x" * 600, fin=False) + frame(CONTINUATION, b"x" * 600), 1009),
        (frame(BINARY, b"x" * 2000)[:8], 1009),
        (b"\x81\x01x", 1002),
        (frame(CONTINUATION, b"x"), 1002),
        (frame(3, b"x"), 1002),
    ],
    ids=["frame", "fragments", "announced", "unmasked", "continuation", "opcode"],
)
async def test_a_frame_that_breaks_a_rule_closes_with_its_code(wire: bytes, code: int) -> None:
    app = Journal()
    async with serving_websockets(app, ws_max_size=1000) as served:
        client = await served.open()
        await client.send(frame(TEXT, b"x" * 1000) + wire)
        assert (await client.closed_with())[0] == code
        await app.ended.wait()
    assert (app.contents, app.disconnect[0]) == (["x" * 1000], code)


async def test_with_permessage_deflate_messages_are_compressed_and_understood() -> None:
    async with serving_websockets(echo, ws_per_message_deflate=True) as served:
        client = served.connect()
        offer = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        head = await client.open("/", offer)
        assert b"Sec-WebSocket-Extensions: permessage-deflate" in head
        # RFC 7692 7.2.3.1: "Hello", compressed.
        await client.send(b"\xc1" + frame(TEXT, bytes.fromhex("f248cdc9c90700"))[1:])
        assert (await client.read())[:2] == b"\xc1\x07"


async def test_without_the_setting_compression_is_declined() -> None:
    async with serving_websockets(echo) as served:
        head = await served.connect().open("/", "Sec-WebSocket-Extensions: permessage-deflate")
    assert b"xtensions" not in head


# --- receive() ---


async def test_a_receive_that_is_cancelled_loses_no_message() -> None:
    received: list[str | bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        while len(received) < 200:
            with anyio.move_on_after(0.0007):
                received.append(await hear(receive))
        await say(send, "all")

    async with serving_websockets(app) as served:
        client = await served.open()
        for number in range(200):
            whole = frame(TEXT, b"%d" % number)
            await client.send(whole[:3])
            await anyio.sleep(0.001)
            await client.send(whole[3:])
            if number % 7 == 0:
                await anyio.sleep(0.3)
        assert await client.message() == "all"
    assert received == [str(number) for number in range(200)]


@pytest.mark.parametrize("pause", [0.1, 2 * TICK], ids=["application reads", "reader on demand reads"])
async def test_a_receive_in_a_cancelled_scope_gives_what_is_there_and_loses_nothing(pause: float) -> None:
    received: list[str | bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        polls = 0
        while len(received) < 5 and polls < 100:
            with anyio.move_on_after(0):
                received.append(await hear(receive))
            polls += 1
            await anyio.sleep(pause)
        assert polls > 5
        await say(send, "all")

    async with serving_websockets(app) as served:
        client = await served.open()
        for number in range(5):
            await client.text(str(number))
            await anyio.sleep(1)
        assert await client.message() == "all"
    assert received == ["0", "1", "2", "3", "4"]


async def test_several_tasks_may_receive_and_each_message_goes_to_one_in_the_order_of_asking() -> None:
    received: list[tuple[str, str | bytes]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)

        async def ask(name: str) -> None:
            received.append((name, await hear(receive)))

        async with anyio.create_task_group() as group:
            for name in "abc":
                group.start_soon(ask, name)
                await anyio.sleep(0.1)
        await say(send, "all")

    async with serving_websockets(app) as served:
        client = await served.open()
        await anyio.sleep(1)
        await client.send(b"".join(frame(TEXT, name) for name in (b"1", b"2", b"3")))
        assert await client.message() == "all"
    assert received == [("a", "1"), ("b", "2"), ("c", "3")]


async def test_a_task_that_is_cancelled_while_it_waits_for_its_turn_takes_no_message() -> None:
    received: list[str | bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        async with anyio.create_task_group() as group:

            async def first() -> None:
                received.append(await hear(receive))

            group.start_soon(first)
            await anyio.sleep(0.1)
            with anyio.move_on_after(1):
                await receive()
        received.append(await hear(receive))
        await say(send, "all")

    async with serving_websockets(app) as served:
        client = await served.open()
        await anyio.sleep(3)
        await client.text("one")
        await client.text("two")
        assert await client.message() == "all"
    assert received == ["one", "two"]


async def test_a_child_task_may_receive_while_the_application_sends() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        async with anyio.create_task_group() as group:

            async def back() -> None:
                for _ in range(3):
                    await say(send, await hear(receive))
                    await anyio.sleep(1)
                group.cancel_scope.cancel()

            group.start_soon(back)
            while True:
                await say(send, "tick")
                await anyio.sleep(0.4)

    async with serving_websockets(app) as served:
        client = await served.open()
        for text in ("a", "b", "c"):
            await client.text(text)
        heard = [await client.message() for _ in range(9)]
    assert [text for text in heard if text != "tick"] == ["a", "b", "c"]


# --- fairness ---


async def test_an_application_that_only_sends_lets_others_run() -> None:
    turns = Turns()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        async with counting(turns):
            for _ in range(800):
                await say(send, "x")

    async with serving_websockets(app) as served:
        client = await served.open()
        for _ in range(800):
            assert await client.message() == "x"
    assert turns.count >= 80


@pytest.mark.parametrize(
    "flood", [frame(TEXT, b"x"), frame(PING, b"x"), frame(PONG, b"x")], ids=["text", "ping", "pong"]
)
async def test_a_flood_of_frames_lets_others_run(flood: bytes) -> None:
    app = Journal()
    turns = Turns()

    async with serving_websockets(app) as served:
        client = await served.open(capacity=1_000_000)
        await client.send(flood * 5000)
        async with counting(turns):
            await client.close()
            await app.ended.wait()
    assert turns.count >= 500


def zeros(size: int) -> bytes:
    """A compressed message of so many."""
    deflater = zlib.compressobj(wbits=-12)
    compressed = deflater.compress(bytes(size)) + deflater.flush(zlib.Z_SYNC_FLUSH)
    whole = frame(BINARY, compressed[:-4])
    return bytes([whole[0] | 0x40]) + whole[1:]


async def reads(receive: Receive, send: Send) -> None:
    pass


async def is_busy(receive: Receive, send: Send) -> None:
    await anyio.sleep(5)


async def closes(receive: Receive, send: Send) -> None:
    await send({"type": "websocket.close"})


@pytest.mark.parametrize("before", [reads, is_busy, closes])
@pytest.mark.parametrize(
    ("flood", "least"),
    [(frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 5000, 50), (zeros(500_000) * 20, 15)],
    ids=["empty fragments", "zeros"],
)
async def test_a_flood_that_is_much_to_decode_lets_others_run(flood: bytes, least: int, before: Any) -> None:
    turns = Turns()
    app = Journal(before)

    async with serving_websockets(app, ws_per_message_deflate=True) as served:
        client = served.connect(capacity=1_000_000)
        await client.open("/", "Sec-WebSocket-Extensions: permessage-deflate")
        await client.send(frame(PING) + flood)
        await client.close()
        await client.frame()  # the reading has begun, or is to begin behind our Close
        async with counting(turns):
            await client.is_closed()
    assert turns.count >= least


async def test_a_flood_behind_our_close_lets_others_run() -> None:
    turns = Turns()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)

    async with serving_websockets(app) as served:
        client = await served.open(capacity=4_000_000)
        assert (await client.frame()).opcode == CLOSE
        await client.send(frame(BINARY, b"x" * 60_000) * 60)
        async with counting(turns):
            await client.close()
            assert await client.is_closed()
    assert turns.count >= 50
