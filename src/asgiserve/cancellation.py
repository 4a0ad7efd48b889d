"""Whose a cancellation is that comes out of an application: ours, the end of the event loop, or its own.

On asyncio all of them are one exception, and anyone may cancel any task. Used where applications are called, in
`connection/` and by the lifespan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from asgiserve.backend import host_task, ki_protected

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LoopEnd", "bare_cancellation", "own_error"]


class LoopEnd:
    """Whether the event loop is cancelling all of its tasks, because it ends.

    asyncio.run() and its like do that when their own coroutine has returned, and when SystemExit or KeyboardInterrupt
    has come out of any task, which stops the loop. To each task it looks as if its application had cancelled it.
    So one task only waits, behind a shield, since anyio's scopes cancel asyncio's tasks too: nobody else has a reason
    to cancel it. trio has no such end: whoever starts a task waits for it.
    """

    __slots__ = ("_cancelling", "_over")

    def __init__(self) -> None:
        self._cancelling: Callable[[], int] = int
        self._over = anyio.Event()

    def has_come(self) -> bool:
        """All tasks are cancelled at once: true before any of them learns of it."""
        return self._cancelling() > 0

    @ki_protected
    async def watch(self, tell: Callable[[str, BaseException], None]) -> None:
        """Wait until `over()`; tell what has stopped the loop, if that is how it ends."""
        self._cancelling = host_task().cancelling
        try:
            with anyio.CancelScope(shield=True):
                await self._over.wait()
        except anyio.get_cancelled_exc_class() as error:
            # A runner cancels its loop's tasks while it handles what has stopped the loop.
            cause = error.__context__
            if isinstance(cause, (SystemExit, KeyboardInterrupt)) and self.has_come():
                tell(f"{type(cause).__name__} came out of a task of the event loop, which stops it.", cause)
            raise

    def over(self) -> None:
        """Nobody asks any more."""
        self._over.set()


def own_error(error: BaseException, loop_end: LoopEnd) -> BaseException | None:
    """What of an exception out of an application is its own error; None: it is our cancellation, and nothing else.

    A cancellation is ours exactly when a scope around us is cancelled, or the loop itself ends. Anything else,
    SystemExit and a foreign CancelledError included, is the application's own error. What trio's nurseries raise when
    they are cancelled is a group, even of one; anyio's take the cancellation out of it again.
    """
    if anyio.current_effective_deadline() != float("-inf") and not loop_end.has_come():
        return error
    cancelled = anyio.get_cancelled_exc_class()
    if isinstance(error, BaseExceptionGroup):
        return error.split(cancelled)[1]
    return None if isinstance(error, cancelled) else error


def bare_cancellation(error: BaseException) -> BaseException:
    """What to raise again where there is no `own_error()`. asyncio takes a task for cancelled only if it is bare."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
