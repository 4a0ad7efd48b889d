"""How soon a worker that died is replaced, and when no more of them are started. No I/O and no clock: moments come in.

What had served for a while is replaced at once, always. A process that dies soon after its start must not take the
machine with it: deaths of that kind come in waves, and each wave within a minute doubles the wait. After too many
waves, if no worker has lasted, starting more of them helps nobody. Called by fleet.py.
"""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["STEADY_SECONDS", "Restarts"]

WINDOW_SECONDS: Final = 60.0
"""A wave that is longer ago has no part in what is done now."""

WAVE_SECONDS: Final = 1.0
"""All workers may die of one cause at once, and by one hand: that is one wave."""

WAVES: Final = 5
"""In a minute; with one more, and no worker that lasts, it is given up: after some ten seconds."""

FIRST_DELAY_SECONDS: Final = 0.5
LONGEST_DELAY_SECONDS: Final = 15.0

STEADY_SECONDS: Final = 10.0
"""A worker that has been ready for so long is proof that the application can serve."""


class Restarts:
    """Remembers deaths. One for all workers: they run the same application, and die of the same causes."""

    def __init__(self) -> None:
        self._waves: deque[float] = deque()

    def died(self, now: float, ready_for: float) -> float:
        """A worker has died that had been ready for so long. In how many seconds another may be started."""
        if ready_for >= STEADY_SECONDS:
            return 0.0
        self._forget(now)
        if not self._waves or now - self._waves[-1] > WAVE_SECONDS:
            self._waves.append(now)
        if len(self._waves) == 1:
            return 0.0
        return min(FIRST_DELAY_SECONDS * 2.0 ** (len(self._waves) - 2), LONGEST_DELAY_SECONDS)

    def too_many(self, now: float) -> bool:
        self._forget(now)
        return len(self._waves) > WAVES

    def _forget(self, now: float) -> None:
        while self._waves and now - self._waves[0] > WINDOW_SECONDS:
            self._waves.popleft()
