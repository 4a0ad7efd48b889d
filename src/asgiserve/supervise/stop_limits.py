"""How long a worker's stop may take until it is killed: its own limits, and some slack.

Called by process.py, which keeps them, and by stop_bound.py, whose own is longer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asgiserve.supervise.states import Stop

if TYPE_CHECKING:
    from asgiserve.config import Timeouts

__all__ = ["limit_of_a_start", "limit_of_one_that_serves", "longest_stop"]

_SLACK_SECONDS: Final = 3.0
"""Beyond the longest that a worker's stop takes by its own limits. A worker that needs more does not answer."""

_CANCELLED_SECONDS: Final = 1.0
"""What a server's stop may take beyond its grace period and its lifespan's limit."""

_STARTING_SECONDS: Final = 5.0
"""For a worker that is not ready and was told to end: its lifespan's startup may have something to undo."""


def longest_stop(how: Stop, timeouts: Timeouts) -> float:
    """How long the last of any workers may take, whatever they do, until it is killed."""
    if how is Stop.KILL:
        return 0.0
    return max(limit_of_a_start(timeouts), limit_of_one_that_serves(timeouts, how, last=True))


def limit_of_a_start(timeouts: Timeouts) -> float:
    return _STARTING_SECONDS + timeouts.lifespan_shutdown


def limit_of_one_that_serves(timeouts: Timeouts, how: Stop, *, last: bool) -> float:
    delay = timeouts.shutdown_delay if how is Stop.GRACEFUL and last else 0.0
    grace = {Stop.GRACEFUL: timeouts.graceful_shutdown, Stop.QUICK: timeouts.interactive_grace}.get(how, 0.0)
    return delay + grace + _CANCELLED_SECONDS + timeouts.lifespan_shutdown + _SLACK_SECONDS
