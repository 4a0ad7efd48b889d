"""Small WebSocket applications that the tests of the driver share; no test is in here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable

    from asgiserve.types import Message, Receive, Scope, Send

TICK = 0.25
"""The watcher looks this often: what it does may come this much later."""


async def accept(receive: Receive, send: Send, **more: Any) -> None:
    """Take the connection."""
    assert await receive() == {"type": "websocket.connect"}
    await send({"type": "websocket.accept", **more})


async def say(send: Send, message: str | bytes) -> None:
    """Send a message to the peer."""
    await send({"type": "websocket.send", "text" if isinstance(message, str) else "bytes": message})


async def say_for_ever(send: Send, message: str | bytes, *, pause: float | None = None) -> NoReturn:
    """Send it again and again; ends with the error that `send()` raises."""
    while True:
        await say(send, message)
        if pause is not None:
            await anyio.sleep(pause)


async def hear(receive: Receive) -> str | bytes:
    """Receive the peer's next message; fails if it has left."""
    message = await receive()
    assert message["type"] == "websocket.receive", message
    assert len(message) == 2, "one of text and bytes, not both"
    content: str | bytes = message["text"] if "text" in message else message["bytes"]
    return content


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Send every message back."""
    await accept(receive, send)
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


class Journal:
    """Accepts, does what it was given to do, and notes every message that it receives."""

    def __init__(self, before: Callable[[Receive, Send], Any] | None = None) -> None:
        self.received: list[Message] = []
        self.ended = anyio.Event()
        self.ended_at: float | None = None
        self._before = before

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await accept(receive, send)
            if self._before is not None:
                await self._before(receive, send)
            while not self.received or self.received[-1]["type"] != "websocket.disconnect":
                self.received.append(await receive())
        finally:
            self.ended_at = anyio.current_time()
            self.ended.set()

    @property
    def contents(self) -> list[str | bytes]:
        """The messages of the peer."""
        messages = [one for one in self.received if one["type"] == "websocket.receive"]
        return [one["text"] if "text" in one else one["bytes"] for one in messages]

    @property
    def disconnect(self) -> tuple[int, str]:
        """Code and reason of the end, which has come."""
        assert self.received[-1]["type"] == "websocket.disconnect"
        return self.received[-1]["code"], self.received[-1]["reason"]
