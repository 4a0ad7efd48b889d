"""What comes beside the event loop, on its way to one task of it: signals, and what a worker hears of its supervisor.

Used by taken_signals.py and by `supervise/`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Generic, Self, TypeVar

import anyio
from anyio.lowlevel import checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Waiting", "keep"]

_MOST: Final = 16
"""As many of each wait for the event loop. The third of those that stop is the last with a meaning."""

_Item = TypeVar("_Item")


class Waiting(Generic[_Item]):
    """From a handler of signals, or from another thread, to one task of the event loop, which iterates over them."""

    def __init__(self, soon: Callable[[Callable[[], object]], None]) -> None:
        """`soon` calls a function in the event loop."""
        self._soon = soon
        self._waiting: deque[_Item] = deque()
        self._news = anyio.Event()

    def put(self, item: _Item) -> None:
        keep(self._waiting, item)
        self._soon(self._tell)

    def _tell(self) -> None:
        self._news.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _Item:
        await checkpoint()
        while not self._waiting:
            # One that comes in between tells this event of it: the loop has to turn before it can.
            self._news = anyio.Event()
            await self._news.wait()
        return self._waiting.popleft()


def keep(kept: deque[_Item], item: _Item) -> None:
    """For later, if not as many like it wait already."""
    if kept.count(item) < _MOST:
        kept.append(item)
