"""Virtual time for tests: `sleep(3600)` takes no time at all, on both backends.

trio has `MockClock`; asyncio gets an event loop whose clock jumps to the next timer whenever nothing else is
ready. Use servers and streams in memory with it, never threads or sockets: a jump does not wait for them. Where every
task waits and no timer is set, the asyncio loop raises; trio waits for ever, so give each test a deadline.

Public: `virtual_time` is what the pytest plugin's fixture `asgi_virtual_time` returns, and our own tests run by.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["JumpingLoop", "virtual_time"]


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
    """The value of an `anyio_backend` fixture that runs a test in virtual time.

    As `anyio.run(main, backend=name, backend_options=options)`, it does the same for a program.
    """
    if backend == "trio":
        from trio.testing import MockClock

        return "trio", {"clock": MockClock(autojump_threshold=0)}
    return "asyncio", {"loop_factory": JumpingLoop}
