"""The receiving side of a WebSocket: `receive()`, and the reader that takes its place where the application is busy.

`receive()` pulls: the application's own task reads the stream and parses, without a task switch for a message. But
pings want answers, and a peer may leave, whatever the application does. So when nobody has read for a tick, a task of
its own reads ahead, until the inbox is full or the application asks again. The first time it does so at once: who
accepts and goes elsewhere may never ask. A full inbox stops the reading, and with it the peer.

    the application reads ──it goes away──► (a tick) ──► the reader on demand ──the inbox is full──► nobody reads
             ▲                                                 │                                          │
             └────────────────────────────── receive() ◄───────┴──────────────────────────────────────────┘

One of them reads at a time (`turn`); `Stream.interrupt` makes the other look up. Made by `websocket.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from anyio.lowlevel import checkpoint

from asgiserve.asgi.websocket import disconnect
from asgiserve.backend import ki_protected
from asgiserve.connection.deadlines import TICK, Reason
from asgiserve.connection.fairness import BURST
from asgiserve.connection.turn import Turn
from asgiserve.connection.websocket_inbox import Inbox
from asgiserve.connection.websocket_phase import CONNECTING, ENDED, OPEN
from asgiserve.errors import WebSocketError
from asgiserve.events import NEED_DATA
from asgiserve.protocols.websocket import MORE, Close, Ping

if TYPE_CHECKING:
    from asgiserve.connection.websocket import WebSocket
    from asgiserve.protocols.websocket import Event
    from asgiserve.types import Message

__all__ = ["Receiving"]

_MAX_EARLY: Final = 65_536
"""Bytes that are kept of a peer that sends before it is accepted; then reading stops."""


class Receiving:
    """What comes from one peer."""

    __slots__ = (
        "_changed",
        "_connect_given",
        "_disconnects",
        "_inbox",
        "_reader_due",
        "_reads_ahead",
        "_reads_soon",
        "_socket",
        "_stalled",
        "early",
        "turn",
    )

    def __init__(self, socket: WebSocket, early: bytes) -> None:
        settings = socket.service.websockets
        self._socket = socket
        self._inbox = Inbox(settings.ws_max_queue, settings.ws_max_size)
        self._connect_given = False
        self._disconnects = 0
        self._reader_due = False
        self._reads_soon = True
        """The reader on demand has not been asked for yet."""
        self._reads_ahead = False
        """The turn is the reader's on demand."""
        self._stalled = False
        """The inbox is full, and nobody reads."""
        self._changed: anyio.Event | None = None
        """What a `receive()` waits for that may not read more before the acceptance."""
        self.early = bytearray(early)
        """What came with the handshake and before the acceptance."""
        self.turn = Turn()
        """Taken by whoever reads the stream."""

    # --- the application reads ---

    async def receive(self) -> Message:
        """ASGI's `receive()`. A call that is cancelled has lost nothing."""
        socket, turn = self._socket, self.turn
        if socket.phase is not OPEN or turn.taken or self._inbox or socket.streak >= BURST:
            ready = await self._prepare()
            if ready is not None:
                return ready
        else:
            turn.taken = True
        socket.streak += 1
        try:
            while socket.phase is OPEN:
                event = socket.codec.next_event()
                if event is NEED_DATA:
                    socket.codec.receive_data(await socket.stream.receive())
                    socket.heartbeat.heard = True
                    continue
                kind = type(event)
                if kind is str:
                    return {"type": "websocket.receive", "text": event}
                if kind is bytes:
                    return {"type": "websocket.receive", "bytes": event}
                await self._take_control(event)
        except WebSocketError as error:
            socket.close(error.code, error.reason, wait=False)
        except (EndOfStream, BrokenResourceError, ClosedResourceError):
            socket.end(1006)
        finally:
            turn.free()
            if not socket.stepping:
                # A child task of the application reads, and nobody else sees it go away.
                self.expect_reader()
        return await self._disconnected()

    async def _prepare(self) -> Message | None:
        """What is there without reading; None if nothing is: then the turn is ours."""
        socket, turn = self._socket, self.turn
        if not self._connect_given:
            self._connect_given = True
            return {"type": "websocket.connect"}
        if socket.streak >= BURST:
            socket.streak = 0
            await checkpoint()
        if socket.phase is ENDED:
            return self._take() if self._inbox else await self._disconnected()
        if turn.taken:
            if self._reads_ahead:
                if self._inbox and not turn.wanted:
                    return self._take()  # without a wait: a cancelled one would leave it there, each time it is asked
                socket.stream.interrupt()
            await turn.take()
        else:
            turn.taken = True
        try:
            while socket.phase is CONNECTING:
                await self._await_opening()
        except BaseException:
            turn.free()
            raise
        if not self._inbox:
            return None
        turn.free()
        return self._take()

    def _take(self) -> Message:
        message = self._inbox.take()
        socket = self._socket
        if self._stalled:
            self._stalled = False
            if socket.phase is OPEN:
                socket.heartbeat.start()
        if not socket.stepping:
            self.expect_reader()
        return {"type": "websocket.receive", "text" if isinstance(message, str) else "bytes": message}

    async def _await_opening(self) -> None:
        """The application listens before it has accepted: only the peer's end can come, or the acceptance."""
        socket = self._socket
        if len(self.early) >= _MAX_EARLY:
            self._changed = anyio.Event()
            await self._changed.wait()
            return
        try:
            data = await socket.stream.receive()
        except (EndOfStream, BrokenResourceError, ClosedResourceError):
            socket.end(1006)
            return
        if socket.phase is OPEN:  # accepted by another task in this moment
            socket.codec.receive_data(data)
        else:
            self.early += data

    def kept_text(self) -> str:
        """For people: what waits for the application; nothing, if nothing does."""
        count = len(self._inbox)
        if not count:
            return ""
        stopped = ", and reading has stopped" if self._stalled else ""
        return f"; {count} message{'s' * (count != 1)} not received by the application{stopped}"

    @property
    def told(self) -> bool:
        """The application has been given its disconnect."""
        return self._disconnects > 0

    async def _disconnected(self) -> Message:
        # A loop that calls receive() until something else comes must not hold the event loop for ever.
        if self._disconnects >= 2:
            await checkpoint()
        self._disconnects += 1
        return disconnect(*self._socket.over)

    # --- somebody else reads ---

    def expect_reader(self) -> None:
        """Nobody reads. If that is still so at the watcher's next tick, somebody is to; at once, the first time."""
        socket = self._socket
        if self._reader_due or socket.phase is not OPEN:
            return
        if self._reads_soon:
            self._reads_soon = False
            socket.service.spawn(self._read_ahead)
        else:
            self._reader_due = True
            socket.deadlines.arm(Reason.READER, socket.service.clock() + TICK)

    def read_if_nobody_does(self) -> None:
        """What the watcher calls at that tick."""
        socket = self._socket
        self._reader_due = False
        if socket.phase is not OPEN or self.turn.taken:
            return
        if self._inbox.full:
            self._end_if_lost()
        else:
            socket.service.spawn(self._read_ahead)

    def _end_if_lost(self) -> None:
        """The inbox is full: nobody will ever read the end of a peer that is known to be lost."""
        if self._socket.outlet.broken:
            self._socket.end(1006)

    def wake(self) -> None:
        """Let whoever waits look at the phase again."""
        self._socket.stream.interrupt()
        if self._changed is not None:
            self._changed.set()

    @ki_protected
    async def _read_ahead(self) -> None:
        """Read into the inbox until it is full, the WebSocket ends, or the application wants to read."""
        socket, turn, inbox = self._socket, self.turn, self._inbox
        if turn.taken:
            return
        turn.taken = self._reads_ahead = True
        try:
            while socket.phase is OPEN and not inbox.full and not turn.wanted:
                event = socket.codec.next_event()
                if event is NEED_DATA:
                    data = await socket.stream.receive()
                    if data:
                        socket.codec.receive_data(data)
                        socket.heartbeat.heard = True
                elif isinstance(event, (str, bytes)):
                    inbox.put(event)
                else:
                    await self._take_control(event)
        except WebSocketError as error:
            socket.close(error.code, error.reason, wait=False)
        except (EndOfStream, BrokenResourceError, ClosedResourceError):
            socket.end(1006)
        finally:
            self._reads_ahead = False
            turn.free()
        if inbox.full:
            # Its own slowness must not look like the peer's: nobody will read a pong.
            self._stalled = True
            socket.heartbeat.stop()
            self._end_if_lost()
        else:
            self.expect_reader()

    async def _take_control(self, event: Event) -> None:
        socket = self._socket
        if isinstance(event, Ping):
            socket.controls.pong(socket.codec.pong(event.payload))
        elif isinstance(event, Close):
            # RFC 6455 5.5.1: the answer has the peer's code. And its reason: a browser shows the page what it receives.
            socket.end(event.code, event.reason, last=socket.codec.close(event.code, event.reason))
        elif event is MORE:
            socket.streak = BURST
        socket.streak += 1
        if socket.streak > BURST:
            socket.streak = 0
            await checkpoint()
