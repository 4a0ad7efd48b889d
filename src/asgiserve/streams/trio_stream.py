"""The stream over a socket on trio: the raw non-blocking socket, and trio's two waits.

What lives here: `TrioStream`. What does not: anything about sockets that needs no event loop
(`socket_stream`). Only `open_stream` makes one.

Theory of operation. Sending is tried first and waits only if the kernel is full. Receiving waits first:
after a response the next request is almost never there yet, and a `recv` in vain costs 1.8 µs, a seventh of
a whole request. Four exceptions keep the contract and the speed. After a `recv` that filled its buffer there
is probably more, so the next call tries first. A wait that is cancelled looks once more, so that bytes
that are there are returned even in a cancelled scope; the task's next checkpoint delivers the cancellation
all the same: trio's are level-triggered. The first call tries first, since most clients send their first bytes right
behind the handshake. And when the loop is busy, one turn of it is long enough for the peer's
next bytes to come: then a checkpoint and a `recv` cost half of trio's wait with its registration at epoll (3 µs of
a request's 22). Whether that is so is found out by looking; after a look in vain the next one, two, four, at most
64 receives wait as usual.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

import trio
from anyio import BusyResourceError, WouldBlock
from trio.lowlevel import checkpoint, notify_closing, wait_readable, wait_writable

from asgiserve.streams.socket_stream import SocketStream
from asgiserve.streams.stream import OPEN

if TYPE_CHECKING:
    import socket

__all__ = ["TrioStream"]

if sys.platform == "win32":
    _IOV_MAX = 1  # there is no sendmsg: one buffer after the other
else:
    _IOV_MAX = os.sysconf("SC_IOV_MAX")

_MAX_WAITS: Final = 64
"""Receives that wait at the most before one looks again: then a look in vain costs nothing that can be measured."""


class TrioStream(SocketStream):
    """See the module's docstring."""

    __slots__ = (
        "_fd",
        "_interrupted",
        "_more_expected",
        "_receive_waits",
        "_send_waits",
        "_waits_after_miss",
        "_waits_left",
    )

    def __init__(self, sock: socket.socket, peer: Any = None) -> None:
        super().__init__(sock, peer)
        self._fd = sock.fileno()
        self._interrupted = False
        self._more_expected = True
        self._receive_waits = False
        self._send_waits = False
        self._waits_left = self._waits_after_miss = 1
        """How often `receive` waits before it looks again after one turn of the loop; doubles when that was in vain."""

    # --- receiving ----------------------------------------------------------------------------------------

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if self._receive_waits:
            raise BusyResourceError("receiving from")
        if self._receiving is not OPEN:
            raise self._receive_error()
        data = self._receive_now(max_bytes) if self._more_expected else None
        while data is None:
            self._receive_waits = True
            looking = not self._waits_left
            try:
                if looking:
                    await checkpoint()
                else:
                    self._waits_left -= 1
                    await wait_readable(self._fd)
            except trio.ClosedResourceError:
                if self._receiving is not OPEN:
                    raise self._receive_error() from None
                data = self._receive_now(max_bytes)
                if data is None and self._interrupted:
                    return b""
            except trio.Cancelled:
                data = self._receive_now(max_bytes)
                if data is None:
                    raise
            else:
                data = self._receive_now(max_bytes)
                if looking and (data is None or self._waits_after_miss > 1):  # otherwise nothing changes
                    self._looked(found=data is not None)
                    if data is None and self._interrupted:
                        return b""
            finally:
                self._receive_waits = self._interrupted = False
        self._more_expected = len(data) == max_bytes
        return data

    def _looked(self, *, found: bool) -> None:
        # Halved and doubled, not reset: where looks fail as often as not, they are to become rare.
        waits = self._waits_after_miss
        self._waits_after_miss = max(waits // 2, 1) if found else min(2 * waits, _MAX_WAITS)
        self._waits_left = 0 if found else waits

    def receive_nowait(self) -> bytes:
        if self._receive_waits:
            raise BusyResourceError("receiving from")
        data = self._receive_now(65536)
        if data is None:
            raise WouldBlock
        return data

    def interrupt(self) -> None:
        if self._receive_waits:
            self._interrupted = True
            # It wakes whoever waits for this descriptor, a sender too: that one looks again.
            notify_closing(self._fd)

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
            self._end_receiving()
            raise self._receive_error()
        return data

    # --- sending ------------------------------------------------------------------------------------------

    async def flush(self) -> bool:
        rest = self._rest
        if rest is None:
            return True
        if self._send_waits:
            raise BusyResourceError("sending to")
        self._rest_can_be_sent()
        try:
            await self._wait_writable()
        finally:
            self._rest = None
        return self.send_nowait(rest)

    async def _wait_writable(self) -> None:
        self._send_waits = True
        try:
            await wait_writable(self._fd)
        except trio.ClosedResourceError:
            pass  # closed, or woken by `interrupt`: the state tells
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
