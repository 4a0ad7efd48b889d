"""What may happen to bytes in memory on their way, and the pairs of streams that it happens to.

    memory_stream_pair(to_server=Faults(piece=1), to_client=Faults(delay=0.2))

A fault belongs to one direction, and is met by whoever receives there. Without faults the streams are those of
`streams.py`, which the conformance suite knows; with them, they keep the same contract. Public.
"""

from __future__ import annotations

import errno
import math
import sys
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

from asgiserve.streams.stream import CLOSED
from asgiserve.testing.streams import MemoryStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio import Event

    from asgiserve.testing.streams import Address

__all__ = ["Faults", "memory_stream_pair"]

_NO_TIME: Final = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What happens to all that is sent in one direction."""

    piece: int | None = None
    """At most so many bytes are received at once; 1 splits at every byte."""
    delay: float = 0.0
    """Bytes, and the end of them, arrive so many seconds after they were sent, by the clock of the event loop."""
    end_after: int | None = None
    """After so many bytes the receiver meets their end, as if the sender had closed its half; the rest is lost."""
    reset_after: int | None = None
    """After so many bytes the connection is reset, for both ends."""

    def __post_init__(self) -> None:
        if self.piece is not None and self.piece < 1:
            raise ValueError(f"piece: expected at least one byte, but got {self.piece}")
        if self.end_after is not None and self.reset_after is not None:
            raise ValueError("end_after, reset_after: only one of them can happen")


def memory_stream_pair(
    capacity: int = 65536,
    *,
    local_address: Address = ("127.0.0.1", 80),
    remote_address: Address = ("127.0.0.1", 50000),
    to_server: Faults | None = None,
    to_client: Faults | None = None,
) -> tuple[MemoryStream, MemoryStream]:
    """Return the two ends of a connection, the server's first.

    `capacity` is how many bytes fit in each direction before `send` waits. The addresses are as the
    server's end sees them: `(host, port)`, or a path for a Unix socket; the client's end has them the other
    way round.
    """
    server = _end(capacity, local_address, remote_address, to_server)
    client = _end(capacity, remote_address, local_address, to_client)
    server._peer, client._peer = client, server
    return server, client


def _end(capacity: int, local: Address, remote: Address, faults: Faults | None) -> MemoryStream:
    if faults is None:
        return MemoryStream(capacity, local, remote)
    return _FaultyStream(capacity, local, remote, faults)


class _FaultyStream(MemoryStream):
    """The end that receives what has met faults.

    What was sent waits in a queue until its time has come. Nobody wakes up for that but who waits here anyway: each
    call first lets in what is due, and each wait lasts until the next is.
    """

    def __init__(self, capacity: int, local_address: Address, remote_address: Address, faults: Faults) -> None:
        super().__init__(capacity, local_address, remote_address)
        self._faults = faults
        self._on_the_way: deque[tuple[float, Callable[[], None]]] = deque()
        self._bytes_on_the_way = 0
        after = faults.end_after if faults.reset_after is None else faults.reset_after
        self._until_cut = math.inf if after is None else after
        """How many bytes still pass."""

    # --- what was sent ---

    def _room_for(self, capacity: int) -> int:
        if self._until_cut < 0:
            return sys.maxsize  # what is lost fills nothing
        return capacity - len(self._unread) - self._bytes_on_the_way

    def _arrive(self, data: memoryview) -> None:
        if self._receiving is CLOSED or self._until_cut < 0:
            return
        cut = len(data) >= self._until_cut
        passing = bytes(data[: int(self._until_cut)] if cut else data)
        self._until_cut = -1 if cut else self._until_cut - len(passing)
        self._bytes_on_the_way += len(passing)
        self._send_on(lambda: self._let_in(passing))
        if cut:
            self._send_on(self._end if self._faults.reset_after is None else self._reset)

    def _let_in(self, data: bytes) -> None:
        self._bytes_on_the_way -= len(data)
        if self._receiving is not CLOSED:
            self._unread += data
            self._wake_all()

    def _end_of_peer(self) -> None:
        self._send_on(self._end)

    def _end(self) -> None:
        super()._end_of_peer()

    def _loss_of_peer(self, fault: OSError) -> None:
        self._send_on(lambda: self._lose(fault))

    def _lose(self, fault: OSError) -> None:
        super()._loss_of_peer(fault)

    def _reset(self) -> None:
        # Here it has arrived, late enough; to the other end it goes by that direction.
        for lose in (self._lose, self._peer._loss_of_peer):
            lose(ConnectionResetError(errno.ECONNRESET, "the connection was reset on the way"))

    # --- its time ---

    def _send_on(self, arrive: Callable[[], None]) -> None:
        delay = self._faults.delay
        if delay == _NO_TIME and not self._on_the_way:
            arrive()
        else:
            self._on_the_way.append((anyio.current_time() + delay, arrive))
            self._wake_all()

    def _let_in_what_is_due(self) -> None:
        while self._on_the_way and self._on_the_way[0][0] <= anyio.current_time():
            self._on_the_way.popleft()[1]()

    async def _until(self, event: Event) -> None:
        while not event.is_set():
            due = self._on_the_way[0][0] if self._on_the_way else math.inf
            with anyio.CancelScope(deadline=due):
                await event.wait()
            self._let_in_what_is_due()

    # --- what the owner of this end calls ---

    async def receive(self, max_bytes: int = 65536) -> bytes:
        self._let_in_what_is_due()
        return await super().receive(max_bytes)

    def receive_nowait(self) -> bytes:
        self._let_in_what_is_due()
        return super().receive_nowait()

    def send_nowait(self, item: bytes | memoryview) -> bool:
        self._let_in_what_is_due()
        return super().send_nowait(item)

    async def flush(self) -> bool:
        self._let_in_what_is_due()
        return await super().flush()

    def peer_closed(self) -> bool:
        self._let_in_what_is_due()
        return super().peer_closed()

    def _take(self, max_bytes: int) -> bytes:
        return super()._take(max_bytes if self._faults.piece is None else min(max_bytes, self._faults.piece))
