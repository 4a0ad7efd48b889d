"""WebSocket applications in plain ASGI; those for processes say on stderr how far they are."""

from __future__ import annotations

import itertools
import json
import threading
from typing import TYPE_CHECKING, Any

import anyio

from tests.live.applications import lifespan
from tests.live.saying import say
from tests.live.servers import PATIENCE

if TYPE_CHECKING:
    from asgiserve.types import Message, Receive, Scope, Send

__all__ = ["Ended", "accepted", "deaf", "echo", "endless", "reporting_echo", "stubborn", "told"]


async def accepted(receive: Receive, send: Send, **more: Any) -> None:
    """Take the connection."""
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept", **more})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends every message back."""
    if scope["type"] != "websocket":
        raise NotImplementedError
    await accepted(receive, send)
    await _echo(receive, send)


async def reporting_echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends every message back, and says when it begins and how it ends."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    await accepted(receive, send)
    say("websocket: open")
    _say_end(await _echo(receive, send))


async def told(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends the scope as JSON, waits for a message, and returns."""
    if scope["type"] != "websocket":
        raise NotImplementedError
    chosen = next(iter(scope["subprotocols"]), None)
    fields = [(b"x-chosen", b"1"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    await accepted(receive, send, subprotocol=chosen, headers=fields)
    known = {name: value for name, value in scope.items() if name not in ("state", "extensions")}
    await send({"type": "websocket.send", "text": json.dumps(known, default=bytes.decode)})
    await receive()


async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
    """Hears that it is over, and goes on."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    await accepted(receive, send)
    say("websocket: open")
    try:
        _say_end(await receive())
        await anyio.sleep_forever()
    finally:
        say("websocket: cancelled")


async def deaf(scope: Scope, receive: Receive, send: Send) -> None:
    """Neither listens nor speaks."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    await accepted(receive, send)
    say("websocket: open")
    try:
        await anyio.sleep_forever()
    finally:
        say("websocket: cancelled")


async def endless(scope: Scope, receive: Receive, send: Send) -> None:
    """Speaks every hundredth of a second, and never listens."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    await accepted(receive, send)
    say("websocket: open")
    try:
        for number in itertools.count():
            await send({"type": "websocket.send", "text": str(number)})
            await anyio.sleep(0.01)
    except OSError as error:
        say(f"websocket: {type(error).__name__}")


class Ended:
    """An application that accepts, and keeps the message that ended it."""

    def __init__(self) -> None:
        self.message: Message = {}
        self.done = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            raise NotImplementedError
        await accepted(receive, send)
        while (message := await receive())["type"] != "websocket.disconnect":
            await send({**message, "type": "websocket.send"})
        self.message = message
        self.done.set()

    def wait(self) -> Message:
        assert self.done.wait(PATIENCE)
        return self.message


async def _echo(receive: Receive, send: Send) -> Message:
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})
    return message


def _say_end(message: Message) -> None:
    say(f"websocket: {message['code']} {message.get('reason')!r}")
