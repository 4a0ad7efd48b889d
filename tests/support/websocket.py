"""A WebSocket client that speaks frames: over in-memory connections, with nothing hidden and nothing automatic.

It answers no ping and no Close by itself: what a peer does is what a test says.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from tests.support.serving import Client, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asgiserve.types import ASGIApplication
    from tests.support.serving import Response, Serving

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""What RFC 6455 1.3 makes of that key."""

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def handshake(target: str = "/", *lines: str) -> bytes:
    """The request for a WebSocket, as bytes."""
    fields = ("Host: test", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}")
    return "\r\n".join([f"GET {target} HTTP/1.1", *fields, "Sec-WebSocket-Version: 13", *lines, "", ""]).encode()


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bytes = b"\x37\xfa\x21\x3d") -> bytes:
    """A frame of a client, as bytes."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65_536:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    stretched = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    masked = (int.from_bytes(payload, "big") ^ stretched).to_bytes(size, "big")
    return bytes([fin << 7 | opcode]) + length + mask + masked


def close_frame(code: int | None = 1000, reason: str = "") -> bytes:
    """A client's Close frame; None for one without a code."""
    return frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason.encode())


@dataclass
class Frame:
    """A frame of the server."""

    opcode: int
    payload: bytes

    @property
    def code(self) -> int | None:
        """The code of a Close frame."""
        assert self.opcode == CLOSE
        return int.from_bytes(self.payload[:2], "big") if self.payload else None

    @property
    def reason(self) -> str:
        return self.payload[2:].decode()


class WebSocketClient(Client):
    """The client's end of one WebSocket."""

    async def open(self, target: str = "/", *lines: str, behind: bytes = b"") -> bytes:
        """Shake hands, and send `behind` in the same piece; the head of the server's 101."""
        await self.send(handshake(target, *lines) + behind)
        head = await self.read_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        return head

    async def refused(self, target: str = "/", *lines: str) -> Response:
        """Ask for a WebSocket and read the answer, which is none."""
        await self.send(handshake(target, *lines))
        return await self.response()

    async def text(self, text: str) -> None:
        await self.send(frame(TEXT, text.encode()))

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        await self.send(close_frame(code, reason))

    async def frame(self) -> Frame:
        """The server's next frame. Raises EndOfStream at its FIN, BrokenResourceError at its reset."""
        first, second = await self._exactly(2)
        assert first & 0xF0 == 0x80, "one frame a message, and no extension"
        assert second < 128, "a server never masks"
        size = second
        if size > 125:
            size = int.from_bytes(await self._exactly(2 if size == 126 else 8), "big")
        return Frame(first & 0x0F, await self._exactly(size))

    async def message(self) -> str | bytes:
        """The server's next frame, which is a message."""
        one = await self.frame()
        assert one.opcode in (TEXT, BINARY), one
        return one.payload.decode() if one.opcode == TEXT else one.payload

    async def closed_with(self) -> tuple[int | None, str]:
        """The server's next frame, which is a Close: its code and reason. It is answered, and the end awaited."""
        one = await self.frame()
        assert one.opcode == CLOSE, one
        await self.send(frame(CLOSE, one.payload))
        assert await self.is_closed()
        return one.code, one.reason

    async def silence(self, seconds: float) -> None:
        """Nothing comes for so long."""
        assert not self._rest
        with anyio.move_on_after(seconds) as scope:
            data = await self.stream.receive()
        assert scope.cancelled_caught, data

    async def _exactly(self, count: int) -> bytes:
        while len(self._rest) < count:
            self._rest += await self.read()
        data, self._rest = self._rest[:count], self._rest[count:]
        return data


class ServingWebSockets:
    """A running server, and clients for it."""

    def __init__(self, served: Serving) -> None:
        self.served = served
        self.server = served.server

    def connect(self, **options: Any) -> WebSocketClient:
        return WebSocketClient(self.served.listener.connect(**options))

    async def open(self, target: str = "/", *lines: str, **options: Any) -> WebSocketClient:
        """A client whose handshake has been accepted."""
        client = self.connect(**options)
        await client.open(target, *lines)
        return client


@asynccontextmanager
async def serving_websockets(app: ASGIApplication, **settings: Any) -> AsyncIterator[ServingWebSockets]:
    """Serve an application that knows only WebSockets, in memory, for the block."""
    async with serving(app, lifespan="off", **settings) as served:
        yield ServingWebSockets(served)
