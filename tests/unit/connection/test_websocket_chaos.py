"""Applications and peers that do anything at any time: no message is lost, nobody hangs, and nothing is left behind.

What they do follows from a seed, so a failure can be repeated; on trio, which runs ready tasks in no certain order, at
times only after some tries.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asgiserve.errors import ClientDisconnected
from tests.support.websocket import (
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    close_frame,
    frame,
    serving_websockets,
)
from tests.unit.connection.applications import errors_in
from tests.unit.connection.websocket_applications import accept, say

if TYPE_CHECKING:
    from asgiserve.types import Message, Receive, Scope, Send
    from tests.support.websocket import WebSocketClient

pytestmark = pytest.mark.anyio

PAUSES = (0, 0.001, 0.1, 0.26, 0.6, 3)
GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)

seeds = pytest.mark.parametrize("seed", range(40))


class Fate:
    """What happens next."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self.choice = self._random.choice
        self.below = self._random.randrange

    def happens(self, probability: float) -> bool:
        return self._random.random() < probability

    async def pause(self, probability: float) -> None:
        if self.happens(probability):
            await anyio.sleep(self.choice(PAUSES))


class Peer:
    """A client that answers what it should, and splits its frames."""

    def __init__(self, client: WebSocketClient, fate: Fate, *, reliable: bool) -> None:
        self.codes: list[int | None] = []
        self._client = client
        self._fate = fate
        self._reliable = reliable
        self._lock = anyio.Lock()

    async def send(self, wire: bytes) -> None:
        async with self._lock:
            cut = self._fate.below(len(wire))
            await self._client.send(wire[:cut])
            await self._fate.pause(0.2)
            await self._client.send(wire[cut:])

    async def end(self) -> None:
        """End the client's side, behind what is being sent: `read` may be in the middle of an answer."""
        async with self._lock:
            await self._client.stream.send_eof()

    async def read(self) -> None:
        try:
            while True:
                one = await self._client.frame()
                if one.opcode == PING and (self._reliable or self._fate.happens(0.9)):
                    await self.send(frame(PONG, one.payload))
                elif one.opcode == CLOSE:
                    self.codes.append(one.code)
                    if self._reliable or self._fate.happens(0.8):
                        await self.send(frame(CLOSE, one.payload))
                if not self._reliable:
                    await self._fate.pause(0.1)
        except GONE:
            pass


async def settled(served: Any, client: WebSocketClient) -> None:
    """Everything ends by itself, or at the latest when the peer has gone; and nothing is left of it."""
    service = served.server._stopping._service
    await anyio.sleep(500)
    client.stream.abort()
    await anyio.sleep(100)
    assert (service.tasks, service.in_flight) == (0, 0)
    assert (service.connections, service.lingering) == (set(), set())


# --- whoever receives ---


def receiving(fate: Fate, received: list[Message]) -> Any:
    """Receives in one of several ways, slowly or not, until the end."""
    style = fate.choice(["inline", "child", "two children", "with timeouts", "polling"])

    async def take(receive: Receive) -> bool:
        received.append(await receive())
        return bool(received[-1]["type"] == "websocket.receive")

    async def loop(receive: Receive, send: Send) -> None:
        more: bool | None = True
        while more is not False:
            if style in ("with timeouts", "polling"):
                more = None
                with anyio.move_on_after(0 if style == "polling" else fate.choice([0, 0.0005, 0.05, 1])):
                    more = await take(receive)
                if style == "polling":
                    await anyio.sleep(fate.choice([0.001, 0.1, 0.4]))
            else:
                more = await take(receive)
            await fate.pause(0.3)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        if "child" not in style:
            await loop(receive, send)
        else:
            async with anyio.create_task_group() as group:
                for _ in range(2 if style == "two children" else 1):
                    group.start_soon(loop, receive, send)
        await fate.pause(0.5)

    return app


