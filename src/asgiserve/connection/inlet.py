"""The reading end of a connection while an exchange goes on: one reader at a time, a deadline where the peer owes us
bytes, and waits that others can end.

Exchanges read here, on behalf of the application's `receive()`. Between exchanges the driver reads the stream itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream

from asgiserve.connection.deadlines import TICK, Reason
from asgiserve.connection.turn import Turn

if TYPE_CHECKING:
    from asgiserve.connection.deadlines import Deadlines
    from asgiserve.connection.service import Service
    from asgiserve.protocols.http1 import Http1Codec
    from asgiserve.streams import Stream

__all__ = ["Inlet"]

READ_AHEAD: Final = 65_536
"""Bytes of pipelined requests that are kept while an application waits for a disconnect; then reading stops."""


class Inlet:
    """Reads one connection's stream into its codec."""

    __slots__ = ("_codec", "_deadlines", "_reading", "_service", "_stream", "_waiting", "turn")

    def __init__(self, stream: Stream, codec: Http1Codec, deadlines: Deadlines, service: Service) -> None:
        self._stream = stream
        self._codec = codec
        self._deadlines = deadlines
        self._service = service
        self._reading = False
        self._waiting: anyio.Event | None = None
        """Set when somebody is to stop waiting although nothing is read."""
        self.turn = Turn()
        """Taken while somebody reads."""

    def wake(self) -> None:
        """End the wait of whoever reads: it has read nothing."""
        if self._reading:
            self._stream.interrupt()
        elif self._waiting is not None:
            self._waiting.set()

    def poll_soon(self) -> None:
        """Ask at the watcher's next tick whether the peer has gone."""
        self._deadlines.arm(Reason.POLL, self._service.clock() + TICK)

    async def read_body(self) -> bool:
        """Feed the codec once, within the time that a peer has for it. False: the peer has ended its side."""
        deadlines, service = self._deadlines, self._service
        deadlines.arm(Reason.BODY, service.clock() + service.timeouts.body)
        try:
            return await self._read()
        finally:
            deadlines.disarm(Reason.BODY)

    async def read_ahead(self) -> bool:
        """Wait for the peer's end, keeping the requests that come before it. False: it has come."""
        if self._codec.buffered < READ_AHEAD:
            return await self._read()
        # The watcher asks for the peer's FIN instead of a read that would find it.
        self.poll_soon()
        self._waiting = anyio.Event()
        try:
            await self._waiting.wait()
        finally:
            self._waiting = None
            if not self._service.http.cancel_on_disconnect:
                # The answer would come to the next exchange, which has not asked.
                self._deadlines.disarm(Reason.POLL)
        return True

    async def _read(self) -> bool:
        self._reading = True
        try:
            data = await self._stream.receive()
        except (EndOfStream, BrokenResourceError, ClosedResourceError):
            return False
        finally:
            self._reading = False
        if data:  # not interrupted
            self._codec.receive_data(data)
        return True
