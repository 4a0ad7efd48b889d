"""The order of the lifespan's messages, as a table. `server/lifespan.py` runs the application against it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from asgiserve.errors import LocalProtocolError

if TYPE_CHECKING:
    from asgiserve.types import Message, Scope

__all__ = ["LifespanMessages", "LifespanState", "lifespan_scope"]

LIFESPAN_SPEC_VERSION: Final = "2.0"


class LifespanState(enum.Enum):
    """Where the application's lifespan stands."""

    STARTING = "startup is not finished"
    STARTED = "startup is finished and shutdown has not been asked for"
    STOPPING = "shutdown is not finished"
    STOPPED = "shutdown is finished"
    FAILED = "it has failed"


def lifespan_scope(state: dict[str, Any]) -> Scope:
    """The lifespan's scope. What the application puts into `state` is copied into every request's scope."""
    return {
        "type": "lifespan",
        "asgi": {"version": "3.0", "spec_version": LIFESPAN_SPEC_VERSION},
        "state": state,
    }


class LifespanMessages:
    """The state of one lifespan's messages, and what the application said when it failed."""

    __slots__ = ("failure", "state")

    def __init__(self) -> None:
        self.state = LifespanState.STARTING
        self.failure = ""
        """The text of a `startup.failed` or `shutdown.failed` message."""

    def advance(self, message: Message) -> LifespanState:
        """The state after the application's message. Raises LocalProtocolError for one that does not fit."""
        kind = _kind_of(message)
        try:
            self.state = _TABLE[self.state][kind]
        except (KeyError, TypeError):
            expected = " or ".join(f"'{one}'" for one in _TABLE.get(self.state, ()))
            instead = f"; expected {expected}" if expected else ""
            raise LocalProtocolError(
                f"Unexpected ASGI message {kind!r} from the lifespan: {self.state.value}{instead}."
            ) from None
        if self.state is LifespanState.FAILED:
            self.failure = str(message.get("message", ""))
        return self.state

    def begin_shutdown(self) -> None:
        """The server asks for the shutdown."""
        self.state = LifespanState.STOPPING


def _kind_of(message: object) -> object:
    return message.get("type") if isinstance(message, Mapping) else None


_TABLE: Final[Mapping[LifespanState, Mapping[Any, LifespanState]]] = {
    LifespanState.STARTING: {
        "lifespan.startup.complete": LifespanState.STARTED,
        "lifespan.startup.failed": LifespanState.FAILED,
    },
    LifespanState.STARTED: {},
    LifespanState.STOPPING: {
        "lifespan.shutdown.complete": LifespanState.STOPPED,
        "lifespan.shutdown.failed": LifespanState.FAILED,
    },
    LifespanState.STOPPED: {},
    LifespanState.FAILED: {},
}
