"""The guard around every task that may run an application: nothing that it does ends the server.

An application that leaves a cancel scope or a task group open corrupts the bookkeeping of its own task, past any
`except` inside it; the error then comes out of the task group that the task belongs to. So that group is a
small one of its own, and its errors are caught here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from asgiserve import logs
from asgiserve.backend import ki_protected
from asgiserve.connection.calling import TaskClosed

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["guarded"]


@ki_protected
async def guarded(ended: Callable[[], None], body: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
    """Run `body(*args)` in a task of its own; log what comes out of it, and let only our cancellation pass. `ended` is
    called in any case."""
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(body, *args)
    except BaseExceptionGroup as errors:
        ours, foreign = errors.split(anyio.get_cancelled_exc_class())
        if foreign is not None:
            foreign = foreign.split(TaskClosed)[1]  # it has been logged as the application's error that it is
        if foreign is not None:
            logs.log_internal_error("a connection", foreign)
        if ours is not None and anyio.current_effective_deadline() == float("-inf"):
            raise ours from None
    except anyio.get_cancelled_exc_class():
        if anyio.current_effective_deadline() == float("-inf"):
            raise
    finally:
        ended()
