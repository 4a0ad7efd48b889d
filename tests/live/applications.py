"""Applications in plain ASGI: those that several live tests serve, and those served by import string."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

import anyio

from tests.live.saying import say

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send

BLOCK: Final = bytes(range(256)) * 256
"""64 KiB in which a byte that is lost or doubled shifts all others."""


async def respond(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def lifespan(receive: Receive, send: Send) -> None:
    """A lifespan that says on stderr how far it is."""
    await receive()
    say("lifespan: started")
    await send({"type": "lifespan.startup.complete"})
    await receive()
    say("lifespan: stopped")
    await send({"type": "lifespan.shutdown.complete"})


async def report(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what it was sent: head, and size and hash of the body."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    size, digest, more = 0, hashlib.sha256(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        digest.update(message["body"])
        more = message["more_body"]
    await respond(send, 200, json.dumps({**_head(scope), "size": size, "sha256": digest.hexdigest()}).encode())


def _head(scope: Scope) -> dict[str, Any]:
    return {
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode(),
        "http_version": scope["http_version"],
        "client": scope["client"],
        "headers": {name.decode(): value.decode("latin-1") for name, value in scope["headers"]},
    }


async def blocks(scope: Scope, receive: Receive, send: Send) -> None:
    """Streams 10 MiB in blocks; at /whole it is one message with a Content-Length."""
    if scope["type"] != "http":
        raise NotImplementedError
    if scope["path"] == "/whole":
        await respond(send, 200, BLOCK * 160)
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(160):
        await send({"type": "http.response.body", "body": BLOCK, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def too_large(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuses every body without reading it."""
    if scope["type"] != "http":
        raise NotImplementedError
    await respond(send, 413, b"too much")


async def whole_body(scope: Scope, receive: Receive, send: Send) -> None:
    """Says that it was entered, and answers when the last byte of the request's body is here."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    say("request: entered")
    message = await receive()
    while message["type"] == "http.request" and message["more_body"]:
        message = await receive()
    await respond(send, 200, message["type"].encode())


async def stuck(scope: Scope, receive: Receive, send: Send) -> None:
    """Never listens and never answers; says when it is cancelled."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    say("request: entered")
    try:
        await anyio.sleep_forever()
    finally:
        say("request: cancelled")


async def never_starts(scope: Scope, receive: Receive, send: Send) -> None:
    """Its startup does not end."""
    say("lifespan: entered")
    await anyio.sleep_forever()


async def fails_to_start(scope: Scope, receive: Receive, send: Send) -> None:
    """Its startup fails."""
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


async def swallows_cancellation(scope: Scope, receive: Receive, send: Send) -> None:
    """Goes on for ever, whatever it is told."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    say("request: entered")
    while True:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            pass


async def fails_to_stop(scope: Scope, receive: Receive, send: Send) -> None:
    """Its shutdown fails."""
    await _until_shutdown(receive, send)
    await send({"type": "lifespan.shutdown.failed", "message": "no database"})


async def stops_too_slowly(scope: Scope, receive: Receive, send: Send) -> None:
    """Its shutdown does not end."""
    await _until_shutdown(receive, send)
    await anyio.sleep_forever()


async def _until_shutdown(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
