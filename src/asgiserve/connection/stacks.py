"""Where a suspended application is: the frames of a coroutine and of what it awaits."""

from __future__ import annotations

import traceback
from typing import Any

__all__ = ["stack_of"]


def stack_of(coroutine: Any) -> str:
    """The stack of a suspended coroutine, outermost frame first, in the form of a traceback.

    A task's own stack stops at the generator in `calling.py`, which drives the coroutine by hand.
    """
    frames = []
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is None:
            break
        frames.append((frame, frame.f_lineno))
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return "".join(traceback.StackSummary.extract(iter(frames)).format())
