"""A server's frames as bytes (RFC 6455 5.2): unmasked, not fragmented, the length in as few bytes as it takes. Used
by the codec, which knows what is in them.
"""

from __future__ import annotations

from typing import Final

from asgiserve.errors import LocalProtocolError

__all__ = ["MAX_SHORT", "control_frame", "frame_buffers", "header"]

MAX_SHORT: Final = 125
"""The largest payload whose length stands in the header's second byte; control frames have no larger ones."""

_JOIN_UP_TO: Final = 65_536
"""Payloads up to this size are joined with their header into one buffer: the copy costs less than one more
system call."""


def header(first: int, size: int) -> bytes:
    """The header of a frame, with this first byte and a payload of this size."""
    if size <= MAX_SHORT:
        return bytes((first, size))
    if size <= 65_535:
        return bytes((first, 126)) + size.to_bytes(2)
    return bytes((first, 127)) + size.to_bytes(8)


def frame_buffers(first: int, payload: bytes) -> tuple[bytes, ...]:
    """A frame in one buffer, or in two if its payload is too large to copy."""
    size = len(payload)
    if size <= _JOIN_UP_TO:
        return (header(first, size) + payload,)
    return header(first, size), payload


def control_frame(first: int, payload: bytes) -> bytes:
    """Raises LocalProtocolError for a payload that no control frame may have."""
    if len(payload) > MAX_SHORT:
        raise LocalProtocolError("a control frame has at most 125 bytes (RFC 6455 5.5)")
    return header(first, len(payload)) + payload