@seeds
async def test_every_message_is_received_once_however_it_comes_and_is_asked_for(
    seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    fate, received = Fate(seed), list[Any]()
    count, ending = fate.below(60), fate.choice(["close", "eof"])
    settings = {"ws_max_queue": fate.choice([1, 2, 5, 32]), "ws_ping_interval": fate.choice([0, 0.3, 1, 20])}
    async with serving_websockets(receiving(fate, received), **settings) as served:
        client = await served.open(capacity=fate.choice([200, 5000, 65_536]))
        peer = Peer(client, fate, reliable=True)
        async with anyio.create_task_group() as group:
            group.start_soon(peer.read)
            for number in range(count):
                text = b"%d " % number + b"y" * fate.choice([0, 10, 200, 5000])
                if fate.happens(0.2):
                    await peer.send(frame(TEXT, text[:2], fin=False) + frame(PING) + frame(CONTINUATION, text[2:]))
                else:
                    await peer.send(frame(TEXT, text))
                await fate.pause(0.3)
            await (peer.send(close_frame(4000, "bye")) if ending == "close" else peer.end())
            await settled(served, client)
            group.cancel_scope.cancel()
    numbers = [int(one["text"].split()[0]) for one in received if one["type"] == "websocket.receive"]
    assert sorted(numbers) == list(range(count))
    ends = {(one["code"], one["reason"]) for one in received if one["type"] == "websocket.disconnect"}
    assert ends == {(4000, "bye") if ending == "close" else (1006, "")}
    assert not errors_in(caplog)


# --- whoever sends ---


def sending(fate: Fate, ends: set[tuple[int, str]]) -> Any:
    """Sends from several tasks, cancels some of it, closes at times, and may receive meanwhile or not."""

    async def send_some(receive: Receive, send: Send) -> None:
        try:
            for _ in range(fate.below(30)):
                if fate.happens(0.1):
                    with anyio.move_on_after(fate.choice([0, 0.1, 1])):
                        await say(send, b"z" * fate.choice([10, 30_000]))
                elif fate.happens(0.05):
                    await send({"type": "websocket.close", "code": 4000})
                else:
                    await say(send, b"x" * fate.choice([1, 100, 3000, 100_000]))
                await fate.pause(0.3)
        except ClientDisconnected:
            pass

    async def receive_all(receive: Receive, send: Send) -> None:
        message = await receive()
        while message["type"] != "websocket.disconnect":
            await fate.pause(0.2)
            message = await receive()
        ends.add((message["code"], message["reason"]))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        async with anyio.create_task_group() as group:
            for _ in range(fate.below(4)):
                group.start_soon(send_some, receive, send)
            if fate.happens(0.5):
                group.start_soon(receive_all, receive, send)
        await fate.pause(0.5)

    return app


@seeds
async def test_whatever_both_sides_do_the_websocket_ends_once_and_nothing_is_left(
    seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    fate, ends = Fate(seed), set[tuple[int, str]]()
    settings = {
        "ws_max_queue": fate.choice([1, 2, 32]),
        "ws_ping_interval": fate.choice([0, 0.3, 1, 20]),
        "ws_ping_timeout": fate.choice([0, 0.3, 20]),
        "timeout_ws_close": fate.choice([1, 5]),
        "timeout_write": fate.choice([2, 30]),
    }
    async with serving_websockets(sending(fate, ends), **settings) as served:
        client = await served.open(capacity=fate.choice([200, 5000, 65_536]))
        peer = Peer(client, fate, reliable=False)

        async def misbehave() -> None:
            try:
                for _ in range(fate.below(60)):
                    await peer.send(frame(fate.choice([TEXT, PING, PONG]), b"a" * fate.choice([0, 10, 100])))
                    await fate.pause(0.3)
                match fate.choice(["close", "abort", "eof", "stop", "bad frame", "nothing"]):
                    case "close":
                        await peer.send(close_frame(4001))
                    case "abort":
                        client.stream.abort()
                    case "eof":
                        await peer.end()
                    case "stop":
                        served.server.stop()
                    case "bad frame":
                        await peer.send(frame(3))
            except GONE:
                pass

        async with anyio.create_task_group() as group:
            group.start_soon(misbehave)
            if fate.happens(0.8):
                group.start_soon(peer.read)
            await settled(served, client)
            group.cancel_scope.cancel()
    assert len(ends) <= 1
    assert len(peer.codes) <= 1
    assert set(peer.codes) <= {1000, 1002, 1011, 1012, 4000, 4001}
    assert not errors_in(caplog)
