"""A listener without sockets: `connect()` gives the client's end of a connection that the server accepts."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import anyio

from asgiserve.testing.faults import memory_stream_pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asgiserve.streams import Stream
    from asgiserve.testing.faults import Faults
    from asgiserve.testing.streams import Address, MemoryStream

__all__ = ["MemoryListener"]


class MemoryListener:
    """Queues connections until they are accepted, as a kernel does for a listening socket."""

    plain = False

    def __init__(self) -> None:
        self._queue: deque[MemoryStream] = deque()
        self._arrived = anyio.Event()
        self._closed = False

    def connect(
        self,
        *,
        capacity: int = 65536,
        local_address: Address = ("127.0.0.1", 80),
        remote_address: Address = ("127.0.0.1", 50000),
        to_server: Faults | None = None,
        to_client: Faults | None = None,
    ) -> MemoryStream:
        """Open a connection; the addresses are as the server sees them, the faults are what happens on the way.

        :raises ConnectionRefusedError: the server no longer listens
        """
        if self._closed:
            raise ConnectionRefusedError("the listener is closed")
        server, client = memory_stream_pair(
            capacity,
            local_address=local_address,
            remote_address=remote_address,
            to_server=to_server,
            to_client=to_client,
        )
        self._queue.append(server)
        self._arrived.set()
        return client

    # --- what the server calls ---

    def accept_nowait(self) -> Callable[[], Awaitable[Stream]] | None:
        if not self._queue:
            return None
        stream = self._queue.popleft()

        async def open_stream() -> Stream:
            return stream

        return open_stream

    async def wait(self) -> None:
        if not self._queue:
            self._arrived = anyio.Event()
            await self._arrived.wait()

    def close(self) -> None:
        self._closed = True
        while self._queue:
            self._queue.popleft().abort()
