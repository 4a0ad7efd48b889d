"""What only the event loop's own library can do; the one room beside `streams/` that names both.

Everything else is anyio, and the question which library runs is never asked elsewhere. uvloop is imported
here and in no other file.
"""

from __future__ import annotations

import asyncio
import importlib.util
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import anyio
import trio

from asgiserve.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from asgiserve.config import Launch

__all__ = ["HostTask", "clock", "current_backend", "host_task", "ki_protected", "run_options", "stopwatch"]

ki_protected = trio.lowlevel.enable_ki_protection
"""On trio, Ctrl+C in an embedding program must reach its main task, never one of ours or an application.
asyncio delivers it to the main task anyway, and there this changes nothing."""


def current_backend() -> str:
    """The library whose event loop is running here: "asyncio" or "trio"."""
    return "trio" if trio.lowlevel.in_trio_run() else "asyncio"


def clock() -> Callable[[], float]:
    """The running loop's clock, in seconds. anyio.current_time() asks each time which loop that is.

    It may be read in other threads as well: an overview of a loop that is blocked is made in one.
    """
    if trio.lowlevel.in_trio_run():
        return trio.lowlevel.current_clock().current_time
    return asyncio.get_running_loop().time


def stopwatch() -> Callable[[], float]:
    """A clock for durations, in seconds. The loop's own, but for uvloop's, which moves in milliseconds only."""
    if not trio.lowlevel.in_trio_run() and not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):
        return time.perf_counter
    return clock()


class HostTask(ABC):
    """The task in which a driver calls applications."""

    __slots__ = ("cancelling",)

    def __init__(self, cancelling: Callable[[], int]) -> None:
        self.cancelling = cancelling
        """How often somebody has cancelled the task itself, by the loop's own means."""

    @abstractmethod
    def context_replaced(self) -> bool:
        """Whether the loop runs this step in another context than the task's own, on purpose."""

    @abstractmethod
    async def absorb_cancellation(self) -> None:
        """Undo such a cancellation, so that the driver can go on. Our own still comes through."""


def host_task() -> HostTask:
    """The current task, as a driver needs to know it."""
    return _TrioTask() if trio.lowlevel.in_trio_run() else _AsyncioTask()


class _AsyncioTask(HostTask):
    __slots__ = ("_task",)

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        super().__init__(task.cancelling)
        self._task = task

    def context_replaced(self) -> bool:
        return False

    async def absorb_cancellation(self) -> None:
        if anyio.current_effective_deadline() == float("-inf"):
            return  # it is ours: anyio counts it, and undoes it where its scope ends
        while self._task.uncancel():
            pass
        try:
            # until py3.13: a cancellation that has not been delivered survives uncancel()
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            if anyio.current_effective_deadline() == float("-inf"):
                raise


class _TrioTask(HostTask):
    __slots__ = ("_context", "_task")

    def __init__(self) -> None:
        super().__init__(int)  # always 0: trio cancels scopes, never tasks
        self._task = trio.lowlevel.current_task()
        self._context = self._task.context

    def context_replaced(self) -> bool:
        return self._task.context is not self._context

    async def absorb_cancellation(self) -> None:
        raise AssertionError("nothing can cancel a trio task but its scopes")


def run_options(launch: Launch) -> tuple[str, dict[str, Any]]:
    """What `anyio.run()` takes as `backend` and `backend_options`. ConfigError if the two do not fit."""
    if launch.backend == "trio":
        if launch.loop != "auto":
            raise ConfigError(
                f"loop: {launch.loop} is an event loop for asyncio and cannot run trio, which brings its own;"
                " leave it out, or choose the asyncio backend"
            )
        return "trio", {}
    if launch.loop == "asyncio":
        return "asyncio", {}
    if importlib.util.find_spec("uvloop") is None:
        if launch.loop == "auto":
            return "asyncio", {}
        raise ConfigError("loop: uvloop is not installed; pip install 'asgiserve[uvloop]'")
    import uvloop

    return "asyncio", {"loop_factory": uvloop.new_event_loop}
