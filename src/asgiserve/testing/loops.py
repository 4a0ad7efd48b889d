"""What a test's server needs of its event loop and anyio does not have: calls from other threads that nobody waits
for, tasks that no cancel scope of the caller holds, and where every task is.
"""

from __future__ import annotations

import asyncio
import traceback
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import trio

from asgiserve.backend import current_backend
from asgiserve.connection.stacks import stack_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

__all__ = ["caller", "spawn", "tasks_text"]

_spawned: set[asyncio.Task[None]] = set()
"""asyncio itself keeps only weak references to tasks. Each is here until it is done."""


def caller() -> Callable[[Callable[[], object]], None]:
    """A function that calls another one in the running loop soon, from any thread; nobody waits for it.

    anyio's `from_thread.run_sync` waits, for ever if something blocks the loop. Raises RuntimeError when the loop has
    ended.
    """
    if current_backend() == "trio":
        token = trio.lowlevel.current_trio_token()
        return lambda function: token.run_sync_soon(function)
    loop = asyncio.get_running_loop()
    return lambda function: _drop(loop.call_soon_threadsafe(function))


def spawn(function: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it in a task that belongs to no task group; whoever calls makes it end, and it must not raise.

    A context manager that kept a task group open across its `yield` could not be a fixture: pytest plugins enter
    and leave fixtures in different tasks, which a cancel scope does not survive.
    """
    if current_backend() == "trio":
        trio.lowlevel.spawn_system_task(function, name="asgiserve server for tests", context=copy_context())
        return
    task = asyncio.get_running_loop().create_task(function(), name="asgiserve server for tests")
    _spawned.add(task)
    task.add_done_callback(_spawned.discard)


def tasks_text() -> str:
    """Every task of the running loop, and where it is."""
    return "\n".join(_trio_tasks() if current_backend() == "trio" else _asyncio_tasks())


def _asyncio_tasks() -> Iterator[str]:
    for task in asyncio.all_tasks():
        # Not task.print_stack(): of nested coroutines it shows the outermost only.
        yield f"Task {task.get_name()}\n{stack_of(task.get_coro()).rstrip()}"


def _trio_tasks() -> Iterator[str]:
    root = trio.lowlevel.current_root_task()
    waiting = [] if root is None else [root]
    while waiting:
        task = waiting.pop()
        waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        frames = traceback.StackSummary.extract(task.iter_await_frames())
        yield f"Task {task.name}\n{''.join(frames.format()).rstrip()}"


def _drop(_: object) -> None:
    pass
