"""The end of a WebSocket's connection: the last bytes, the peer's Close frame, then the stream.

Run by the driver's own task when the application has ended first, by a task of its own when the application goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from anyio.lowlevel import checkpoint

from asgiserve.backend import ki_protected
from asgiserve.connection.closing import close_after_drain, close_at_last
from asgiserve.errors import WebSocketError
from asgiserve.events import NEED_DATA
from asgiserve.protocols.websocket import MORE, Close

if TYPE_CHECKING:
    from asgiserve.connection.websocket import WebSocket

__all__ = ["finish"]


@ki_protected
async def finish(socket: WebSocket) -> None:
    """Close the connection of a WebSocket, which ends with that at the latest. `timeout_ws_close` bounds all of it."""
    outlet, stream = socket.outlet, socket.stream
    socket.end(1006)  # a refusal that is cut short has not been one yet
    try:
        await socket.controls.flush_last()
        turn = socket.receiving.turn
        await turn.take()
        try:
            if socket.awaits_close and not outlet.broken:
                await _await_close(socket)
        finally:
            turn.free()
        if not outlet.broken:
            # RFC 6455 7.1.1: end our side, read what the peer still sends, close.
            await close_after_drain(stream)
    finally:
        socket.deadlines.disarm_all()
        await close_at_last(stream, cut=outlet.broken)
        socket.service.release(socket)
        socket.finished = True
        if socket.returned:
            socket.part()


async def _await_close(socket: WebSocket) -> None:
    """Read until the peer's Close frame, and drop what comes before it: the application wants no more."""
    try:
        while True:
            event = socket.codec.next_event()
            if isinstance(event, Close):
                return
            if event is MORE or event is NEED_DATA:
                await checkpoint()
            if event is NEED_DATA:
                socket.codec.receive_data(await socket.stream.receive())
    except (WebSocketError, EndOfStream, BrokenResourceError, ClosedResourceError):
        pass
