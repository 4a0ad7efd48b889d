"""The writing end of a connection: one writer at a time, a deadline for a peer that takes nothing, and one
memory of whether the peer can still be reached.

Exchanges write here, and the driver when it refuses a request. An ordinary response, of which the kernel takes all
at once, passes without a wait, a deadline or a lock. Responses to requests that came together leave together: what is
kept for that goes out in front of whatever is written next, and at the latest before anybody waits.
"""

from __future__ import annotations

import enum
import errno
from typing import TYPE_CHECKING, Final

from anyio import BrokenResourceError, ClosedResourceError
from anyio.lowlevel import checkpoint

from asgiserve.backend import ki_protected
from asgiserve.connection.deadlines import Reason
from asgiserve.connection.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from asgiserve.connection.deadlines import Deadlines
    from asgiserve.connection.service import Service
    from asgiserve.streams import Stream

__all__ = ["ALL", "NOTHING", "PART", "Outlet", "Taken"]


class Taken(enum.Enum):
    """How much of a buffer was written without waiting."""

    ALL = enum.auto()
    PART = enum.auto()
    NOTHING = enum.auto()


# Names of this module: until py3.12, reading a member of an Enum class costs ten times as much.
ALL: Final = Taken.ALL
PART: Final = Taken.PART
NOTHING: Final = Taken.NOTHING

_KEPT_BYTES: Final = 16_384
"""Of responses that wait for the next: a system call for less costs more than its bytes."""


class Outlet:
    """Writes to one connection's stream."""

    __slots__ = ("_deadlines", "_service", "_stream", "broken", "given_up", "kept", "turn")

    def __init__(self, stream: Stream, deadlines: Deadlines, service: Service) -> None:
        self._stream = stream
        self._deadlines = deadlines
        self._service = service
        self.turn = Turn()
        """Taken by whoever waits for the peer to take something."""
        self.broken = False
        """Something is missing on the wire: nothing more is written, and only a reset is an honest end."""
        self.given_up = False
        """It broke by us, as when a write was cancelled: the peer may well be there."""
        self.kept = b""
        """Whole responses that leave with the next one."""

    def write_nowait(self, buffer: bytes) -> Taken:
        """Write without waiting. Unless ALL of it was taken, `write_rest` or `spawn_rest` must follow."""
        if self.turn.taken or self.broken:
            return NOTHING
        if self.kept:
            buffer, self.kept = self.kept + buffer, b""
        try:
            if self._stream.send_nowait(buffer):
                return ALL
        except (BrokenResourceError, ClosedResourceError):
            self.broken = True
            return NOTHING
        # The kernel is full. Whoever else wants to write waits from here on.
        self.turn.taken = True
        return PART

    def keep(self, response: bytes) -> bool:
        """Keep a whole response for the next one to take along, which is sure to come. False: write it instead."""
        if self.turn.taken or self.broken or len(self.kept) + len(response) > _KEPT_BYTES:
            return False
        self.kept += response
        return True

    def send_kept(self) -> None:
        """What is kept leaves now, whoever may have to wait for that."""
        kept, self.kept = self.kept, b""
        taken = self.write_nowait(kept)
        if taken is not ALL and not self.broken:
            self.spawn_rest(taken, kept)

    def spawn_rest(self, taken: Taken, buffer: bytes) -> None:
        """As `write_rest`, in a task of its own: for whoever must not wait."""
        self._service.spawn(self._write_rest, taken, buffer)

    @ki_protected
    async def _write_rest(self, taken: Taken, buffer: bytes) -> None:
        await self.write_rest(taken, buffer)

    async def write_rest(self, taken: Taken, *buffers: bytes) -> bool:
        """Go on where `write_nowait` has stopped with the buffer; otherwise as `write`, of any number of them."""
        if taken is NOTHING:
            return await self.write(*buffers)
        try:
            await self._flush()
        except (BrokenResourceError, ClosedResourceError):
            self.broken = True
        except BaseException:
            self._give_up()
            raise
        finally:
            self.turn.free()
        return not self.broken

    async def wait_idle(self) -> None:
        """Wait until nobody is writing: what is written next is not behind anybody. A cancelled wait breaks nothing."""
        while self.turn.taken:
            await self.turn.take()
            self.turn.free()

    async def write(self, *buffers: bytes) -> bool:
        """Hand the buffers to the stream, in order and with nothing between them. False: the peer is gone.

        Does nothing but a checkpoint once the outlet is broken. A cancelled call breaks it: how much of it is
        on the wire is not known.
        """
        turn = self.turn
        in_turn = turn.taken
        if in_turn:
            await self._wait_for_turn()
        if self.kept:
            buffers, self.kept = (self.kept, *buffers), b""
        try:
            for buffer in buffers:
                if self.broken:
                    break
                if not self._stream.send_nowait(buffer):
                    # The kernel is full. Whoever else wants to write waits from here on.
                    in_turn = turn.taken = True
                    await self._flush()
        except (BrokenResourceError, ClosedResourceError):
            self.broken = True
        except BaseException:
            self._give_up()
            raise
        finally:
            if in_turn:
                turn.free()
        if self.broken:
            await checkpoint()
            return False
        return True

    async def write_file(
        self, before: bytes, fd: int, offset: int, count: int, behind: bytes, *, progress: Callable[[int], None]
    ) -> bool:
        """As `write`, of so many bytes of an open file with bytes on both sides. `progress` is told of each part of it
        that is written.

        :raises OSError: the file cannot be read, or has become shorter; the outlet is broken
        """
        turn = self.turn
        if turn.taken:
            await self._wait_for_turn()
        turn.taken = True
        before, self.kept = self.kept + before, b""
        try:
            await self._write_wait(before)
            while count and not self.broken:
                self._arm()
                sent = await self._stream.send_file(fd, offset, count)
                if not sent:
                    raise OSError(errno.EIO, "the file has become shorter while it was sent")
                progress(sent)
                offset += sent
                count -= sent
                if count:
                    await checkpoint()  # fairness: a peer that reads fast lets others run
            await self._write_wait(behind)
        except (BrokenResourceError, ClosedResourceError):
            self.broken = True
        except BaseException:
            self._give_up()
            raise
        finally:
            self._deadlines.disarm(Reason.WRITE)
            turn.free()
        if self.broken:
            await checkpoint()
            return False
        return True

    async def _write_wait(self, buffer: bytes) -> None:
        if buffer and not self.broken and not self._stream.send_nowait(buffer):
            await self._flush()

    async def _wait_for_turn(self) -> None:
        try:
            await self.turn.take()
        except BaseException:
            # These bytes are lost: what comes behind them would be read as if they had never been there.
            self._give_up()
            raise

    def _give_up(self) -> None:
        if not self.broken:
            self.broken = self.given_up = True

    async def _flush(self) -> None:
        """Wait until the kernel has everything. Each part that the peer takes moves the deadline: a slow peer
        that makes progress is not a stalled one."""
        try:
            flushed = False
            while not flushed:
                self._arm()
                flushed = await self._stream.flush()
        finally:
            self._deadlines.disarm(Reason.WRITE)

    def _arm(self) -> None:
        self._deadlines.arm(Reason.WRITE, self._service.clock() + self._service.timeouts.write)
