"""What a stream over a socket asks of the socket itself, the same on every event loop.

What lives here: addresses, whether the peer has closed, how to reset. What does not: reading and writing,
which are the event loop's business (`asyncio_stream`, `trio_stream`; both build on `SocketStream`).
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any, Final

from anyio import BusyResourceError
from anyio.abc import SocketAttribute

from asgiserve.streams.stream import ENDED, OPEN, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["SocketStream", "prepare"]

_IP_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)
_FILE_PIECE: Final = 262_144
"""The most of a file that is sent in one go: others have to get their turn, and reading may wait for the disk."""
_FILE_WAIT: Final = 4096
"""As much of it is read and sent where the kernel is full, and whoever sends has to wait: a page, which costs least."""
_LOST: Final = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTUNREACH})
"""What sendfile says of the connection; anything else is said of the file."""
# Windows packs `struct linger` as two shorts, everyone else as two ints.
_LINGER_ON_FOR_NO_TIME: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


class SocketStream(Stream):
    """The part of a socket's stream that needs no event loop."""

    __slots__ = ("_peer", "_sock")

    def __init__(self, sock: socket.socket, peer: Any = None) -> None:
        super().__init__()
        self._peer = peer
        self._sock = sock

    def send_nowait(self, item: bytes | memoryview) -> bool:
        # Straight to the socket, also on asyncio: its transport would do the same after ten times the work,
        # and it never holds bytes of its own here, since `flush` waits until it has none.
        if self._rest is not None:
            raise BusyResourceError("sending to")
        if self._sending is not OPEN:
            raise self._send_error()
        try:
            sent = self._sock.send(item)
        except BlockingIOError:
            sent = 0
        except OSError as exc:
            self._break_sending(exc)
            raise self._send_error() from exc
        if sent == len(item):
            return True
        self._rest = memoryview(item)[sent:]
        return False

    async def send_file(self, fd: int, offset: int, count: int) -> int:
        if not hasattr(os, "sendfile"):
            return await super().send_file(fd, offset, count)
        if self._rest is not None:
            raise BusyResourceError("sending to")
        if self._sending is not OPEN:
            raise self._send_error()
        try:
            return os.sendfile(self._sock.fileno(), fd, offset, min(count, _FILE_PIECE))
        except BlockingIOError:
            # asyncio waits for a socket that has a transport only with bytes to send; a duplicate that it would watch
            # needs a descriptor, and there may be none left. So a little of the file is sent as any bytes are.
            return await super().send_file(fd, offset, min(count, _FILE_WAIT))
        except OSError as exc:
            if exc.errno not in _LOST:
                # Not every file system can do it. One that cannot be read at all says so again.
                return await super().send_file(fd, offset, count)
            self._break_sending(exc)
            raise self._send_error() from exc

    async def send_eof(self) -> None:
        if self._rest is not None:
            raise BusyResourceError("sending to")
        if self._sending is ENDED:
            return
        if self._sending is not OPEN:
            raise self._send_error()
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as exc:
            self._break_sending(exc)
            raise self._send_error() from exc
        self._sending = ENDED

    def peer_closed(self) -> bool:
        return self._receiving is not OPEN or _fin_or_reset_arrived(self._sock)

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """anyio's SocketAttribute, with values as anyio gives them.

        A peer that has reset the connection has no address any more; asking for it raises
        TypedAttributeLookupError.
        """
        sock = self._sock
        attributes: dict[Any, Callable[[], Any]] = {
            SocketAttribute.family: lambda: sock.family,
            SocketAttribute.local_address: lambda: _address(sock.getsockname()),
            SocketAttribute.raw_socket: lambda: sock,
        }
        if sock.family in _IP_FAMILIES:
            attributes[SocketAttribute.local_port] = lambda: sock.getsockname()[1]
        try:
            peer = _address(sock.getpeername() if self._peer is None else self._peer)
        except OSError:
            return attributes
        attributes[SocketAttribute.remote_address] = lambda: peer
        if sock.family in _IP_FAMILIES:
            attributes[SocketAttribute.remote_port] = lambda: peer[1]
        return attributes

    def addresses(self) -> tuple[Any, Any]:
        sock, peer = self._sock, self._peer
        local = remote = None
        try:
            remote = _address(sock.getpeername() if peer is None else peer)
            local = _address(sock.getsockname())
        except OSError:
            pass  # the peer has reset the connection, or closed it
        return local, remote

    def _reset_on_close(self) -> None:
        """Closing will send a reset instead of a FIN, and drop what the kernel has not sent yet."""
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ON_FOR_NO_TIME)
        except OSError:
            pass  # the connection is gone already, so there is nobody to tell


def prepare(sock: socket.socket, peer: Any = None) -> None:
    """Make an accepted socket ready for a stream: non-blocking, and what is sent goes out at once."""
    sock.setblocking(False)
    # An address of IP is a tuple. To ask for the family makes a member of an enum, which costs more than the setting.
    if peer is None or isinstance(peer, tuple):
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            pass  # no TCP; and macOS refuses it for a peer that is gone already: reading will tell


def _address(address: Any) -> Any:
    """An IPv6 address as `(host, port)`, its zone within the host (RFC 4007); any other as it is."""
    if isinstance(address, tuple) and len(address) == 4:
        host, port, _, zone = address
        return (f"{host.partition('%')[0]}%{zone}" if zone else host), port
    return address


if sys.platform == "linux":

    def _fin_or_reset_arrived(sock: socket.socket) -> bool:
        # POLLRDHUP sees a FIN behind unread bytes; recv with MSG_PEEK would see the bytes only.
        poll = select.poll()
        poll.register(sock, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
        return bool(poll.poll(0))

elif sys.platform == "win32":

    def _fin_or_reset_arrived(sock: socket.socket) -> bool:
        return False  # nothing there tells without reading

else:

    def _fin_or_reset_arrived(sock: socket.socket) -> bool:
        # A kqueue of its own: the event loop's would lose its filter for this descriptor.
        queue = select.kqueue()
        try:
            question = select.kevent(sock, select.KQ_FILTER_READ, select.KQ_EV_ADD)
            return any(event.flags & select.KQ_EV_EOF for event in queue.control([question], 1, 0))
        finally:
            queue.close()
