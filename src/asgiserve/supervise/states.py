"""The states of a worker, how it is told to end, and what is known of its end.

No I/O: who moves them is in process.py and fleet.py.
"""

from __future__ import annotations

import enum
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GAVE_UP", "NOT_STARTED", "Ended", "State", "Stop", "next_stop"]


class State(enum.Enum):
    """Where a worker stands. It goes down this list and never back."""

    STARTING = "starting"
    """Its process exists; its application is imported or starts up."""
    READY = "ready"
    """It accepts connections."""
    DRAINING = "draining"
    """It accepts none, and finishes what it has."""
    GONE = "gone"
    """Its process has ended."""


class Stop(enum.IntEnum):
    """How a worker is told to end; each is more than the one before it."""

    GRACEFUL = 1
    QUICK = 2
    """A person waits: the notice comes at once, and grace is short."""
    ABORT = 3
    """What runs is cancelled. The application's lifespan still shuts down."""
    KILL = 4


def next_stop(before: Stop | None, number: signal.Signals) -> Stop:
    """What a signal that stops asks for, behind what was asked for before.

    SIGHUP, which stops with `--reload`, is a terminal that was closed.
    """
    if before is None:
        return Stop.GRACEFUL if number == signal.SIGTERM else Stop.QUICK
    return Stop.ABORT if before < Stop.ABORT else Stop.KILL


NOT_STARTED: Final = 3
"""The exit code of a process whose application could not be loaded or started, or whose address not be bound."""

GAVE_UP: Final = 128 + signal.SIGTERM
"""The exit code of a worker that was told to end while its application started."""

_HINTS: Final[Mapping[int, str]] = {
    signal.SIGKILL: " (by hand, or by the system because memory ran out)",
    signal.SIGSEGV: " (a defect of an extension module, most likely)",
    signal.SIGABRT: " (an extension module gave up, most likely)",
}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: its exit code, negative for the signal that ended it."""

    code: int

    def __str__(self) -> str:
        """What comes behind the worker's name in a sentence."""
        if self.code >= 0:
            return f"ended with exit code {self.code}"
        name = _name_of(-self.code)
        return f"was ended by {name}" if name else f"was ended by signal {-self.code}"

    @property
    def hint(self) -> str:
        """What may be behind it where nobody of us has done it."""
        return _HINTS.get(-self.code, "")


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return ""
