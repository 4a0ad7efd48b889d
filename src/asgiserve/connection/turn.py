"""Taking turns on one end of a stream: the free case costs a flag, waiting costs an event."""

from __future__ import annotations

from collections import deque

import anyio

__all__ = ["Turn"]


class Turn:
    """A lock without an owner: `taken` may be set directly where it is known to be free.

    anyio's Lock asks for the current task each time (0.5 µs, twice a request); here nobody asks who holds it.
    """

    __slots__ = ("_waiting", "taken")

    def __init__(self) -> None:
        self.taken = False
        self._waiting: deque[anyio.Event] | None = None

    async def take(self) -> None:
        """Wait until it is free, first come first served, and take it. A cancelled wait takes nothing."""
        if not self.taken:
            self.taken = True
            return
        if self._waiting is None:
            self._waiting = deque()
        given = anyio.Event()
        self._waiting.append(given)
        try:
            await given.wait()
        except BaseException:
            if given.is_set():
                self.free()
            else:
                self._waiting.remove(given)
            raise

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for it."""
        return bool(self._waiting)

    def free(self) -> None:
        """Give it to whoever has waited longest; to nobody in particular if nobody waits."""
        # It stays taken while it is handed on: a newcomer must not overtake, or bytes would change places.
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self.taken = False
