"""An application that says what it was told of the TLS connection, to requests and to WebSockets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.live.applications import lifespan, respond

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    told = json.dumps({"scheme": scope["scheme"], "tls": scope["extensions"].get("tls")})
    if scope["type"] == "http":
        await respond(send, 200, told.encode())
    else:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": told})
        await send({"type": "websocket.close"})
