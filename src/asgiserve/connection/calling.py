"""Calling the application: its coroutine runs inline in the driver's task, but in a context of its own.

No task is made for a request. `call_app` drives the application's coroutine by hand, each step inside the
exchange's `contextvars.Context`, and passes whatever the coroutine yields through to the event loop: futures on
asyncio, traps on trio. To the loop it looks like any other awaited coroutine.

It tells the exchange two things that nobody else could see: whether the application's own coroutine is running
right now (`stepping`), and each time that it suspends (`suspended()`): that is how an application that lingers
after its response is noticed.

Stack dumps of a task stop at the generator below, so the exchange keeps the coroutine for them.
"""

from __future__ import annotations

import types
from operator import call
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextvars import Context

    from asgiserve.backend import HostTask
    from asgiserve.types import ASGIApplication, Message, Scope

__all__ = ["TaskClosed", "call_app"]

_RETURNED: Final = object()


class TaskClosed(BaseException):
    """All coroutines of the task are being closed, ours too: none of them can wait for anything any more.

    That is what Python makes of a GeneratorExit that is thrown into a coroutine, and asyncio throws into a task
    whatever the future that it awaits has raised.
    """


class _Called(Protocol):
    """What `call_app` needs of an exchange."""

    context: Context
    coroutine: Any
    stepping: bool

    def suspended(self) -> None: ...
    async def receive(self) -> Message: ...
    async def send(self, message: Message, /) -> None: ...


@types.coroutine
def call_app(app: ASGIApplication, scope: Scope, exchange: _Called, host: HostTask) -> Generator[Any, Any, None]:
    """Await `app(scope, receive, send)`, the call and every step of it inside the exchange's context."""
    run = exchange.context.run
    exchange.stepping = True
    try:
        coroutine: Any = run(app, scope, exchange.receive, exchange.send)
        if type(coroutine) is not CoroutineType:
            coroutine = _awaiting(coroutine)
        exchange.coroutine = coroutine
        # `next` with a default ends without an exception; most applications never suspend.
        yielded = run(next, coroutine.__await__(), _RETURNED)
        while yielded is not _RETURNED:
            exchange.stepping = False
            exchange.suspended()
            value = error = None
            try:
                value = yield yielded
            except GeneratorExit:
                exchange.stepping = True
                raise _closed(run, coroutine) from None
            except BaseException as caught:
                error = caught
            exchange.stepping = True
            # A thread may call back by trio.from_thread: trio runs this one step in the thread's context, on purpose,
            # and has entered it already.
            step = call if host.context_replaced() else run
            if error is None:
                yielded = step(coroutine.send, value)
            else:
                try:
                    yielded = step(coroutine.throw, error)
                finally:
                    # The exception's traceback holds this frame: without this, each would be a cycle.
                    del error
    except StopIteration:
        return
    finally:
        exchange.stepping = False
        exchange.coroutine = None


def _closed(run: Callable[..., Any], coroutine: Any) -> TaskClosed:
    """The application's coroutine is closed with its task. What it raises meanwhile is told as the cause."""
    closed = TaskClosed("the task is closed: something that the application awaited has raised GeneratorExit")
    try:
        run(coroutine.close)
    except BaseException as error:
        closed.__cause__ = error
    return closed


async def _awaiting(awaitable: Any) -> None:
    """Any other awaitable as a coroutine: its iterator need not have `send` and `throw`."""
    await awaitable
