"""The sending side of a WebSocket: `send()`, from the acceptance or the refusal to the last message.

Messages of several tasks take turns, and one whose turn has not come can be cancelled without harm. What `send()`
raises tells the application that nothing more can be sent; what else the peer has said it still receives. Made by
`websocket.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from anyio.lowlevel import checkpoint

from asgiserve.asgi.websocket import CLOSED, CONNECTING, DENYING, OPEN, Acceptance, Closing, WebSocketMessages
from asgiserve.connection.fairness import BURST
from asgiserve.connection.outlet import ALL
from asgiserve.connection.turn import Turn
from asgiserve.errors import ClientDisconnected
from asgiserve.events import BodyChunk, ResponseHead

if TYPE_CHECKING:
    from asgiserve.asgi.websocket import WebSocketEvent
    from asgiserve.connection.websocket import WebSocket
    from asgiserve.connection.websocket_receiving import Receiving
    from asgiserve.types import Message

__all__ = ["Sending"]


class Sending:
    """What goes to one peer."""

    __slots__ = ("_messages", "_receiving", "_socket", "_turn")

    def __init__(self, socket: WebSocket, receiving: Receiving) -> None:
        self._socket = socket
        self._receiving = receiving
        self._messages = WebSocketMessages()
        self._turn = Turn()

    @property
    def closed(self) -> bool:
        """Whether the application can send nothing more."""
        return self._messages.state is CLOSED

    def close(self) -> None:
        """Whatever the application still sends comes too late."""
        self._messages.state = CLOSED

    async def send(self, message: Message) -> None:
        """ASGI's `send()`. Raises LocalProtocolError, and ClientDisconnected once the WebSocket is closed."""
        event = self._messages.advance(message)
        kind = type(event)
        if kind is not str and kind is not bytes:
            await self._send_rare(event)
            return
        socket, turn = self._socket, self._turn
        outlet = socket.outlet
        if turn.taken or outlet.turn.taken:
            await self._wait_for_turn()
        else:
            turn.taken = True
        if self._messages.state is not OPEN:  # closed while this one waited
            turn.free()
            raise ClientDisconnected("websocket.send: the WebSocket is closed")
        try:
            if kind is str:
                frame = socket.codec.text(event)  # type: ignore[arg-type]
                taken = outlet.write_nowait(frame)
                written = taken is ALL or await outlet.write_rest(taken, frame)
            else:
                written = await outlet.write(*socket.codec.binary(event))  # type: ignore[arg-type]
        except BaseException:
            if socket.outlet.broken:
                socket.cut()  # half a frame is on the wire, and the rest will never come
            raise
        finally:
            turn.free()
        if not written:
            self._lose_peer()
        socket.streak += 1
        if socket.streak > BURST:
            # Fairness: an application that only ever sends lets others run.
            socket.streak = 0
            await checkpoint()

    async def _wait_for_turn(self) -> None:
        """Wait for the messages in front, and for a pong that is half way out. A message that is cancelled here has not
        been there: not even the compressor has seen it."""
        await self._turn.take()
        try:
            await self._socket.outlet.wait_idle()
        except BaseException:
            self._turn.free()
            raise

    async def _send_rare(self, event: WebSocketEvent) -> None:
        if isinstance(event, Acceptance):
            await self._accept(event)
        elif isinstance(event, Closing):
            if self._messages.state is CONNECTING:
                self._socket.refuse(403)
            else:
                self._socket.close(event.code, event.reason)
            await checkpoint()
        elif isinstance(event, ResponseHead):
            self._socket.begin_denial(event)
            self._messages.state = DENYING
            await checkpoint()
        elif isinstance(event, BodyChunk):
            await self._deny(event)

    async def _accept(self, acceptance: Acceptance) -> None:
        socket = self._socket
        answer = socket.accept(acceptance)
        self._messages.state = OPEN
        if not await self._write_answer(answer):
            self._lose_peer()

    async def _deny(self, chunk: BodyChunk) -> None:
        socket = self._socket
        if not await self._write_answer(*socket.opening.denial_body(chunk)):
            socket.end(1006)
            self._lose_peer()
        if not chunk.more:
            socket.end(1006)
        await checkpoint()

    async def _write_answer(self, *buffers: bytes) -> bool:
        """Write something of the answer to the handshake. False: the peer is gone."""
        socket = self._socket
        try:
            return await socket.outlet.write(*buffers)
        except BaseException:
            if socket.outlet.broken:
                socket.cut()  # half an answer is on the wire, and the rest will never come
            raise

    def _lose_peer(self) -> NoReturn:
        """Writing has failed. What the peer said before it left may still be unread: whoever reads finds it."""
        self.close()
        self._receiving.expect_reader()
        raise ClientDisconnected("the peer has closed or lost the connection")
