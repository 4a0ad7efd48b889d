"""Byte streams: the only code below which there is nothing but the kernel and the event loop's library.

One contract (`Stream`), the same on asyncio and on trio, byte for byte and error for error; who gets which
kind is decided once per connection, by `open_stream`. `handshake` puts TLS on top of any of them. No stream
knows HTTP.

    stream          the contract: calls, errors, the states of a stream's two halves
    pieces          what is joined and what is sliced before it is sent
    socket_stream   what a socket's stream needs of the socket alone
    asyncio_stream  over a transport; the only file that imports asyncio
    trio_stream     over the raw socket; the only file that imports trio
    tls             over any other stream
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgiserve.backend import current_backend
from asgiserve.streams.asyncio_stream import open_asyncio_stream
from asgiserve.streams.socket_stream import prepare
from asgiserve.streams.stream import Stream
from asgiserve.streams.tls import TlsStream, handshake

if TYPE_CHECKING:
    import socket

__all__ = ["Stream", "TlsStream", "get_ready", "handshake", "open_stream"]


def get_ready() -> None:
    """Import what `open_stream` needs here. When it is called there may be no descriptor left to read a file by."""
    if current_backend() == "trio":
        import asgiserve.streams.trio_stream  # noqa: F401


async def open_stream(sock: socket.socket, peer: Any = None) -> Stream:
    """Make a stream of a connected socket, which is the stream's from here on: on failure it is closed."""
    try:
        prepare(sock, peer)
        if current_backend() == "trio":
            # trio is imported where it runs, see backend.py and get_ready()
            from asgiserve.streams.trio_stream import TrioStream

            return TrioStream(sock, peer)
        return open_asyncio_stream(sock, peer)
    except BaseException:
        sock.close()
        raise
