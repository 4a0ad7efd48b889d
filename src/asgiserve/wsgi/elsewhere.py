"""What a WSGI application asks of the event loop in other threads than the one that it was called in.

Frameworks run asynchronous views in a thread of their own (asgiref), applications have pools. A call of such a thread
is a task outside the request's cancel scope, and the request's own thread may be waiting for nothing but that call. So
it has a scope of its own here, which is cancelled when the request is, and when the application has returned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from anyio import from_thread
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from asgiserve.backend import ki_protected
from asgiserve.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.lowlevel import EventLoopToken

__all__ = ["Elsewhere"]

_T = TypeVar("_T")


class Elsewhere:
    """The calls from other threads of one request. `call` and `check` are for these, all else for the loop."""

    def __init__(self, loop: EventLoopToken) -> None:
        self.over = False
        """The application has returned: who calls now is told so, and touches nothing."""
        self.used = False
        self.cancellation: type[BaseException] | tuple[()] = ()
        """The class of what calls were ended by, for `except`."""
        self._loop = loop
        self._cancelled = False
        self._calls: dict[anyio.CancelScope, anyio.Event] = {}
        """Those that go on, each with what is set at its end."""

    def check(self) -> None:
        """Raise an error if it is too late for a call."""
        if self.over:
            raise LocalProtocolError("The request is over: nothing of it can be read, and nothing written to it.")

    def call(self, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """Call it in the loop, and wait. Raises the loop's own cancellation if the request is cancelled."""
        self.check()
        self.used = True
        result, cancelled = from_thread.run(self._in_scope, function, args, token=self._loop)
        if cancelled is None:
            return result
        self.check()
        try:
            raise cancelled
        finally:
            del cancelled  # its traceback holds this frame

    async def watched(self, function: Callable[[], Awaitable[_T]]) -> _T:
        """Await it, and notice when the request is cancelled meanwhile: a wait for a thread does not end by that."""
        error: BaseException | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch)
            try:
                return await function()
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as caught:
                error = caught  # the group would wrap it
            finally:
                self.over = True
                group.cancel_scope.cancel()
        assert error is not None
        try:
            raise error
        finally:
            del error  # its traceback holds this frame

    async def end(self) -> None:
        """End what goes on. The response may be completed by others behind it."""
        self.over = True
        if self._calls:
            ends = [*self._calls.values()]
            self._cancel()
            with anyio.CancelScope(shield=True):
                for end in ends:
                    await end.wait()

    async def _in_scope(self, function: Callable[..., Awaitable[Any]], args: Any) -> tuple[Any, BaseException | None]:
        """The result, or the cancellation that has ended the call: anyio would give a thread another class of it."""
        end = anyio.Event()
        cancelled = None
        with anyio.CancelScope() as scope:
            self._calls[scope] = end
            if self._cancelled or self.over:
                scope.cancel()
            try:
                await checkpoint_if_cancelled()
                try:
                    return await function(*args), None
                finally:
                    # Who is cancelled is told to end in the same moment, and we learn of it a step later.
                    await checkpoint()
            except anyio.get_cancelled_exc_class() as error:
                self.cancellation = type(error)
                cancelled = error
                raise
            finally:
                del self._calls[scope]
                end.set()
        return None, cancelled

    @ki_protected
    async def _watch(self) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            if not self.over:
                self._cancelled = True
                self._cancel()

    def _cancel(self) -> None:
        for scope in self._calls:
            scope.cancel()
