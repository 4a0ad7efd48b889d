"""Whether what an application raises says no more than that its peer has left, or that the server stops.

Frameworks turn the disconnect message into an exception of their own, and many applications let it pass. That is no
defect: it is one line in the log, without a traceback. What is raised after a disconnect for any other reason, in
the cleaning up for instance, stays an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgiserve.errors import ClientDisconnected

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["carries_code", "is_called_disconnect", "says_only"]


def says_only(error: BaseException, matches: Callable[[BaseException], bool]) -> bool:
    """Whether it is ours or matches; a group, if all of it does."""
    if isinstance(error, BaseExceptionGroup):
        return all(says_only(one, matches) for one in error.exceptions)
    return isinstance(error, ClientDisconnected) or matches(error)


def carries_code(error: BaseException, code: int) -> bool:
    """Whether it has an attribute `code` with the code of the disconnect that the application was given."""
    own = getattr(error, "__dict__", {})  # not by getattr: a property would be the application's code
    return bool(own.get("code") == code)


def is_called_disconnect(error: BaseException) -> bool:
    """HTTP's disconnect carries nothing that could be recognised but the name that a framework gives it."""
    return any("disconnect" in each.__name__.lower() for each in type(error).__mro__)
