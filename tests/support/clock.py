"""Virtual time for tests: `sleep(3600)` takes no time at all, on both backends.

trio has `MockClock`; asyncio gets an event loop whose clock jumps to the next timer whenever nothing else is
ready. Never use threads or real sockets in such a test: a jump does not wait for them.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class _JumpingSelector(selectors.DefaultSelector):
    """Never sleeps: where a real selector would wait for a timer, it moves the clock there instead."""

    jumped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise RuntimeError("deadlock: every task waits, and no timer is set")
        self.jumped += timeout
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop in virtual time."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        # A fixed origin, so that a deadline at t and a jump to t compare equal.
        return 1000.0 + self._jumping.jumped


def virtual_time(backend: str) -> tuple[str, Mapping[str, Any]]:
    """The value of an `anyio_backend` fixture that runs a test in virtual time."""
    if backend == "trio":
        from trio.testing import MockClock

        return "trio", {"clock": MockClock(autojump_threshold=0)}
    return "asyncio", {"loop_factory": JumpingLoop}
