"""The stream over a socket on asyncio: transport below, stream above, one object between them.

What lives here: `AsyncioStream` and how one is opened. What does not: anything about sockets that needs no
event loop (`socket_stream`). Only `open_stream` makes one. Works on asyncio's own loops and on uvloop.

Theory of operation. The transport pushes, the stream is pulled; this class is the place where the two meet,
so it is the transport's protocol as well: a second object would cost every request two more calls and every
connection its memory.

Opening: the first call to `receive` reads at once what has come. Only when that was in vain, or with the second call, a
transport is made: a connection that brings its request along and ends with the answer needs none, and it would be
a third of what such a connection costs. Until `connection_made` it is in the making, and owns the socket.

Receiving: the transport reads all the time, ahead of the reader. What it brings lies in `_unread`, and a
reader that found nothing waits for a future. Reading is paused only when more than HIGH_WATER lies there
(then at most one read of the transport's own size, 256 KiB, has come on top), so an ordinary request
neither pauses nor resumes anything.

Sending: an ordinary response goes straight to the socket (`socket_stream`); the transport is given only what
the kernel did not take. Its write buffer's high-water mark is 0, so it says "paused" exactly while it holds
bytes, and `flush` waits until it holds none. A write that fails does not raise: it closes the transport,
and `connection_lost` follows in the loop's next turn; what is unread then is taken out of the kernel first.
"""

from __future__ import annotations

import asyncio
import socket
from contextvars import Context
from typing import Any, Final, cast

from anyio import BusyResourceError, CancelScope, WouldBlock

from asgiserve.streams.pieces import SLICE_SIZE
from asgiserve.streams.socket_stream import SocketStream
from asgiserve.streams.stream import CLOSED, OPEN

__all__ = ["AsyncioStream", "open_asyncio_stream"]

HIGH_WATER: Final = 65536
"""Unread bytes beyond which reading pauses; it resumes at half of it."""


def open_asyncio_stream(sock: socket.socket, peer: Any = None) -> AsyncioStream:
    """Make a stream of an accepted, connected, non-blocking socket."""
    return AsyncioStream(sock, asyncio.get_running_loop(), peer)


