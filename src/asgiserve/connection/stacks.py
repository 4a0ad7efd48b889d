"""Where a suspended application is: the frames of a coroutine and of what it awaits."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any, Final

from asgiserve.backend import LIBRARIES

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["name_of", "stack_of"]

_HOW_TO_WAIT: Final = LIBRARIES | {"asgiserve"}
"""Packages whose frames say how one waits, and not for what."""


def name_of(coroutine: Any) -> str:
    """Whose coroutine it is: "shop.main.FastAPI.__call__"."""
    frame = getattr(coroutine, "cr_frame", None)
    module = None if frame is None else frame.f_globals.get("__name__")
    name = getattr(coroutine, "__qualname__", type(coroutine).__qualname__)
    return f"{module}.{name}" if module else name


def stack_of(coroutine: Any, *, brief: bool = False) -> str:
    """The stack of a suspended coroutine, outermost frame first, in the form of a traceback.

    A task's own stack stops at the generator in `calling.py`, which drives the coroutine by hand. `brief` leaves out
    how the event loop makes it wait: below the application, what it has called is enough.
    """
    frames = []
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is None:
            break
        frames.append((frame, frame.f_lineno))
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    if brief:
        known = [place for place, (frame, _) in enumerate(frames) if _package_of(frame) not in _HOW_TO_WAIT]
        frames = frames[: known[-1] + 2] if known else frames
    return "".join(traceback.StackSummary.extract(iter(frames)).format())


def _package_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
