"""Ends of a connection that take more than closing a descriptor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream

if TYPE_CHECKING:
    from asgiserve.streams import Stream

__all__ = ["close_after_drain", "close_now"]

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
