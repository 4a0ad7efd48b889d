"""The applications that every server is loaded with: raw ASGI, so that the server's own cost is measured.

Those that need a library live in `framework_apps.py` and `events_app.py`. Started by `servers.py` as `apps:hello` and
so on; named in `scenarios.py`. They answer the lifespan, because a server that is refused one may log about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]

GREETING = b"Hello, World!"
CHUNK = bytes(65_536)
CHUNKS = 160
"""10 MiB in all."""

EVENT = b"data: %-56b\n\n" % b'{"kind": "price", "of": "tea", "is": 3.20}'
"""64 bytes: its length in hexadecimal has no letter, which servers write in different cases."""


async def hello(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answer 13 bytes of text."""
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    await send(start(b"text/plain", len(GREETING)))
    await send({"type": "http.response.body", "body": GREETING})


async def echo(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answer what was posted."""
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    message = await receive()
    body = message["body"]
    while message["more_body"]:
        message = await receive()
        body += message["body"]
    await send(start(b"application/json", len(body)))
    await send({"type": "http.response.body", "body": body})


async def count(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answer how many bytes were posted, and keep none of them."""
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message["body"])
        more = message["more_body"]
    answer = b"%d" % size
    await send(start(b"text/plain", len(answer)))
    await send({"type": "http.response.body", "body": answer})


async def download(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answer 10 MiB, 64 KiB at a time."""
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    await send(start(b"application/octet-stream", CHUNKS * len(CHUNK)))
    for _ in range(CHUNKS):
        await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def ws_echo(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Send every message back, as plainly as can be."""
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


async def ws_broadcast(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Send every message to everybody."""
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    await receive()
    # Before the accept, so that whoever has seen the accept gets every message from then on.
    _everybody.add(send)
    try:
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            outgoing = {**message, "type": "websocket.send"}
            for one in list(_everybody):
                await one(outgoing)
    finally:
        _everybody.discard(send)


_everybody: set[Send] = set()


def start(content_type: bytes, length: int) -> dict[str, Any]:
    """The first message of a response."""
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % length)]
    return {"type": "http.response.start", "status": 200, "headers": headers}


async def live(receive: Receive, send: Send) -> None:
    """Start up and shut down."""
    for step in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{step}.complete"})
