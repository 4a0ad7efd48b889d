"""Applications that corrupt their own task: their connection dies, and nothing else."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from asgiserve.backend import clock, current_backend
from asgiserve.connection.deadlines import Watcher
from asgiserve.connection.guard import Guards
from tests.unit.connection.applications import errors_in, get, reply, serving_http

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asgiserve.types import Receive, Scope, Send
    from tests.support.serving import Client

pytestmark = pytest.mark.anyio


async def wait_for_the_end(client: Client) -> None:
    """Until the server has ended the connection, in whatever way."""
    try:
        while True:
            await client.read()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        pass


async def leave_scope_open() -> Any:
    scope = anyio.CancelScope()
    scope.__enter__()
    return scope


async def leave_group_open() -> Any:
    group = anyio.create_task_group()
    await group.__aenter__()
    group.start_soon(anyio.sleep, 5)
    return group


async def leave_cancelled_scope_open() -> Any:
    scope = anyio.CancelScope()
    scope.__enter__()
    scope.cancel()
    return scope


WAYS = [leave_scope_open, leave_group_open, leave_cancelled_scope_open]


@pytest.mark.parametrize("responds", [True, False])
@pytest.mark.parametrize("leave_open", WAYS)
async def test_what_an_application_leaves_open_costs_its_connection_and_no_other(
    leave_open: Any, responds: bool, caplog: pytest.LogCaptureFixture
) -> None:
    kept = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/fine":
            await reply(send, b"fine")
            return
        kept.append(await leave_open())
        if responds:
            await reply(send, b"corrupt")

    async with serving_http(app) as served:
        other = served.connect()
        assert (await other.get("/fine")).body == b"fine"
        client = served.connect()
        await client.send(get("/corrupt", "Connection: close"))
        await wait_for_the_end(client)
        await anyio.sleep(10)
        assert (await other.get("/fine")).body == b"fine"
        assert (await served.connect().get("/fine")).body == b"fine"
        assert served.server.state == "serving"
    assert errors_in(caplog)


@pytest.mark.parametrize("leave_open", WAYS)
async def test_a_corrupt_task_does_not_outlive_the_keep_alive_timeout(leave_open: Any) -> None:
    kept = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        kept.append(await leave_open())
        await reply(send, b"corrupt")

    async with serving_http(app, timeout_keep_alive=20, limit_connections=1) as served:
        client = served.connect()
        await client.send(get("/corrupt"))
        with anyio.fail_after(60):
            await wait_for_the_end(client)
            await served.connect().get("/again")
        assert served.server.state == "serving"


# --- guards alone ---


class Alone:
    """Guards without a server, and the task that watches them."""

    def __init__(self) -> None:
        self._watcher = Watcher((), clock())
        self.guards = Guards(self._watcher)
        self._others = 0

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Alone]:
        async with anyio.create_task_group() as watching:
            watching.start_soon(self._watcher.run)
            async with anyio.create_task_group() as group:
                self.guards.open(group)
                await anyio.wait_all_tasks_blocked()
                self._others = len(anyio.get_running_tasks())
                yield self
                self.guards.close()
            watching.cancel_scope.cancel()

    def tasks(self) -> int:
        """Guards, and what they guard."""
        return len(anyio.get_running_tasks()) - self._others

    async def run(self, body: Any, *args: Any, seconds: float = 0.1) -> None:
        """Run `body(*args)` for so long."""
        self.guards.start_soon(body, *args)
        await anyio.sleep(seconds)


@pytest.fixture
async def alone() -> AsyncIterator[Alone]:
    async with Alone().opened() as alone:
        yield alone


async def fail(number: int) -> None:
    raise ValueError(number)


async def test_errors_of_a_guarded_task_are_logged_and_go_no_further(
    alone: Alone, caplog: pytest.LogCaptureFixture
) -> None:
    await alone.run(fail, 5)
    assert errors_in(caplog) == ["Unexpected error in a connection"]
    assert alone.tasks() == 0


async def test_cancellation_passes_the_guard() -> None:
    finished = False
    with anyio.move_on_after(5) as scope:
        async with Alone().opened() as alone:
            await alone.run(anyio.sleep, 10, seconds=20)
            finished = True
    assert scope.cancelled_caught
    assert not finished


async def test_an_error_beside_our_cancellation_is_logged_and_the_cancellation_passes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail_at_the_end() -> None:
        try:
            await anyio.sleep(10)
        finally:
            raise ValueError("in a finally")

    with anyio.move_on_after(5) as scope:
        async with Alone().opened() as alone:
            await alone.run(fail_at_the_end, seconds=20)
    assert scope.cancelled_caught
    assert errors_in(caplog) == ["Unexpected error in a connection"]


async def test_a_guard_serves_one_task_after_the_other(alone: Alone) -> None:
    hosts = []

    async def body() -> None:
        hosts.append(anyio.get_current_task().parent_id)

    for _ in range(5):
        await alone.run(body)
        assert (alone.tasks(), alone.guards.tasks) == (1, 0)
    assert len(set(hosts)) == 1


async def test_tasks_at_the_same_time_have_a_guard_each(alone: Alone) -> None:
    hosts = set()

    async def body() -> None:
        hosts.add(anyio.get_current_task().parent_id)
        await anyio.sleep(0.5)

    for _ in range(2):
        for _ in range(10):
            alone.guards.start_soon(body)
        assert alone.guards.tasks == 10
        await anyio.sleep(0.6)
        assert (alone.tasks(), alone.guards.tasks) == (10, 0)
    assert len(hosts) == 10


@pytest.mark.parametrize("leave_open", WAYS)
async def test_the_guard_of_a_task_that_left_something_open_serves_no_other(alone: Alone, leave_open: Any) -> None:
    kept, ends = [], []

    async def corrupt() -> None:
        kept.append(await leave_open())

    async def body() -> None:
        await anyio.sleep(10)
        ends.append(None)

    for _ in range(3):
        alone.guards.start_soon(corrupt)
        await checkpoint()
        for _ in range(3):
            alone.guards.start_soon(body)
            await checkpoint()
    await anyio.sleep(20)
    assert len(ends) == 9


async def test_a_timeout_of_asyncios_own_that_is_left_reaches_no_other_task(alone: Alone) -> None:
    if current_backend() != "asyncio":
        pytest.skip("asyncio's")
    kept, ends = [], []

    async def corrupt() -> None:
        timeout = asyncio.timeout(5)
        await timeout.__aenter__()
        kept.append(timeout)

    async def body() -> None:
        await anyio.sleep(10)
        ends.append(None)

    await alone.run(corrupt)
    await alone.run(body, seconds=20)
    assert len(ends) == 1


async def test_guards_that_are_not_needed_go(alone: Alone) -> None:
    for _ in range(10):
        alone.guards.start_soon(anyio.sleep, 0.1)
    await anyio.sleep(0.2)
    assert alone.tasks() == 10
    for _ in range(10):
        await anyio.sleep(0.3)
        await alone.run(checkpoint)
    assert alone.tasks() == 1
    await anyio.sleep(4)
    assert alone.tasks() == 0


async def test_no_more_than_64_guards_are_spare(alone: Alone) -> None:
    for _ in range(100):
        alone.guards.start_soon(anyio.sleep, 0.1)
    await anyio.sleep(0.2)
    assert (alone.tasks(), alone.guards.tasks) == (64, 0)


async def test_once_closed_no_guard_is_kept(alone: Alone) -> None:
    for _ in range(3):
        alone.guards.start_soon(anyio.sleep, 0.1)
    alone.guards.start_soon(anyio.sleep, 5)
    await anyio.sleep(0.2)
    assert alone.tasks() == 5
    alone.guards.close()
    await anyio.sleep(0.1)
    assert alone.tasks() == 2
    await alone.run(checkpoint)
    assert alone.tasks() == 2
    await anyio.sleep(5)
    assert alone.tasks() == 0


async def test_a_spare_guard_that_the_application_has_cancelled_is_not_used(alone: Alone) -> None:
    if current_backend() != "asyncio":
        pytest.skip("nothing can cancel a trio task but its scopes")
    before = asyncio.all_tasks()
    await alone.run(checkpoint)
    (guard,) = asyncio.all_tasks() - before
    guard.cancel()
    await anyio.sleep(0.1)
    assert alone.tasks() == 0
    await alone.run(checkpoint)
    assert alone.tasks() == 1


async def test_a_spare_guard_keeps_nothing_of_its_task_alive(alone: Alone) -> None:
    class Argument:
        pass

    async def body(argument: Argument) -> None:
        await checkpoint()

    argument = Argument()
    alive = weakref.ref(argument)
    alone.guards.start_soon(body, argument)
    del argument
    await anyio.sleep(0.1)
    gc.collect()
    assert alone.tasks() == 1
    assert alive() is None
