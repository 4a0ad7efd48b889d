"""A WebSocket client of one connection that sends exactly the bytes it is given; wsproto reads and writes frames.

`RawWebSocket` is for what no library's client does: frames in the handshake's packet, broken frames, silence. Where
an ordinary client will do, tests take that of `websockets` (`connected` here gives one).
"""

from __future__ import annotations

import asyncio
import base64
import os
from typing import TYPE_CHECKING, Any, Final, TypeVar

from websockets.asyncio.client import connect as connect_in_loop
from websockets.sync.client import connect
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection
from wsproto.utilities import generate_accept_token

from tests.live.raw import RawClient, request
from tests.live.servers import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from ssl import SSLContext

    from websockets.asyncio.client import ClientConnection as TlsConnection
    from websockets.sync.client import ClientConnection
    from wsproto.events import Event

    from tests.live.servers import ProcessServer, ThreadServer

__all__ = ["RawWebSocket", "connected", "talk_over_tls", "upgrade"]

_T = TypeVar("_T")

_E = TypeVar("_E", bound="Event")


_PLAIN: Final[dict[str, Any]] = {
    "compression": None,
    "proxy": None,
    "open_timeout": PATIENCE,
    "close_timeout": PATIENCE,
    "max_size": None,
}


def connected(server: ThreadServer | ProcessServer, path: str = "/", **options: Any) -> ClientConnection:
    """The client of `websockets`, open; a context manager that closes it. Not for TLS: see `talk_over_tls`."""
    client: ClientConnection = connect(f"ws://127.0.0.1:{server.port}{path}", **{**_PLAIN, **options})
    return client


def talk_over_tls(
    server: ThreadServer | ProcessServer, context: SSLContext, talk: Callable[[TlsConnection], Awaitable[_T]]
) -> _T:
    """`await talk(client)` with the client of `websockets` for asyncio, open.

    Its client for threads reads and writes one TLS session in two of them, which OpenSSL forbids: once in some
    hundred handshakes it waits for ever for what it has never sent.
    """

    async def run() -> _T:
        url = f"wss://127.0.0.1:{server.port}/"
        async with connect_in_loop(url, **_PLAIN, ssl=context, server_hostname="localhost") as client:
            return await talk(client)

    return asyncio.run(run())


def upgrade(target: str = "/", *fields: str) -> bytes:
    """The head of a handshake, with a key of its own."""
    key = base64.b64encode(os.urandom(16)).decode()
    asked = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]
    return request(target, *asked, *fields)


class RawWebSocket(RawClient):
    """One connection; nothing is sent unless a test sends it, not even a pong."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.frames = Connection(ConnectionType.CLIENT)
        self._fed = False

    def open(self, target: str = "/", *fields: str, behind: bytes = b"") -> None:
        """The handshake, with more bytes behind it in the same packet."""
        head = upgrade(target, *fields)
        self.send(head + behind)
        self.read_accept(head)

    def read_accept(self, head: bytes) -> bytes:
        """The server's half of the handshake that began with `head`."""
        answer = self.read_until(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        key = head.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
        assert generate_accept_token(key) in answer
        return answer

    def say(self, event: Event) -> None:
        """Send an event as wsproto writes it."""
        self.send(self.frames.send(event))

    def hear(self) -> Event:
        """The next event; the end of the connection is a Close of 1006."""
        while True:
            for event in self.frames.events():
                return event
            data, self._rest = self._rest or self.read(), b""
            self.frames.receive_data(data or None)

    def expect(self, kind: type[_E]) -> _E:
        """The next event, which must be of that kind."""
        event = self.hear()
        assert isinstance(event, kind), event
        return event

    def hear_close(self) -> CloseConnection:
        """The server's Close, whatever comes before it."""
        while not isinstance(event := self.hear(), CloseConnection):
            pass
        return event
