"""The payload of a Close frame (RFC 6455 5.5.1, 7.4): reading the peer's, writing ours. Used by the codec.

Not wsproto's reading, which refuses 1014: that code was registered after wsproto's list was written.
"""

from __future__ import annotations

from typing import Final

from asgiserve.errors import LocalProtocolError, WebSocketError
from asgiserve.protocols.websocket.events import Close

__all__ = ["close_payload", "read_close"]

_NO_CODE: Final = 1005
_MAX_REASON: Final = 123
"""A control frame has at most 125 bytes, and the code takes two."""

_CODES: Final = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})
"""What may stand on the wire: the registered codes (IANA, WebSocket Close Code Number Registry), but for those
that only say what happened (1005, 1006, 1015), and the ranges for libraries and applications."""


def read_close(payload: bytes) -> Close:
    """What the peer says. Raises WebSocketError."""
    if not payload:
        return Close(_NO_CODE, "")
    # One byte is half a code, and reads as one below 256.
    code = int.from_bytes(payload[:2], "big")
    if code not in _CODES:
        raise WebSocketError(1002, "a Close frame with a code that may not be sent")
    try:
        return Close(code, payload[2:].decode())
    except UnicodeDecodeError:
        raise WebSocketError(1007, "a Close frame whose reason is not UTF-8") from None


def close_payload(code: int, reason: str) -> bytes:
    """Ours. 1005 gives an empty one, as it was read. Raises LocalProtocolError for a code that may not be sent.

    A reason that is too long is cut at the end of a character: it is for people, and half of it is better than
    an error where the application wanted to end.
    """
    if code == _NO_CODE:
        return b""
    if code not in _CODES:
        raise LocalProtocolError(f"close code {code}: must be 1000-1003, 1007-1014 or 3000-4999")
    text = reason.encode(errors="replace")[:_MAX_REASON]
    return code.to_bytes(2, "big") + text.decode(errors="ignore").encode()
