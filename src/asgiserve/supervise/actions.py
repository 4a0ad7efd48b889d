"""What the supervisor's rules know of a worker, and what they can say is to be done. Data only.

Made by fleet.py, done by supervisor.py.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from asgiserve.supervise.states import State

if TYPE_CHECKING:
    from typing import TypeAlias

    from asgiserve.supervise.states import Stop

__all__ = ["Action", "End", "Failure", "Member", "Say", "Start"]


class Failure(enum.Enum):
    """Why it was given up."""

    NOT_STARTED = "not started"
    """The first worker has never been ready."""
    CRASHES = "crashes"
    """Workers end as soon as they start."""


@dataclass(slots=True, eq=False)
class Member:
    """A worker, as far as the rules go."""

    name: str
    """How sentences call it: "[4711]", its process id."""
    state: State = State.STARTING
    replaces: Member | None = None
    told: Stop | None = None
    """How it was last told to end; None if nobody has."""
    worn: str = ""
    """Why it is to be replaced; empty if it is not."""
    ready_at: float | None = None

    @property
    def serves(self) -> bool:
        """Whether it counts: it serves, or will. A replacement counts when its predecessor no longer does."""
        if self.told is not None:
            return False
        return self.state is State.READY or (
            self.state is State.STARTING and (self.replaces is None or not self.replaces.serves)
        )


@dataclass(frozen=True, slots=True)
class Start:
    """Start a worker."""

    replaces: Member | None = None


@dataclass(frozen=True, slots=True)
class End:
    """Tell a worker to end."""

    member: Member
    how: Stop


@dataclass(frozen=True, slots=True)
class Say:
    """A line for the log."""

    text: str
    level: Literal["info", "warning", "error"] = "info"


Action: TypeAlias = "Start | End | Say"
