"""The few lines of a WebSocket client that checking and loading a server takes: an open connection, and frames.

Frames are made once and sent again and again, so that the load costs little beside the server. Nothing here is fit
for anything but a server on the same machine that does as it should; what it does else is a ClientError.
"""

from __future__ import annotations

import base64
import hashlib
import os
import socket
from typing import Final

__all__ = ["ClientError", "answer_frame", "checked", "masked_frame", "opened", "payload_of"]

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_PATIENCE: Final = 10.0

_TEXT: Final = 0x1
_BINARY: Final = 0x2
_FINAL: Final = 0x80
_MASKED: Final = 0x80


class ClientError(Exception):
    """The server did not answer as it should."""


def opened(port: int) -> socket.socket:
    """A connection whose handshake is complete."""
    key = base64.b64encode(os.urandom(16))
    connection = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    head = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" % port
    connection.sendall(head + b"Sec-WebSocket-Key: %b\r\nSec-WebSocket-Version: 13\r\n\r\n" % key)
    answer = b""
    while b"\r\n\r\n" not in answer:
        more = connection.recv(4096)
        if not more:
            raise ClientError("closed during the handshake")
        answer += more
    head, _, rest = answer.partition(b"\r\n\r\n")
    accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
    if not head.startswith(b"HTTP/1.1 101 ") or accept not in head or rest:
        raise ClientError(f"handshake answered with {head.splitlines()[0]!r}")
    return connection


def masked_frame(payload: bytes, *, text: bool) -> bytes:
    """A whole message as a client sends it."""
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return _head(len(payload), text=text, masked=_MASKED) + mask + masked


def answer_frame(payload: bytes, *, text: bool) -> bytes:
    """The same message as a server sends it: in one frame, which every server here does with what fits into 64 KiB."""
    return _head(len(payload), text=text, masked=0) + payload


def _head(length: int, *, text: bool, masked: int) -> bytes:
    first = _FINAL | (_TEXT if text else _BINARY)
    if length < 126:
        return bytes([first, masked | length])
    return bytes([first, masked | 126]) + length.to_bytes(2, "big")


def payload_of(size: int) -> bytes:
    """What messages of that size are: a line of JSON, again and again."""
    line = b'{"type": "message", "text": "Hello, World!"}'
    return (line * (size // len(line) + 1))[:size]


def checked(port: int, size: int, *, text: bool) -> None:
    """Send one message and have it back. Raises OSError or ClientError."""
    payload = payload_of(size)
    expected = answer_frame(payload, text=text)
    with opened(port) as connection:
        connection.sendall(masked_frame(payload, text=text))
        answer = b""
        while len(answer) < len(expected):
            more = connection.recv(65536)
            if not more:
                raise ClientError(f"closed after {len(answer)} of {len(expected)} bytes")
            answer += more
    if answer != expected:
        raise ClientError(f"answered wrongly, with {answer[:32]!r}")
