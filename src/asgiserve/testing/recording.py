"""What an application raises, kept for the test that runs it.

The server says what that is, where it decides what it logs: neither its own cancellation, nor what says no more than
that the peer has left or that the server stops. What comes out of the lifespan it raises itself.
"""

from __future__ import annotations

from typing import Final

__all__ = ["besides", "keep", "raise_recorded"]

_KEPT: Final = 100
"""Errors that are kept, each with its traceback and all that hangs on it. The first ones tell the cause."""


def keep(errors: list[BaseException], error: BaseException) -> None:
    """Record one error more, if there are not too many."""
    if len(errors) < _KEPT:
        errors.append(error)


def raise_recorded(errors: list[BaseException]) -> None:
    """Raise what was recorded, if anything was, and forget it: one error bare, several as a group."""
    recorded = errors[:]
    errors.clear()
    if len(recorded) == 1:
        raise recorded[0]
    if recorded:
        raise BaseExceptionGroup("the application raised", recorded)


def besides(error: BaseException) -> str:
    """The note on a test's own error, when the server has ended in one too."""
    return f"Besides, out of the server: {type(error).__name__}: {error}"
