"""The stream over a socket on trio: the raw non-blocking socket, and trio's two waits.

What lives here: `TrioStream`. What does not: anything about sockets that needs no event loop
(`socket_stream`). Only `open_stream` makes one.

Theory of operation. Sending is tried first and waits only if the kernel is full. Receiving waits first:
after a response the next request is almost never there yet, and a `recv` in vain costs 1.8 µs, a seventh of
a whole request. Two exceptions keep the contract and the speed: after a `recv` that filled its buffer there
is probably more, so the next call tries first; and a wait that is cancelled looks once more, so that bytes
that are there are returned even in a cancelled scope. The task's next checkpoint delivers the cancellation
all the same: trio's are level-triggered.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import trio
from anyio import BusyResourceError, WouldBlock
from trio.lowlevel import notify_closing, wait_readable, wait_writable

from asgiserve.streams.socket_stream import SocketStream
from asgiserve.streams.stream import ENDED, OPEN

if TYPE_CHECKING:
    import socket

__all__ = ["TrioStream"]

if sys.platform == "win32":
    _IOV_MAX = 1  # there is no sendmsg: one buffer after the other
else:
    _IOV_MAX = os.sysconf("SC_IOV_MAX")


class TrioStream(SocketStream):
    """See the module's docstring."""

    __slots__ = ("_fd", "_more_expected", "_receive_waits", "_send_waits")

    def __init__(self, sock: socket.socket, peer: Any = None) -> None:
        super().__init__(sock, peer)
        self._fd = sock.fileno()
        self._more_expected = False
        self._receive_waits = False
        self._send_waits = False

    # --- receiving ----------------------------------------------------------------------------------------

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if self._receive_waits:
            raise BusyResourceError("receiving from")
        if self._receiving is not OPEN:
            raise self._receive_error()
        data = self._receive_now(max_bytes) if self._more_expected else None
        while data is None:
            self._receive_waits = True
            try:
                await wait_readable(self._fd)
            except trio.ClosedResourceError:
                raise self._receive_error() from None
            except trio.Cancelled:
                data = self._receive_now(max_bytes)
                if data is None:
                    raise
            else:
                data = self._receive_now(max_bytes)
            finally:
                self._receive_waits = False
        self._more_expected = len(data) == max_bytes
        return data

    def receive_nowait(self) -> bytes:
        if self._receive_waits:
            raise BusyResourceError("receiving from")
        data = self._receive_now(65536)
        if data is None:
            raise WouldBlock
        return data

    def _receive_now(self, max_bytes: int) -> bytes | None:
        """What is there; None if nothing is."""
        if self._receiving is not OPEN:
            raise self._receive_error()
        try:
            data = self._sock.recv(max_bytes)
        except BlockingIOError:
            return None
        except OSError as exc:
            self._break(exc)
            raise self._receive_error() from exc
        if not data:
            self._receiving = ENDED
            raise self._receive_error()
        return data

    # --- sending ------------------------------------------------------------------------------------------

    async def flush(self) -> bool:
        rest = self._rest
        if rest is None:
            return True
        if self._send_waits:
            raise BusyResourceError("sending to")
        try:
            await self._wait_writable()
            rest = rest[self._send_now(rest) :]
        except BaseException:
            self._rest = None
            raise
        self._rest = rest or None
        return self._rest is None

    async def _wait_writable(self) -> None:
        self._send_waits = True
        try:
            await wait_writable(self._fd)
        except trio.ClosedResourceError:
            raise self._send_error() from None
        except BaseException:
            self._break_sending()
            raise
        finally:
            self._send_waits = False
        if self._sending is not OPEN:
            raise self._send_error()

    # --- closing ------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        self._close()

    def abort(self) -> None:
        if self._sock.fileno() != -1:
            self._reset_on_close()
        self._close()

    def _close(self) -> None:
        if self._sock.fileno() == -1:
            return
        self._close_halves()
        notify_closing(self._fd)
        self._sock.close()
