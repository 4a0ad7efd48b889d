"""The contract of every stream: plain asyncio, plain trio, TLS and in memory.

What lives here: the abstract `Stream`, the states of its two halves, and which state refuses which call with
which error. What does not: any I/O. The drivers in `connection/` know streams by this contract alone, and one
conformance suite holds every kind of stream to it.

Theory of operation. A stream is two halves, receiving and sending, and each is in one state (`Half`). A
half that is not OPEN refuses its calls, always with the same error:

    state    how it came about                                 receive raises        send raises
    ENDED    the peer's FIN was read / our own FIN is out      EndOfStream           ClosedResourceError
    BROKEN   the connection is lost / a send was cut short     BrokenResourceError   BrokenResourceError
    CLOSED   we have closed or aborted the stream              ClosedResourceError   ClosedResourceError

A half leaves OPEN once; after that only closing changes it. Bytes that arrived before the end of the
receiving half, whatever ended it, are given out before the error is raised, except after our own close. So a send
that fails breaks the sending half only: what the peer said before it left may still lie in the kernel.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from anyio.abc import ByteStream, SocketAttribute

from asgiserve.streams.pieces import SLICE_SIZE, pieces

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BROKEN", "CLOSED", "ENDED", "OPEN", "Half", "Stream"]


class Half(Enum):
    """The state of one half of a stream; the module's docstring says what each means."""

    OPEN = auto()
    ENDED = auto()
    BROKEN = auto()
    CLOSED = auto()


# Names of this module: until py3.12, reading a member of an Enum class costs ten times as much.
OPEN: Final = Half.OPEN
ENDED: Final = Half.ENDED
BROKEN: Final = Half.BROKEN
CLOSED: Final = Half.CLOSED

_RECEIVE_ERRORS: Final[dict[Half, type[Exception]]] = {
    ENDED: EndOfStream,
    BROKEN: BrokenResourceError,
    CLOSED: ClosedResourceError,
}

_SEND_ERRORS: Final[dict[Half, type[Exception]]] = {
    ENDED: ClosedResourceError,
    BROKEN: BrokenResourceError,
    CLOSED: ClosedResourceError,
}