class AsyncioStream(SocketStream, asyncio.Protocol):
    """See the module's docstring. The methods of `asyncio.Protocol` are the transport's to call."""

    __slots__ = (
        "_arrival",
        "_drained",
        "_gone",
        "_looked",
        "_loop",
        "_lost",
        "_making",
        "_reading_paused",
        "_transport",
        "_unread",
        "_writing_paused",
    )

    def __init__(self, sock: socket.socket, loop: asyncio.AbstractEventLoop, peer: Any) -> None:
        super().__init__(sock, peer)
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._making: asyncio.Task[Any] | None = None
        """What makes the transport, while it does."""
        self._looked = False
        self._unread: bytes | bytearray = b""
        self._reading_paused = False
        self._writing_paused = False
        self._arrival: asyncio.Future[bool] | None = None
        """What the task in `receive` waits for; None while there is no such task. True: it is interrupted."""
        self._drained: asyncio.Future[bool] | None = None
        """What the task in `send` waits for; None while there is no such task."""
        self._lost = False
        self._gone: asyncio.Event | None = None

    # --- receiving ----------------------------------------------------------------------------------------

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if self._arrival is not None:
            raise BusyResourceError("receiving from")
        while not self._unread:
            if self._receiving is not OPEN:
                raise self._receive_error()
            if self._transport is None and self._look():
                continue
            self._arrival = self._loop.create_future()
            try:
                if await self._arrival:
                    break
            finally:
                self._arrival = None
        unread = self._unread
        if len(unread) > max_bytes:
            return self._take_part(max_bytes)
        self._unread = b""
        if self._reading_paused:
            self._resume_reading()
        return unread if type(unread) is bytes else bytes(unread)  # chunks that were joined

    def _look(self) -> bool:
        """Before there is a transport: whether something has come, or the end."""
        if self._making is not None:
            return False
        try:
            data = self._sock.recv(65536)
        except BlockingIOError:
            self._make_transport()
            return False
        except OSError as exc:
            self._break(exc)
            return True
        if not data:
            self._end_receiving()
        elif self._looked:
            self._make_transport()  # a peer that sends without a pause must not keep all others waiting
        self._looked = True
        self._unread = data
        return True

    def receive_nowait(self) -> bytes:
        if self._arrival is not None:
            raise BusyResourceError("receiving from")
        if self._unread:
            return self._take_part(65536)
        if self._receiving is not OPEN:
            raise self._receive_error()
        try:
            data = self._sock.recv(65536)
        except BlockingIOError:
            raise WouldBlock from None
        except OSError as exc:
            self._break(exc)
            raise self._receive_error() from exc
        if not data:
            # The transport will find the same end in the loop's next turn.
            self._end_receiving()
            raise self._receive_error()
        return data

    def interrupt(self) -> None:
        _wake(self._arrival, interrupted=True)

    def _take_part(self, max_bytes: int) -> bytes:
        unread = self._unread
        if isinstance(unread, bytes):
            unread = self._unread = bytearray(unread)
        part = bytes(memoryview(unread)[:max_bytes])
        del unread[:max_bytes]
        if self._reading_paused and len(unread) <= HIGH_WATER // 2:
            self._resume_reading()
        return part

    def _resume_reading(self) -> None:
        self._reading_paused = False
        if self._receiving is OPEN and self._transport is not None:
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if not self._unread:
            self._unread = data
        elif isinstance(self._unread, bytes):
            self._unread = bytearray().join((self._unread, data))
        else:
            self._unread += data
        if len(self._unread) > HIGH_WATER and not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()
        arrival = self._arrival
        if arrival is not None and not arrival.done():  # `_wake`, without a call more for every request
            arrival.set_result(False)

    def eof_received(self) -> bool:
        self._end_receiving()
        _wake(self._arrival)
        return True  # the transport stays open: a peer that has ended its side still gets its response

    # --- sending ------------------------------------------------------------------------------------------

    async def flush(self) -> bool:
        rest = self._rest
        if rest is None:
            return True
        if self._drained is not None:
            raise BusyResourceError("sending to")
        self._rest_can_be_sent()
        try:
            while (transport := self._transport) is None:
                self._make_transport()
                await self._wait_drained()
            transport.write(rest[:SLICE_SIZE])
            if self._writing_paused or transport.is_closing():
                await self._wait_drained()
        except BaseException:
            self._rest = None
            raise
        self._rest = rest[SLICE_SIZE:] or None
        return self._rest is None

    async def _wait_drained(self) -> None:
        self._drained = self._loop.create_future()
        try:
            await self._drained
        except BaseException:
            self._break_sending()
            raise
        finally:
            self._drained = None
        if self._sending is not OPEN:
            raise self._send_error()

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        _wake(self._drained)

    # --- opening and closing ------------------------------------------------------------------------------

    def _make_transport(self) -> None:
        if self._making is None:
            # In a task, since asyncio would close the socket if whoever waits here were cancelled; and in no context,
            # since the transport keeps it, and this may be the application's.
            connecting = self._loop.connect_accepted_socket(lambda: self, self._sock)
            self._making = Context().run(self._loop.create_task, connecting)
            self._making.add_done_callback(self._transport_made)

    def _transport_made(self, making: asyncio.Task[Any]) -> None:
        self._making = None
        fault = asyncio.CancelledError() if making.cancelled() else making.exception()
        if fault is None:
            return
        # The loop has ended first, or takes no more descriptors. There may be a transport nevertheless, half made:
        # uvloop closes it then without a word to its protocol.
        if self._transport is None:
            self._sock.close()
        else:
            self._transport.abort()
        self.connection_lost(fault if isinstance(fault, Exception) else None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = made = cast("asyncio.Transport", transport)  # uvloop's are not derived from asyncio's
        made.set_write_buffer_limits(high=0)
        if self._sending is CLOSED:
            made.abort()
        else:
            _wake(self._drained)

    async def aclose(self) -> None:
        if self._sending is not CLOSED:
            self._close()
        if self._lost:
            return
        if self._gone is None:
            self._gone = asyncio.Event()
        # Shielded without a deadline: it is one turn of the loop, and depends on nobody else.
        with CancelScope(shield=True):
            await self._gone.wait()

    def abort(self) -> None:
        if not self._lost and (self._transport is None or not self._transport.is_closing()):
            self._reset_on_close()
        self._close()

    def _close(self) -> None:
        self._close_halves()
        self._unread = b""
        if self._transport is not None:
            # Not its `close()`: whatever is in its buffer belongs to a send that was blocked or cancelled.
            self._transport.abort()
        elif self._making is None:
            self._lost = True
            self._sock.close()
        _wake(self._arrival)
        _wake(self._drained)

    def connection_lost(self, exc: Exception | None) -> None:
        # The transport closes the descriptor right after this call, before any task runs again.
        self._lost = True
        if self._receiving is OPEN:
            self._take_what_is_left()
        self._break(exc)
        _wake(self._arrival)
        _wake(self._drained)
        if self._gone is not None:
            self._gone.set()

    def _take_what_is_left(self) -> None:
        """What the peer sent before it left: a write that failed has closed the transport with these bytes unread."""
        try:
            # The kernel holds at most so many, and this many at most are taken.
            left = self._sock.recv(self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))
        except OSError:
            return  # it was reading that has failed
        self._unread = b"".join((self._unread, left))


def _wake(future: asyncio.Future[bool] | None, *, interrupted: bool = False) -> None:
    if future is not None and not future.done():
        future.set_result(interrupted)
