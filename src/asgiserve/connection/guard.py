"""The guard around every task that may run an application: nothing that it does ends the server.

An application that leaves a cancel scope or a task group open corrupts the bookkeeping of its own task, past any
`except` inside it; the error then comes out of the task group that the task belongs to. So that group is a
small one of its own, and its errors are caught here.

A guard is a task and a group, more than a fourth of what a connection with one request costs. So a guard whose task has
left nothing open is kept for the next. That is a task of its own again: what else an application has done to the one
before, with a timeout of asyncio's that it never left for example, does not reach it.

`Service.spawn` is the one who asks for guards. A body is `ki_protected`: no task inherits that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio.lowlevel import checkpoint

from asgiserve import logs
from asgiserve.backend import ki_protected
from asgiserve.connection.calling import TaskClosed
from asgiserve.connection.deadlines import Deadlines, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import TypeAlias

    from anyio import TaskHandle
    from anyio.abc import TaskGroup

    from asgiserve.connection.deadlines import Watcher

    Body: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]

__all__ = ["Guards"]

_MOST_SPARE: Final = 64
"""As many guards wait for a task, as connections are accepted in one go. Each takes 7 KiB."""

_SPARE_SECONDS: Final = 1.0
"""Guards that nobody has needed for so long go."""


class Guards:
    """The guards of one server, in one task group."""

    def __init__(self, watcher: Watcher) -> None:
        self.deadlines = Deadlines(watcher)
        self._clock = watcher.clock
        self._group: TaskGroup
        self._busy: set[_Guard] = set()
        self._spare: list[_Guard] = []
        """The last is the next to be used."""
        self._most_spare = _MOST_SPARE
        self._unneeded = 0
        """So many of the spare ones, the first, have not been used since somebody looked."""
        watcher.watch(self)

    def open(self, group: TaskGroup) -> None:
        """All tasks are to be in this group."""
        self._group = group

    @property
    def tasks(self) -> int:
        """How many guarded tasks there are."""
        return len(self._busy)

    def start_soon(self, body: Body, *args: Any) -> None:
        """Run `body(*args)` in a guarded task."""
        if self._spare:
            guard = self._spare.pop()
            self._unneeded = min(self._unneeded, len(self._spare))
            guard.start_soon(body, *args)
        else:
            guard = _Guard(self)
            self._group.start_soon(guard.run, body, *args)
        self._busy.add(guard)

    def keep(self, guard: _Guard) -> bool:
        """The task of this guard has ended well. False: the guard is to go."""
        self._busy.discard(guard)
        if len(self._spare) >= self._most_spare:
            return False
        if not self._spare:
            self.deadlines.arm(Reason.IDLE, self._clock() + _SPARE_SECONDS)
        self._spare.append(guard)
        return True

    def withdraw(self, guard: _Guard) -> None:
        """This guard takes no task any more."""
        if guard in self._spare:
            self._spare.remove(guard)

    def forget(self, guard: _Guard) -> None:
        """This guard has ended, and its task with it."""
        self._busy.discard(guard)

    def deadline_passed(self, reason: Reason) -> None:
        """What the watcher calls: let those go that have not been needed."""
        self._let_go(self._unneeded)
        self._unneeded = len(self._spare)
        if self._spare:
            self.deadlines.arm(reason, self._clock() + _SPARE_SECONDS)

    def close(self) -> None:
        """Few tasks are still to come: no guard is kept for them."""
        self._most_spare = 0
        self._let_go(len(self._spare))

    def _let_go(self, count: int) -> None:
        for guard in self._spare[:count]:
            guard.let_go()
        del self._spare[:count]


class _Guard:
    """One task at a time, and the group around it."""

    __slots__ = ("_group", "_guards", "_task", "_used_again")

    def __init__(self, guards: Guards) -> None:
        self._guards = guards
        self._group: TaskGroup
        self._task: TaskHandle[Any]
        self._used_again: anyio.Event

    def start_soon(self, body: Body, *args: Any) -> None:
        """Only for a guard that is spare."""
        self._task = self._group.create_task(body(*args))
        self._used_again.set()

    def let_go(self) -> None:
        """No other task is to come."""
        self._group.cancel_scope.cancel()

    @ki_protected
    async def run(self, body: Body, *args: Any) -> None:
        """Run `body(*args)` in a task of its own, and then others.

        What comes out of one is logged, and ends the guard; only our cancellation passes.
        """
        try:
            async with anyio.create_task_group() as self._group:
                self._task = self._group.create_task(body(*args))
                del body, args  # nothing of a connection stays alive while its guard is spare
                await self._outlive_tasks()
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
            self._guards.forget(self)

    async def _outlive_tasks(self) -> None:
        """Until no other is to come; cancelled by what one has left open."""
        while True:
            await self._task.wait()
            await checkpoint()  # what it has left open comes out in the next turn
            del self._task
            self._used_again = anyio.Event()
            if not self._guards.keep(self):
                return
            try:
                await self._used_again.wait()
            except BaseException:
                self._guards.withdraw(self)
                raise