class Stream(ByteStream):
    """A byte stream to one peer. One task may receive while another sends."""

    __slots__ = ("_fault", "_receiving", "_rest", "_sending")

    def __init__(self) -> None:
        self._receiving: Half = OPEN
        self._sending: Half = OPEN
        self._fault: BaseException | None = None
        self._rest: memoryview | None = None
        """What `send_nowait` has left for `flush`; over TLS, empty if it is encrypted already."""

    # --- what every stream can do -------------------------------------------------------------------------

    @abstractmethod
    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return 1 to `max_bytes` bytes as soon as there are any.

        Bytes that are ready are returned even inside a cancelled scope; a call that is cancelled has lost
        none.

        :raises EndOfStream: the peer has ended its side; raised again by each later call
        :raises BrokenResourceError: the connection is lost; its cause is the system's error
        :raises ClosedResourceError: we have closed the stream, before the call or while it waited
        :raises BusyResourceError: another task waits in `receive`
        """

    @abstractmethod
    def receive_nowait(self) -> bytes:
        """What has arrived by now, up to 64 KiB of it.

        Looks at the socket itself: also bytes that the event loop has not noticed yet are found.

        :raises WouldBlock: nothing has
        :raises: otherwise what `receive` raises
        """

    @abstractmethod
    def interrupt(self) -> None:
        """Let the task that waits in `receive` go on: its call returns now, with b"" if nothing has arrived.

        Does nothing if no task waits. A cancel scope around each wait would do the same, and cost 3.2 µs on
        asyncio and 6.7 on trio, half of a small WebSocket message.
        """

    async def send(self, item: bytes | memoryview) -> None:
        """Send all of `item`; the kernel has every byte when this returns.

        No checkpoint if the kernel takes all of it at once. A cancelled call may have sent a part, and how
        large a part is not known: nothing can be sent after it, so every later call raises
        BrokenResourceError, and what is left to do is to close the stream. Receiving goes on working, also after
        a call that has failed: up to the end of what the peer sent before it left.

        :raises BrokenResourceError: the connection is lost, or an earlier `send` was cancelled
        :raises ClosedResourceError: we have ended our side or closed the stream, perhaps while the call
        waited
        :raises BusyResourceError: another task waits in `send`
        """
        if not self.send_nowait(item):
            while not await self.flush():
                pass

    @abstractmethod
    def send_nowait(self, item: bytes | memoryview) -> bool:
        """Give the kernel as much of `item` as it takes without waiting; whether that was all.

        If it was not, the stream holds the rest, and `flush` sends it: nothing else can be sent before.
        `send` is these two; a driver calls them itself, so that an ordinary response, of which the kernel
        takes all, costs no coroutine, and so that it can set a deadline for each part that has to wait.

        :raises: what `send` raises
        """

    @abstractmethod
    async def flush(self) -> bool:
        """Wait until the kernel has taken more of what `send_nowait` left; whether nothing is left now.

        True at once if nothing was left. Cancellation is as for `send`.

        :raises: what `send` raises
        """

    async def send_buffers(self, buffers: Sequence[bytes]) -> None:
        """Send several buffers in order, as `send` would send them joined, but without joining large ones."""
        for piece in pieces(buffers):
            await self.send(piece)

    async def send_file(self, fd: int, offset: int, count: int) -> int:
        """Send up to `count` bytes of an open file, from `offset` on: as much as the kernel takes in one go.

        Returns how many bytes those were; 0 is the end of the file. It waits while the kernel takes none, never for
        the disk: files are meant to be local, as for any server that uses sendfile. Here, for streams whose bytes do
        not leave as they are, they are read and sent. Cancellation is as for `send`.

        :raises OSError: the file cannot be read; nothing has been sent
        :raises: what `send` raises
        """
        data = os.pread(fd, min(count, SLICE_SIZE), offset)
        if data:
            await self.send(data)
        return len(data)

    @abstractmethod
    async def send_eof(self) -> None:
        """End our side; the peer's side stays open. Does nothing if it has ended before."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close both halves: what has been sent still arrives. The descriptor is gone when this returns.

        Never raises, never waits for the peer, and is no checkpoint: it completes in a cancelled scope as
        well. Tasks that wait in `receive` or `send` get ClosedResourceError. What a blocked or cancelled
        `send` has not sent yet is never sent. May be called again.
        """

    @abstractmethod
    def abort(self) -> None:
        """Close both halves, the rude way: the peer sees a reset, and what it has not read may be lost.

        May be called by any task of the loop, and again; otherwise like `aclose`. A Unix socket knows no
        resets: its peer sees the end of the stream.
        """

    @abstractmethod
    def peer_closed(self) -> bool:
        """Whether the peer's FIN or reset has arrived, even if bytes in front of it are still unread.

        Never waits. Also True after we have closed the stream. Where the system cannot tell (Windows), it
        turns True only when `receive` has met the end.
        """

    def addresses(self) -> tuple[Any, Any]:
        """Our end and the peer's, as anyio's SocketAttribute has them; None where the system cannot tell any more.

        The same as two of `extra_attributes`, for a twentieth of the cost: each connection is asked once.
        """
        return self._told(SocketAttribute.local_address), self._told(SocketAttribute.remote_address)

    # --- for subclasses -----------------------------------------------------------------------------------

    def _told(self, attribute: Any) -> Any:
        try:
            return self.extra(attribute, None)
        except OSError:
            return None

    def _break(self, fault: BaseException | None) -> None:
        """The connection is lost, and nothing more can be read: whatever half is still open is broken now."""
        self._keep_fault(fault)
        if self._receiving is OPEN:
            self._receiving = BROKEN
        if self._sending is OPEN:
            self._sending = BROKEN

    def _break_sending(self, fault: BaseException | None = None) -> None:
        """A `send` was cancelled part way, or has failed because of `fault`: nothing can be sent behind it."""
        self._keep_fault(fault)
        if self._sending is OPEN:
            self._sending = BROKEN

    def _rest_can_be_sent(self) -> None:
        """What `flush` asks before it waits: nobody would wake it for an end that came before.

        :raises: what `send` raises
        """
        if self._sending is not OPEN:
            self._rest = None
            raise self._send_error()

    def _keep_fault(self, fault: BaseException | None) -> None:
        if fault is not None:
            # Its traceback holds the frames it passed, and these hold the stream: a cycle.
            self._fault = fault.with_traceback(None)

    def _end_receiving(self) -> None:
        """Nothing more comes: the peer has ended its side. After a fault it is the loss that shows like this."""
        if self._receiving is OPEN:
            self._receiving = ENDED if self._fault is None else BROKEN

    def _close_halves(self) -> None:
        self._receiving = self._sending = CLOSED

    def _receive_error(self) -> Exception:
        """What `receive` raises now. To be asked only when the receiving half is not open."""
        return self._with_cause(_RECEIVE_ERRORS[self._receiving]())

    def _send_error(self) -> Exception:
        """What `send` raises now. To be asked only when the sending half is not open."""
        return self._with_cause(_SEND_ERRORS[self._sending]())

    def _with_cause(self, error: Exception) -> Exception:
        # Set here rather than by `raise … from`, so that None suppresses the context just as well.
        error.__cause__ = self._fault if isinstance(error, BrokenResourceError) else None
        return error
