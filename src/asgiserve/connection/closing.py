"""Ends of a connection that take more than closing a descriptor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
from anyio import BrokenResourceError, BusyResourceError, ClosedResourceError, EndOfStream, WouldBlock

if TYPE_CHECKING:
    from asgiserve.streams import Stream

__all__ = ["close_after_drain", "close_at_last", "close_now", "drop_arrived"]

_GOODBYE_SECONDS: Final = 1.0
"""How long TLS's close_notify may take to be sent."""

_DRAIN_SECONDS: Final = 2.0
_DRAIN_BYTES: Final = 8 * 1024 * 1024
"""How long, and how much, a peer may still send after our last answer before it is cut off."""


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
