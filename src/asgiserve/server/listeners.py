"""Accepting connections: the listener over a bound socket, and the loop that no peer and no limit can end.

anyio's and asyncio's own serving loops end with the first error of a handler, or when the process has no
descriptor left; this one waits and goes on. Whether a connection's first steps succeed (the TLS handshake,
say) is the connection's own business, in its own task.
"""

from __future__ import annotations

import errno
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import anyio
from anyio.lowlevel import checkpoint

from asgiserve import logs
from asgiserve.backend import ki_protected
from asgiserve.streams import open_stream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asgiserve.server.binding import BoundSocket
    from asgiserve.streams import Stream

__all__ = ["AcceptLoop", "Listener", "Sharing", "SocketListener"]

_BATCH: Final = 64
"""Connections accepted in a row before others get their turn."""

_LAST_ACCEPTS: Final = 4096
"""Connections accepted at the stop, at most: the longest queue that Linux keeps (net.core.somaxconn)."""

_PAUSE_SECONDS: Final = 0.1
"""How long to wait when the system has nothing left to accept with; trio's own listener waits as long."""

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Out of descriptors or memory: connections stay in the kernel's queue until something is freed."""

_ABORTED: Final = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPERM,  # a firewall rule
        errno.EPROTO,
        errno.ENETDOWN,
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EOPNOTSUPP,
        errno.ENETUNREACH,
        errno.ETIMEDOUT,
        errno.EINTR,
    }
)
"""The connection broke before it was accepted; accept(2) hands its error to us. The next one may be fine."""


class Listener(Protocol):
    """Where connections come from: a bound socket, or memory in a test."""

    plain: bool
    """No TLS is spoken here, whatever certificates the server has."""

    def accept_nowait(self) -> Callable[[], Awaitable[Stream]] | None:
        """What opens the next connection's stream; None if none is waiting. Raises OSError."""

    async def wait(self) -> None:
        """Wait until `accept_nowait` is worth trying."""

    def close(self) -> None:
        """Stop listening. Idempotent."""


class Sharing:
    """The listening sockets are those of other processes too."""

    def __init__(self, ended: Callable[[], None]) -> None:
        """`ended` is called when this process accepts no more."""
        self.ended = ended
        self.last = False
        """Nobody accepts after us: what the kernel has queued at the stop is ours. Else it is the others'."""


class SocketListener:
    """A listening socket. Accepting is the same system call under every event loop."""

    def __init__(self, bound: BoundSocket) -> None:
        bound.socket.setblocking(False)
        self._bound = bound
        self.plain = bound.plain

    def accept_nowait(self) -> Callable[[], Awaitable[Stream]] | None:
        try:
            accepted, peer = self._bound.socket.accept()
        except BlockingIOError:
            return None
        return partial(open_stream, accepted, peer)

    async def wait(self) -> None:
        await anyio.wait_readable(self._bound.socket)

    def close(self) -> None:
        self._bound.close()


class AcceptLoop:
    """Accepts from one listener until it is cancelled."""

    def __init__(
        self,
        listener: Listener,
        serve: Callable[[Callable[[], Awaitable[Stream]]], None],
        slots: anyio.Semaphore | None,
        sharing: Sharing | None = None,
    ) -> None:
        """`serve` starts a connection's task. `slots` bounds the number of open connections, whichever listener they
        are of: one is taken before each accept, and the connection gives it back."""
        self._listener = listener
        self._serve = serve
        self._slots = slots
        self._sharing = sharing
        self._exhausted = ""
        """What is used up; we have warned, and the queue has not been empty since."""
        self._ended = False
        """Nothing more is accepted."""

    @property
    def doing(self) -> str:
        """For people: whether it accepts, and what it waits for if it does not."""
        if self._ended:
            return "accepts no more"
        if self._slots is not None and self._slots.value == 0:
            return "accepts nothing: limit_connections is reached"
        if self._exhausted:
            return f"accepts nothing: {self._exhausted}"
        return "accepts"

    @ki_protected
    async def run(self) -> None:
        """Accept; when cancelled, take what the kernel has queued already, and close the listener."""
        accepted, sharing = 0, self._sharing
        batch = _BATCH if sharing is None else 1
        try:
            while True:
                self._serve(await self._accept())
                accepted += 1
                if accepted % batch == 0:
                    await checkpoint()
        finally:
            self._ended = True
            if sharing is None or sharing.last:
                self._accept_rest()
            self._listener.close()
            if sharing is not None:
                sharing.ended()

    async def _accept(self) -> Callable[[], Awaitable[Stream]]:
        """The next connection, with a slot of its own. Nobody holds one while he waits for something else: the other
        listeners' connections need it."""
        slots = self._slots
        while True:
            if slots is not None:
                await slots.acquire()
            opener: Callable[[], Awaitable[Stream]] | None = None
            failed: OSError | None = None
            try:
                opener = self._listener.accept_nowait()
            except OSError as error:
                failed = error
            finally:
                if slots is not None and opener is None:
                    slots.release()
            if opener is not None:
                return opener
            if failed is not None:
                await self._recover(failed)
            else:
                self._exhausted = ""
                await self._listener.wait()

    async def _recover(self, error: OSError) -> None:
        if error.errno in _EXHAUSTED:
            if not self._exhausted:
                self._exhausted = error.strerror or str(error)
                logs.log_warning(f"Cannot accept connections: {error.strerror}. They wait until something is freed.")
            await anyio.sleep(_PAUSE_SECONDS)
        elif error.errno in _ABORTED:
            await checkpoint()
        else:
            raise error

    def _accept_rest(self) -> None:
        """Closing a listener resets what is in its queue: requests of clients that did nothing wrong."""
        for _ in range(_LAST_ACCEPTS):
            if self._slots is not None and self._slots.value == 0:
                return
            try:
                opener = self._listener.accept_nowait()
            except OSError as error:
                if error.errno in _ABORTED:
                    continue
                return
            if opener is None:
                return
            if self._slots is not None:
                self._slots.acquire_nowait()
            self._serve(opener)
