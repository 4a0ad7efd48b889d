"""Two streams joined in memory: for tests that need a connection but no socket.

What lives here: the streams that `memory_stream_pair` joins. They keep the whole contract of
`asgiserve.streams.Stream` and behave like the two ends of a TCP connection on Linux, on every event loop,
also in virtual time. What does not live here: what may happen to bytes on their way (`faults.py`), listeners and
servers.

The peer's end is where a test reads what was sent and sends what is to be received.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any, TypeAlias

from anyio import BusyResourceError, Event, WouldBlock
from anyio.abc import SocketAttribute

from asgiserve.streams import Stream
from asgiserve.streams.stream import CLOSED, ENDED, OPEN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Address: TypeAlias = tuple[str, int] | str

__all__ = ["Address", "MemoryStream"]


class MemoryStream(Stream):
    """One end of a connection in memory; made by `memory_stream_pair`."""

    _peer: MemoryStream

    def __init__(self, capacity: int, local_address: Address, remote_address: Address) -> None:
        super().__init__()
        self._capacity = capacity
        self._local_address = local_address
        self._remote_address = remote_address
        self._unread = bytearray()
        self._arrival: Event | None = None
        """What the task in `receive` waits for; None while there is no such task."""
        self._interrupted = False
        self._room: Event | None = None
        """What the task in `send` waits for; None while there is no such task."""

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """anyio's SocketAttribute, as of a socket with these addresses; there is no `raw_socket`."""
        local, remote = self._local_address, self._remote_address
        attributes: dict[Any, Callable[[], Any]] = {
            SocketAttribute.family: lambda: _family(local),
            SocketAttribute.local_address: lambda: local,
            SocketAttribute.remote_address: lambda: remote,
        }
        if not isinstance(local, str):
            attributes[SocketAttribute.local_port] = lambda: local[1]
        if not isinstance(remote, str):
            attributes[SocketAttribute.remote_port] = lambda: remote[1]
        return attributes

    def peer_closed(self) -> bool:
        return self._receiving is not OPEN

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if self._arrival is not None:
            raise BusyResourceError("receiving from")
        while not self._unread:
            if self._receiving is not OPEN:
                raise self._receive_error()
            self._arrival = Event()
            try:
                await self._until(self._arrival)
                if self._interrupted:
                    break
            finally:
                self._arrival = None
                self._interrupted = False
        return self._take(max_bytes)

    def interrupt(self) -> None:
        if self._arrival is not None:
            self._interrupted = True
            self._arrival.set()

    def _take(self, max_bytes: int) -> bytes:
        data = bytes(self._unread[:max_bytes])
        del self._unread[:max_bytes]
        _wake(self._peer._room)
        return data

    def receive_nowait(self) -> bytes:
        if self._arrival is not None:
            raise BusyResourceError("receiving from")
        if self._unread:
            return self._take(65536)
        if self._receiving is not OPEN:
            raise self._receive_error()
        raise WouldBlock

    def send_nowait(self, item: bytes | memoryview) -> bool:
        if self._rest is not None:
            raise BusyResourceError("sending to")
        if self._sending is not OPEN:
            raise self._send_error()
        self._rest = self._deliver(memoryview(item)) or None
        return self._rest is None

    async def flush(self) -> bool:
        rest = self._rest
        if rest is None:
            return True
        if self._room is not None:
            raise BusyResourceError("sending to")
        self._rest_can_be_sent()
        # Tried first: room that the peer has made since `send_nowait` wakes nobody.
        left = self._deliver(rest)
        if len(left) == len(rest):
            try:
                await self._wait_for_room()
            except BaseException:
                self._rest = None
                raise
            left = self._deliver(left)
        self._rest = left or None
        return self._rest is None

    def _deliver(self, item: memoryview) -> memoryview:
        """Give the peer what fits, and return the rest."""
        peer = self._peer
        while item and (fits := peer._room_for(self._capacity)):
            peer._arrive(item[:fits])
            item = item[fits:]
        return item

    # --- what happens on the way here; `faults.py` has another idea of it ---

    def _room_for(self, capacity: int) -> int:
        """How many bytes more the peer may send before it has to wait."""
        return capacity - len(self._unread)

    def _arrive(self, data: memoryview) -> None:
        """The peer has sent this; it may not know yet that this end is closed, and that nobody will ever read it."""
        if self._receiving is CLOSED:
            return
        self._unread += data
        _wake(self._arrival)

    async def _until(self, event: Event) -> None:
        await event.wait()

    async def _wait_for_room(self) -> None:
        self._room = Event()
        try:
            await self._until(self._room)
        except BaseException:
            self._break_sending()
            raise
        finally:
            self._room = None
        if self._sending is not OPEN:
            raise self._send_error()

    async def send_eof(self) -> None:
        if self._rest is not None:
            raise BusyResourceError("sending to")
        if self._sending is ENDED:
            return
        if self._sending is not OPEN:
            raise self._send_error()
        self._sending = ENDED
        self._peer._end_of_peer()

    async def aclose(self) -> None:
        if self._unread:
            self.abort()  # so the kernel answers bytes that nobody has read
        elif self._receiving is not CLOSED:
            self._close()
            self._peer._end_of_peer()
            # What is sent to a closed socket is answered with a reset.
            self._peer._loss_of_peer(BrokenPipeError(errno.EPIPE, "the other end is closed"))

    def abort(self) -> None:
        if self._receiving is not CLOSED:
            self._close()
            self._peer._loss_of_peer(ConnectionResetError(errno.ECONNRESET, "the other end was aborted"))

    def _close(self) -> None:
        self._close_halves()
        self._unread.clear()
        self._wake_all()

    def _end_of_peer(self) -> None:
        """The peer's FIN arrives."""
        if self._receiving is OPEN:
            self._receiving = ENDED
        _wake(self._arrival)

    def _loss_of_peer(self, fault: OSError) -> None:
        """The peer's reset arrives."""
        self._break(fault)
        self._wake_all()

    def _wake_all(self) -> None:
        _wake(self._arrival)
        _wake(self._room)


def _wake(event: Event | None) -> None:
    if event is not None:
        event.set()


def _family(address: Address) -> socket.AddressFamily:
    if isinstance(address, str):
        return socket.AddressFamily["AF_UNIX"]  # by name: the constant is missing on Windows
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET
