"""WebSocket (RFC 6455, RFC 7692) on HTTP/1.1, without I/O: the handshake, one codec per connection, one
extension.

    RequestHead → handshake → accept_response
    bytes → codec ─┬─ ordinary frame ──────┬→ str, bytes, Ping, Pong, Close; MORE
                   └─ wsproto (+ deflate) ─┘

The drivers in `connection/` import the names below and nothing else.
"""

from __future__ import annotations

from asgiserve.protocols.websocket.codec import WebSocketCodec, WebSocketLimits
from asgiserve.protocols.websocket.deflate import Deflate, negotiate_deflate
from asgiserve.protocols.websocket.events import MORE, Close, Event, Ping, Pong
from asgiserve.protocols.websocket.handshake import (
    ExtensionOffer,
    Handshake,
    accept_response,
    read_handshake,
    refusal,
)

__all__ = [
    "MORE",
    "Close",
    "Deflate",
    "Event",
    "ExtensionOffer",
    "Handshake",
    "Ping",
    "Pong",
    "WebSocketCodec",
    "WebSocketLimits",
    "accept_response",
    "negotiate_deflate",
    "read_handshake",
    "refusal",
]
