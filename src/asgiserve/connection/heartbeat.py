"""Pings of a WebSocket, and the wait for a sign of life after each: deadlines, no timers and no task.

Any byte of the peer counts as life: a peer that is in the middle of a large message cannot answer a ping before its
end. So reading notes no more than that something came (`heard`), and nothing is looked at but when a deadline passes.

Whoever reads calls `start` and `stop`: while the application has stopped the reading, its own slowness must not look
like the peer's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from asgiserve.connection.deadlines import TICK, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from asgiserve.config import WebSockets
    from asgiserve.connection.deadlines import Deadlines

__all__ = ["Heartbeat"]

_HELD_UP: Final = 2 * TICK
"""A deadline that is noticed later than this was missed because the event loop was held up."""


class Heartbeat:
    """When to ping one peer, and when to give it up."""

    __slots__ = ("_clock", "_count", "_deadlines", "_due", "_interval", "_timeout", "heard")

    def __init__(self, settings: WebSockets, deadlines: Deadlines, clock: Callable[[], float]) -> None:
        # 0 switches each of them off, as in uvicorn; so does `none`.
        self._interval = settings.ws_ping_interval or math.inf
        self._timeout = settings.ws_ping_timeout or math.inf
        self._deadlines = deadlines
        self._clock = clock
        self._due: float | None = None
        """When the peer is given up; None while no ping waits for a sign of life."""
        self._count = 0
        self.heard = False
        """Something has come from the peer. Set by whoever reads."""

    def start(self) -> None:
        """Count anew, from now on."""
        self._due = None
        self._deadlines.arm(Reason.PING, self._clock() + self._interval)

    def stop(self) -> None:
        """Neither ping nor give up, until `start`."""
        self._deadlines.disarm(Reason.PING)
        self._deadlines.disarm(Reason.PONG)

    def payload(self) -> bytes:
        """What the next ping carries: its number, so that a trace can tell pongs apart."""
        self._count = (self._count + 1) & 0xFFFFFFFF
        return self._count.to_bytes(4, "big")

    def pinged(self, *, sent: bool) -> None:
        """The time for a ping has come. Not `sent`: somebody is writing, and that has a deadline of its own."""
        now = self._clock()
        self._deadlines.arm(Reason.PING, now + self._interval)
        if sent and (self._due is None or self.heard):
            self.heard = False
            self._wait_until(now + self._timeout)

    def overdue(self, *, reading: bool) -> bool:
        """The time for a sign of life has passed; whether the peer is to be given up.

        Not while nobody is `reading`, nor when an application has held the event loop up: what came meanwhile lies in
        the kernel, and only a turn of the loop brings it here.
        """
        due = self._due
        if due is None or self.heard:
            self._due = None
            return False
        late = self._clock() - due
        if late < 0:
            return False  # another ping has just been sent, and counts from now on
        if reading and late <= _HELD_UP:
            return True
        self._wait_until(due + late + TICK)
        return False

    def _wait_until(self, due: float) -> None:
        self._due = due
        self._deadlines.arm(Reason.PONG, due)
