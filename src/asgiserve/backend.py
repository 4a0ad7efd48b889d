"""What only the event loop's own library can do; the one room beside `streams/` that names both.

Everything else is anyio, and the question which library runs is never asked elsewhere. uvloop is imported
here and in no other file. trio is imported where it runs and not before: a process that serves on asyncio would pay
60 ms and 6 MiB for it.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import socket
import sys
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio

from asgiserve.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asgiserve.config import Launch

__all__ = [
    "LIBRARIES",
    "HostTask",
    "children_awaited",
    "clock",
    "current_backend",
    "host_task",
    "ki_protected",
    "loop_name",
    "reached_by_signals",
    "reached_by_threads",
    "run_ended",
    "run_options",
    "stopwatch",
]

LIBRARIES: Final = frozenset({"anyio", "asyncio", "trio"})
"""The packages of the event loops, and of what makes them alike."""

_Function = TypeVar("_Function", bound="Callable[..., Any]")

_unprotected: Final[list[Callable[..., Any]]] = []
"""What is to be protected as soon as trio is there."""


def ki_protected(function: _Function) -> _Function:
    """On trio, Ctrl+C in an embedding program must reach its main task, never one of ours or an application.

    asyncio delivers it to the main task anyway, and there this changes nothing. trio looks functions up when the signal
    comes, so one may be protected while it runs.
    """
    enable = getattr(sys.modules.get("trio.lowlevel"), "enable_ki_protection", None)
    if enable is None:
        _unprotected.append(function)
    else:
        enable(function)
    return function


def _on_trio() -> bool:
    """Whether a task of trio's is what runs here. From the first on, what is to be protected is."""
    # Nothing to ask before somebody has imported trio, nor while another thread does. Of the task, not of the run:
    # while trio is the guest of an asyncio loop, the run is there in the host's tasks too.
    in_trio_task: Callable[[], bool] | None = getattr(sys.modules.get("trio.lowlevel"), "in_trio_task", None)
    if in_trio_task is None or not in_trio_task():
        return False
    if _unprotected:
        for function in _unprotected:
            ki_protected(function)
        _unprotected.clear()
    return True


def current_backend() -> str:
    """The library whose event loop is running here: "asyncio" or "trio"."""
    return "trio" if _on_trio() else "asyncio"


def loop_name() -> str:
    """For people: "trio", "asyncio", or "asyncio with uvloop"."""
    if _on_trio():
        return "trio"
    library = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    return f"asyncio with {library}" if library == "uvloop" else "asyncio"


def clock() -> Callable[[], float]:
    """The running loop's clock, in seconds. anyio.current_time() asks each time which loop that is.

    It may be read in other threads as well: an overview of a loop that is blocked is made in one.
    """
    if _on_trio():
        import trio

        return trio.lowlevel.current_clock().current_time
    return asyncio.get_running_loop().time


def stopwatch() -> Callable[[], float]:
    """A clock for durations, in seconds. The loop's own, but for uvloop's, which moves in milliseconds only."""
    if not _on_trio() and not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):
        return time.perf_counter
    return clock()


def run_ended() -> Callable[[], bool]:
    """What tells, in any thread, whether the loop that is running here has ended and left nothing to wait for."""
    if not _on_trio():
        return asyncio.get_running_loop().is_closed
    import trio

    token = trio.lowlevel.current_trio_token()

    def ended() -> bool:
        try:
            token.run_sync_soon(_nothing)
        except trio.RunFinishedError:
            return True
        return False

    return ended


def _nothing() -> None:
    """What trio is asked to run, to see whether it runs anything."""


def reached_by_threads() -> Callable[[Callable[[], object]], None]:
    """What calls a function in the loop that is running here, soon; for other threads. When the loop has ended it does
    nothing."""
    call: Callable[[Callable[[], object]], object]
    if _on_trio():
        import trio

        call = trio.lowlevel.current_trio_token().run_sync_soon
    else:
        call = asyncio.get_running_loop().call_soon_threadsafe

    def soon(function: Callable[[], object]) -> None:
        try:
            call(function)
        except RuntimeError:
            pass  # it has ended; trio's error is one of these

    return soon


@contextmanager
def reached_by_signals() -> Iterator[Callable[[Callable[[], object]], None]]:
    """The loop that is running here wakes for the handlers of signals, which Python calls in the main thread.

    What it gives is `reached_by_threads()`, which may be used by such handlers then.
    """
    soon = reached_by_threads()
    loop = None if _on_trio() else asyncio.get_running_loop()
    if isinstance(loop, asyncio.SelectorEventLoop):
        with _woken(loop):
            yield soon
        return
    try:
        yield soon  # the others wake by themselves
    finally:
        if loop is None:
            # trio closes its socket before it takes it from Python's signals: one that comes then is a traceback.
            signal.set_wakeup_fd(-1)


@contextmanager
def _woken(loop: asyncio.SelectorEventLoop) -> Iterator[None]:
    """asyncio wakes for a signal that interrupts its wait. But the kernel may give it to another thread, whose wait is
    interrupted then; only this descriptor is written to in any of them."""
    reading, writing = socket.socketpair()
    with reading, writing:
        reading.setblocking(False)
        writing.setblocking(False)
        loop.add_reader(reading, reading.recv, 4096)
        before = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            current = signal.set_wakeup_fd(before)
            if current != writing.fileno():
                signal.set_wakeup_fd(current)  # the application takes signals of its own
            loop.remove_reader(reading)


@contextmanager
def children_awaited() -> Iterator[None]:
    """The loop that is running here waits for processes without a thread each, as asyncio does from Python 3.12 on: a
    process whose thread cannot be started is nobody's, and goes on."""
    if sys.version_info >= (3, 12) or sys.platform != "linux" or _on_trio():
        yield
        return
    before, watcher = asyncio.get_child_watcher(), asyncio.PidfdChildWatcher()
    watcher.attach_loop(asyncio.get_running_loop())
    with suppress(AttributeError, OSError):  # an old system, or a Python that was made on one
        os.close(os.pidfd_open(os.getpid()))
        asyncio.set_child_watcher(watcher)
    try:
        yield
    finally:
        asyncio.set_child_watcher(before)


class HostTask(ABC):
    """The task in which a driver calls applications."""

    __slots__ = ("_info", "cancelling")

    def __init__(self, cancelling: Callable[[], int]) -> None:
        self.cancelling = cancelling
        """How often somebody has cancelled the task itself, by the loop's own means."""
        self._info: anyio.TaskInfo | None = None

    def cancelled(self) -> bool:
        """Whether the next wait would end at once, by a cancel scope around it or a cancelled task. Asked by the task.

        anyio.current_effective_deadline() would tell too; it takes five times as long on either loop.
        """
        if self._info is None:
            self._info = anyio.get_current_task()
        return self._info.has_pending_cancellation()

    @abstractmethod
    def context_replaced(self) -> bool:
        """Whether the loop runs this step in another context than the task's own, on purpose."""

    @abstractmethod
    async def absorb_cancellation(self) -> None:
        """Undo such a cancellation, so that the driver can go on. Our own still comes through."""


def host_task() -> HostTask:
    """The current task, as a driver needs to know it."""
    return _TrioTask() if _on_trio() else _AsyncioTask()


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
        import trio

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
