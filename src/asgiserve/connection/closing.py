"""Ends of a connection that take more than closing a descriptor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
from anyio import BrokenResourceError, BusyResourceError, ClosedResourceError, EndOfStream, WouldBlock
from anyio.lowlevel import checkpoint

from asgiserve.connection.deadlines import Reason
from asgiserve.connection.fairness import BURST

if TYPE_CHECKING:
    from asgiserve.connection.deadlines import Deadlines
    from asgiserve.connection.service import Service
    from asgiserve.streams import Stream

__all__ = ["Drain", "close_after_drain", "close_at_last", "close_now", "drop_arrived"]

_GOODBYE_SECONDS: Final = 1.0
"""How long TLS's close_notify may take to be sent."""

_DRAIN_SECONDS: Final = 2.0
_DRAIN_BYTES: Final = 8 * 1024 * 1024
"""How long, and how much, a peer that should have nothing more to say may still send before it is cut off."""

_UPLOAD_SECONDS: Final = 60.0
_UPLOAD_QUIET_SECONDS: Final = 5.0
"""How long a peer may go on with an upload that has been answered already, and how long it may pause. Many clients
(http.client, wget, Java's URLConnection) read nothing before they have sent everything, and are told nothing when they
are cut off; Chromium sends the request again. nginx gives 30 s and 5 s; 60 are 100 MB on a line of 15 Mbit/s."""


async def close_now(stream: Stream, *, secure: bool) -> None:
    """Close a connection on which both sides know that nothing more comes."""
    if secure:
        # RFC 8446 6.1: without a close_notify the peer cannot tell the end from a truncation.
        try:
            with anyio.move_on_after(_GOODBYE_SECONDS):
                await stream.send_eof()
        except (BrokenResourceError, ClosedResourceError):
            pass
    await stream.aclose()


def drop_arrived(stream: Stream) -> bool:
    """Read and drop what has arrived by now, within bounds, without waiting; whether that was anything.

    For whoever must close soon: see `close_after_drain` for what unread bytes do.
    """
    dropped = 0
    try:
        while dropped < _DRAIN_BYTES:
            dropped += len(stream.receive_nowait())
    except (WouldBlock, EndOfStream, BrokenResourceError, ClosedResourceError):
        pass
    except BusyResourceError:
        pass  # a task of the application's waits for bytes, so there are none
    return dropped > 0


async def close_at_last(stream: Stream, *, cut: bool) -> None:
    """For the end of the task that owns the stream, which may be cancelled: closes what is not closed yet, without
    waiting. `cut`: something is missing on the wire, and only a reset shows it."""
    if cut:
        stream.abort()
    else:
        drop_arrived(stream)  # or a reset could take the answer away that has just been given
        await stream.aclose()


async def close_after_drain(stream: Stream) -> None:
    """Close after an answer that the peer did not expect yet, so that it can read it.

    Closing a socket with unread bytes makes the kernel send a reset, and the reset makes the peer's kernel
    throw away what it has not read: our answer. So the writing side is closed first, and what the peer still sends
    is read and dropped, within bounds (RFC 9112 9.6).
    """
    try:
        with anyio.move_on_after(_DRAIN_SECONDS):
            await stream.send_eof()
            dropped = 0
            while dropped < _DRAIN_BYTES:
                dropped += len(await stream.receive())
    except (EndOfStream, BrokenResourceError, ClosedResourceError):
        pass
    await stream.aclose()


class Drain:
    """The close of a connection whose peer may be in the middle of an upload that has been answered.

    As `close_after_drain`, but for as long as the upload goes on: RFC 9112 9.6 has the server read until the client has
    surely got the answer. Whoever calls aborts the stream at Reason.DRAIN, and says so when the server stops.
    """

    __slots__ = ("_deadlines", "_service", "_stream", "_until")

    def __init__(self, stream: Stream, deadlines: Deadlines, service: Service) -> None:
        self._stream = stream
        self._deadlines = deadlines
        self._service = service
        self._until = service.clock() + (service.timeouts.linger if service.draining else _UPLOAD_SECONDS)

    async def close(self) -> None:
        """Read and drop until the peer ends its side, then close."""
        parts = 0
        try:
            self._watch()
            await self._stream.send_eof()
            while True:
                await self._stream.receive()
                self._watch()
                parts += 1
                if parts % BURST == 0:
                    await checkpoint()  # fairness: nobody reads this, so nobody else suspends
        except (EndOfStream, BrokenResourceError, ClosedResourceError):
            pass
        finally:
            self._deadlines.disarm(Reason.DRAIN)
        await self._stream.aclose()

    def hurry(self, now: float) -> None:
        """The server stops: no longer than its linger."""
        self._until = min(self._until, now + self._service.timeouts.linger)
        self._watch()

    def _watch(self) -> None:
        self._deadlines.arm(Reason.DRAIN, min(self._until, self._service.clock() + _UPLOAD_QUIET_SECONDS))
