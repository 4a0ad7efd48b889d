"""A connection's wait for its next request head: how long it may take, and what ends it.

Two deadlines are on it: the keep-alive timeout until the first byte, and from there an absolute one for the whole
head. Both interrupt the stream, where the task that leads the connection waits. Owned by the HTTP/1 driver.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from asgiserve.connection.deadlines import Reason

if TYPE_CHECKING:
    from asgiserve.connection.deadlines import Deadlines
    from asgiserve.connection.service import Service
    from asgiserve.streams import Stream

__all__ = ["HEAD", "IDLE", "RUNNING", "HeadWait", "Phase"]


class Phase(enum.Enum):
    """What a connection is doing."""

    OPENED = "nothing yet"
    IDLE = "waiting for the first byte of a request"
    HEAD = "waiting for the rest of a request head"
    RUNNING = "an exchange is going on, or the connection is being closed"


# Names of this module: until py3.12, reading a member of an Enum class costs ten times as much.
_OPENED: Final = Phase.OPENED
IDLE: Final = Phase.IDLE
HEAD: Final = Phase.HEAD
RUNNING: Final = Phase.RUNNING
_NO_REQUEST: Final = Reason.IDLE
_NO_HEAD: Final = Reason.HEAD

_LET_GO_SECONDS: Final = 1.0
"""How long an interrupted stream may take: TLS first waits until its peer takes the answers that TLS itself owes."""


class HeadWait:
    """The wait of one connection, and whether it waits at all."""

    __slots__ = ("_before", "_deadlines", "_idle_since", "_idle_watched", "_service", "_stream", "expired", "phase")

    def __init__(self, service: Service, deadlines: Deadlines, stream: Stream) -> None:
        self._service = service
        self._deadlines = deadlines
        self._stream = stream
        self._idle_since = service.clock()
        self._idle_watched = False
        """A deadline for idling is armed. It may have been armed long ago: see `idled`."""
        self.phase: Phase = _OPENED
        self._before: Phase = _OPENED
        """What the connection did before it began to idle."""
        self.expired: Reason | None = None
        """The wait is to end, and why. Whoever waits has not seen it yet."""

    def doing(self, now: float) -> str:
        """For people: the phase, and how long an idle connection is kept."""
        if self.phase is not IDLE:
            return str(self.phase.value)
        return f"{self.phase.value}; kept for {max(self._idle_since + self._idle_limit() - now, 0.0):.1f} s"

    def begin(self) -> None:
        """Nothing of the next request is here yet."""
        before, self._before = self._before, self.phase
        self.phase = IDLE
        self._idle_since = self._service.clock()
        if not self._idle_watched or before is _OPENED:  # the first wait may be longer than the others
            self._watch_idling()

    def head_begun(self) -> None:
        """Wait for the rest of a head. The deadline is absolute: a byte a second must not keep it open."""
        self.phase = HEAD
        timeouts = self._service.timeouts
        limit = min(timeouts.head, timeouts.linger) if self._service.draining else timeouts.head
        self._deadlines.arm(_NO_HEAD, self._service.clock() + limit)

    def end(self) -> None:
        """A head is here, or nothing more is waited for."""
        if self.phase is HEAD:
            self._deadlines.disarm(_NO_HEAD)
        self.phase = RUNNING

    def let_go(self) -> None:
        """Whoever waits has seen that the wait is over."""
        if self.expired is not None:
            self._deadlines.disarm(self.expired)
            self.expired = None

    def idled(self) -> None:
        """The deadline for idling has passed. It is armed once, not for every request: what counts is how long the
        connection has idled by now."""
        self._idle_watched = False
        if self.phase is RUNNING or self.phase is HEAD:
            return
        if self._idle_since + self._idle_limit() > self._service.clock():
            self._watch_idling()
        else:
            self.expire(_NO_REQUEST)

    def expire(self, reason: Reason) -> None:
        """End the wait. This arms the same deadline anew, and when that passes too, the stream has not let go."""
        if self.expired is None:
            self.expired = reason
            self._deadlines.arm(reason, self._service.clock() + _LET_GO_SECONDS)
            self._stream.interrupt()
        else:
            self._stream.abort()

    def drain(self, now: float) -> None:
        """The server stops: whoever has idled for longer than the linger goes now, the others when it ends.

        Closing all idle connections at once would fail the requests that are on their way to us.
        """
        linger = self._service.timeouts.linger
        if self.expired is not None:
            return  # it ends already, in this turn of the loop
        if self.phase is HEAD:
            self._deadlines.arm(_NO_HEAD, now + linger)
        elif self.phase is RUNNING:
            self._idle_watched = False  # it was armed for longer than an idle connection may stay now
        elif now - self._idle_since >= linger:
            self.expire(_NO_REQUEST)
        else:
            self._idle_watched = True
            self._deadlines.arm(_NO_REQUEST, now + linger)

    def _watch_idling(self) -> None:
        self._idle_watched = True
        self._deadlines.arm(_NO_REQUEST, self._idle_since + self._idle_limit())

    def _idle_limit(self) -> float:
        timeouts = self._service.timeouts
        if self._service.draining:
            return timeouts.linger
        # Whoever has just connected is about to send a head: a keep-alive of 0 must not cut it off.
        return max(timeouts.keep_alive, timeouts.head) if self._before is _OPENED else timeouts.keep_alive
