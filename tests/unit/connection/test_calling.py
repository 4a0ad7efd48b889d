"""Driving an application's coroutine by hand: its context, its suspensions, and awaitables of every kind."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
import trio

from asgiserve.backend import host_task
from asgiserve.connection.calling import call_app

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from asgiserve.types import Message, Receive, Scope, Send

pytestmark = pytest.mark.anyio

var: ContextVar[str] = ContextVar("var", default="nothing")


class Exchange:
    """What `call_app` needs of an exchange, with a count of the suspensions that it was told of."""

    def __init__(self) -> None:
        self.context = copy_context()
        self.coroutine: Any = None
        self.stepping = False
        self.suspensions = 0

    def suspended(self) -> None:
        assert not self.stepping
        self.suspensions += 1

    async def receive(self) -> Message:
        return {"type": "http.request"}

    async def send(self, message: Message, /) -> None:
        assert self.stepping


async def call(app: Callable[..., Awaitable[None]]) -> Exchange:
    exchange = Exchange()
    await call_app(app, {"type": "http"}, exchange, host_task())
    assert not exchange.stepping
    return exchange


async def test_an_application_that_never_waits_is_never_suspended() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "http.request"
        await send({"type": "http.response.start"})

    assert (await call(app)).suspensions == 0


async def test_every_suspension_is_told() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(3):
            await anyio.sleep(1)
            await send({"type": "http.response.body"})

    assert (await call(app)).suspensions >= 3


async def test_the_call_and_each_step_happen_in_the_given_context() -> None:
    seen = []

    def app(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        seen.append(var.get())
        var.set("in the call")
        return steps()

    async def steps() -> None:
        seen.append(var.get())
        var.set("in a step")
        await anyio.sleep(1)
        seen.append(var.get())

    var.set("outside")
    await call(app)
    assert seen == ["outside", "in the call", "in a step"]
    assert var.get() == "outside"


async def test_child_tasks_inherit_the_context_of_the_application() -> None:
    seen = []

    async def child() -> None:
        seen.append(var.get())

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        var.set("mine")
        async with anyio.create_task_group() as group:
            group.start_soon(child)

    await call(app)
    assert seen == ["mine"]


async def test_an_error_comes_out_as_it_is() -> None:
    error = ValueError("mine")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(1)
        raise error

    with pytest.raises(ValueError, match="mine") as caught:
        await call(app)
    assert caught.value is error


async def test_a_cancellation_goes_in_and_what_the_application_makes_of_it_comes_out() -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await anyio.sleep(10)
        finally:
            seen.append("cleaned up")

    with anyio.move_on_after(1) as outer:
        await call(app)
    assert outer.cancelled_caught
    assert seen == ["cleaned up"]


async def test_scopes_and_timeouts_inside_the_application_work() -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.move_on_after(1) as inner:
            await anyio.sleep(10)
        seen.append(inner.cancelled_caught)
        await anyio.sleep(1)
        seen.append(True)

    await call(app)
    assert seen == [True, True]


class WithGenerator:
    def __await__(self) -> Generator[Any, Any, None]:
        yield from anyio.sleep(1).__await__()


class WithPlainIterator:
    """`__await__` may return any iterator: one without `send` and `throw`."""

    def __await__(self) -> Any:
        return iter(())


class WithMisleadingSend:
    """An object with a `send` of its own is not a coroutine."""

    def send(self, value: object) -> None:
        raise AssertionError("not for you")

    def __await__(self) -> Generator[Any, Any, None]:
        yield from anyio.sleep(1).__await__()


@pytest.mark.parametrize("awaitable", [WithGenerator, WithPlainIterator, WithMisleadingSend])
async def test_any_awaitable_is_driven_to_its_end(awaitable: type[Any]) -> None:
    exchange = await call(lambda scope, receive, send: awaitable())
    assert (exchange.suspensions > 0) == (awaitable is not WithPlainIterator)


async def test_what_is_not_awaitable_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="NoneType"):
        await call(lambda scope, receive, send: None)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_future_and_a_task_are_awaitables_too() -> None:
    seen = []

    async def work() -> None:
        await anyio.sleep(1)
        seen.append(var.get())

    def app(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        var.set("in a task")
        return asyncio.get_running_loop().create_task(work())

    await call(app)
    assert seen == ["in a task"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_plain_asyncio_waits_work_inside() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.sleep(10)
        await asyncio.gather(asyncio.sleep(1), asyncio.sleep(2))

    await call(app)


@pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)
async def test_plain_trio_waits_work_inside() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with trio.move_on_after(1) as inner:
            await trio.sleep(10)
        assert inner.cancelled_caught
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 1)

    await call(app)


async def test_an_error_leaves_no_cycle_behind() -> None:
    class Local:
        pass

    gone: list[weakref.ref[Local]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        mine = scope["local"]
        await anyio.lowlevel.checkpoint()  # not a sleep: trio's own leaves a cycle behind on Python 3.12.1
        raise ValueError(mine)

    async def fail(local: Local) -> None:
        gone.append(weakref.ref(local))
        exchange = Exchange()
        try:
            await call_app(app, {"local": local}, exchange, host_task())
        except ValueError:
            pass

    gc.disable()
    try:
        await fail(Local())
        assert gone[0]() is None
    finally:
        gc.enable()
