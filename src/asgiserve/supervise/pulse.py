"""Whether a worker's event loop turns: it is asked, and must answer in time. No I/O and no clock: moments come in.

Asked by process.py, answered by the worker's loop itself: a thread would answer for a loop that stands still.
"""

from __future__ import annotations

import enum
import math

__all__ = ["Pulse", "Verdict"]


class Verdict(enum.Enum):
    ASK = "ask"
    WAIT = "wait"
    BLOCKED = "blocked"


class Pulse:
    """One worker's."""

    def __init__(self, timeout: float, now: float) -> None:
        self.interval = timeout / 4
        """How often to look."""
        self._timeout = timeout
        self._asked_at: float | None = None
        self._looked_at = now

    def answered(self) -> None:
        self._asked_at = None

    def look(self, now: float) -> Verdict:
        """What to do now."""
        if self._timeout == math.inf:
            return Verdict.WAIT
        # We were held up ourselves, by a machine that slept or swaps: nothing is known about the worker.
        held_up = now - self._looked_at > 2 * self.interval
        self._looked_at = now
        if self._asked_at is None or held_up:
            self._asked_at = now
            return Verdict.ASK
        return Verdict.BLOCKED if now - self._asked_at >= self._timeout else Verdict.WAIT
