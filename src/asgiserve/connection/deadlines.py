"""Timeouts without timers: numbers with a reason on each connection, and one task that watches them all.

A timer per request would cost more than the request's parsing. Here arming a deadline is an assignment, and
the watcher sleeps until the earliest one that it knows of. Deadlines mostly move away (every request moves the
keep-alive deadline), so a wake-up that finds nothing due just looks for the next one. Guards that wait for a
connection (guard.py) are watched in the same way.

What happens when a deadline passes is the connection's business (`deadline_passed`); this file knows only when.
"""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, Final, Protocol

import anyio

from asgiserve import logs
from asgiserve.backend import ki_protected

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = ["OF_AN_EXCHANGE", "TICK", "Deadlines", "Reason", "Watcher"]

TICK: Final = 0.25
"""Seconds: the watcher looks at all connections at most this often."""


class Reason(enum.IntEnum):
    """What a connection may be waiting for."""

    IDLE = 0
    """The first byte of a request; of the guards that are spare, the next task."""
    HEAD = 1
    """The rest of a request head."""
    BODY = 2
    """Bytes of a request body."""
    WRITE = 3
    """The peer to take bytes of a response."""
    REQUEST = 4
    """The whole exchange."""
    FLUSH = 5
    """The body of a response whose head is held back."""
    POLL = 6
    """Nothing: it is time to ask whether the peer is still there."""
    HANDSHAKE = 7
    """The application to accept or refuse a WebSocket."""
    READER = 8
    """The application to read its WebSocket; then somebody else does."""
    PING = 9
    """Nothing: it is time for a ping."""
    PONG = 10
    """A sign of life after a ping."""
    CLOSE = 11
    """The peer's Close frame, and the end of its side."""
    DRAIN = 12
    """The end of an upload that has been answered already."""


OF_AN_EXCHANGE: Final = (Reason.BODY, Reason.REQUEST, Reason.FLUSH, Reason.POLL)
"""What nobody waits for any more when an exchange is over. An idle deadline may stand from one wait for a head to the
next (head_wait.py), and who writes, perhaps what was kept of earlier responses, goes on."""

_NONE: Final = [math.inf] * len(Reason)


class Deadlines:
    """The deadlines of one connection, or of what else is watched, by reason; infinity where none is armed."""

    __slots__ = ("_watcher", "_when")

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._when = _NONE.copy()

    def arm(self, reason: Reason, when: float) -> None:
        """Let `deadline_passed(reason)` be called at `when`, on the loop's clock, or up to a tick later."""
        self._when[reason] = when
        if when < self._watcher.wakes_at:
            self._watcher.wake_at(when)

    def disarm(self, reason: Reason) -> None:
        self._when[reason] = math.inf

    def disarm_all(self) -> None:
        self._when = _NONE.copy()

    def disarm_all_but_write(self) -> None:
        """Who writes goes on, disarms that one, and might wait for ever without it."""
        writing = self._when[Reason.WRITE]
        self.disarm_all()
        self._when[Reason.WRITE] = writing

    def soonest(self) -> float:
        return min(self._when)

    def armed(self) -> list[tuple[float, Reason]]:
        """All that are armed, the soonest first."""
        return sorted((when, reason) for reason, when in zip(Reason, self._when, strict=True) if when < math.inf)

    def take_due(self, now: float) -> list[Reason]:
        """The reasons whose deadlines have passed; they are disarmed."""
        due = [reason for reason in Reason if self._when[reason] <= now]
        for reason in due:
            self._when[reason] = math.inf
        return due


class Watched(Protocol):
    """Something with deadlines."""

    deadlines: Deadlines

    def deadline_passed(self, reason: Reason) -> None:
        """Act on it, without awaiting anything."""


class Watcher:
    """The task behind every timeout of every connection of one server."""

    def __init__(self, connections: Collection[Watched], clock: Callable[[], float]) -> None:
        self.clock = clock
        self._connections = connections
        self._others: list[Watched] = []
        self._woken = anyio.Event()
        self.wakes_at = math.inf
        """When the watcher looks next; infinity while it is parked. Arming anything earlier wakes it."""

    def watch(self, one: Watched) -> None:
        """Watch something beside the connections, until the end."""
        self._others.append(one)

    def wake_at(self, when: float) -> None:
        """Look at `when` instead of later."""
        self.wakes_at = when
        self._woken.set()

    @ki_protected
    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            with anyio.CancelScope(deadline=self.wakes_at):
                await self._woken.wait()
            self._woken = anyio.Event()
            now = self.clock()
            if now >= self.wakes_at:
                self._expire(now)
                self._look_again(now)

    def _expire(self, now: float) -> None:
        for one in self._watched():
            if one.deadlines.soonest() <= now:
                for reason in one.deadlines.take_due(now):
                    try:
                        one.deadline_passed(reason)
                    except Exception as error:
                        # One connection's trouble must not stop the timeouts of all the others.
                        logs.log_internal_error("a deadline", error)

    def _look_again(self, now: float) -> None:
        # Arming during _expire may have moved wakes_at already; the scan below sees those deadlines too.
        soonest = min((one.deadlines.soonest() for one in self._watched()), default=math.inf)
        self.wakes_at = max(soonest, now + TICK)

    def _watched(self) -> list[Watched]:
        return [*self._connections, *self._others]
