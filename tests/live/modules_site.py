"""An application that tells which modules its process has imported, and refuses WebSockets."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tests.live.applications import lifespan, respond

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    if scope["type"] == "websocket":
        await send({"type": "websocket.close"})
        return
    await respond(send, 200, "\n".join(sys.modules).encode())
