"""A bound in time that leaves out a pause of the whole process. Kept by `last_resort.py`, in a thread.

Under SIGSTOP or `docker pause`, and on a machine that slept, nobody had the time that went by.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LOOK_SECONDS", "Countdown"]

LOOK_SECONDS: Final = 0.1
"""How often it is looked at, once there is something to wait for: another signal may shorten the wait."""

_STOOD_STILL_SECONDS: Final = 1.0
"""A look that comes so much too late is of a process that stood still. A busy machine keeps none waiting so long."""


class Countdown:
    """Told in handlers of signals and in threads how long there is, and looked at in one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = math.inf
        """On the clock without the pause."""
        self._due = 0.0
        """When it is to be looked at next. At first that is when it is told how long: the thread may run much later."""
        self._stood_still = 0.0
        """Seconds of the pause."""

    def end_within(self, seconds: float) -> None:
        """It is over so many seconds from now on. Never lengthens what is left."""
        now = self._clock()
        if self._until == math.inf:
            self._due = now
        self._until = min(self._until, now - self._stood_still + seconds)

    def over(self) -> bool:
        """Look, `LOOK_SECONDS` behind the last time: whether it is over."""
        # Read once: a pause between two readings would be seen by the one and not by the other.
        now = self._clock()
        late, self._due = now - self._due, now + LOOK_SECONDS
        # Once: foreign code that keeps Python's lock looks the same, and might do so again and again.
        if late > _STOOD_STILL_SECONDS and not self._stood_still:
            self._stood_still = late
        return now - self._stood_still >= self._until
