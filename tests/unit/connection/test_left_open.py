"""Cancel scopes and task groups that an application leaves open in a suspended generator, which it keeps or not.

In an event loop of the test's own: what is closed in another task fails there, on purpose, and the
loop's exception handler of anyio's pytest plugin would make the test fail with it. What an application leaves open
without a generator is in `test_guard.py`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio

from tests.support.websocket import handshake
from tests.unit.connection.applications import get, reply, serving_http
from tests.unit.connection.test_guard import wait_for_the_end

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from asgiserve.types import Receive, Scope, Send
    from tests.support.serving import Serving

    Suspended = AsyncGenerator[None, None] | Generator[None, None, None]

# A generator that is closed when nobody has it any more, in whatever task runs then, cannot leave its cancel scope.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


async def a_scope() -> AsyncGenerator[None, None]:
    with anyio.CancelScope():
        yield


async def a_cancelled_scope() -> AsyncGenerator[None, None]:
    with anyio.CancelScope() as scope:
        scope.cancel()
        yield


async def a_timeout() -> AsyncGenerator[None, None]:
    with anyio.move_on_after(3):
        yield


async def a_group() -> AsyncGenerator[None, None]:
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 5)
        yield


async def a_group_that_fails() -> AsyncGenerator[None, None]:
    async def fail() -> None:
        await anyio.sleep(2)
        raise ValueError("late")

    async with anyio.create_task_group() as group:
        group.start_soon(fail)
        yield


async def a_scope_of_a_child() -> AsyncGenerator[None, None]:
    scope = anyio.CancelScope()

    async def enter() -> None:
        scope.__enter__()

    async with anyio.create_task_group() as group:
        group.start_soon(enter)
    yield


async def a_group_of_the_loops_own() -> AsyncGenerator[None, None]:
    if trio.lowlevel.in_trio_run():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 5)
            yield
    else:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(5))
            yield


async def a_timeout_of_the_loops_own() -> AsyncGenerator[None, None]:
    if trio.lowlevel.in_trio_run():
        with trio.move_on_after(3):
            yield
    else:
        async with asyncio.timeout(3):
            yield


def a_scope_in_a_plain_generator() -> Generator[None, None, None]:
    with anyio.CancelScope():
        yield


def a_timeout_in_a_plain_generator() -> Generator[None, None, None]:
    with anyio.move_on_after(3):
        yield


OPENS = [
    a_scope,
    a_cancelled_scope,
    a_timeout,
    a_group,
    a_group_that_fails,
    a_scope_of_a_child,
    a_group_of_the_loops_own,
    a_timeout_of_the_loops_own,
    a_scope_in_a_plain_generator,
    a_timeout_in_a_plain_generator,
]

GROUPS = (a_group, a_group_that_fails, a_group_of_the_loops_own)


class App:
    """Suspends a generator at /corrupt; answers before that, after it, not at all, or as a WebSocket."""

    def __init__(self, opens: Callable[[], Suspended], *, keeps: bool, answers: str) -> None:
        self._opens = opens
        self._keeps = keeps
        self._answers = answers
        self.kept: list[Suspended] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            await anyio.sleep(4)
        if scope["path"] != "/corrupt":
            await reply(send, b"fine")
            return
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
        if self._answers == "before":
            await reply(send, b"corrupt")
        await self._suspend()
        if self._answers == "after":
            await reply(send, b"corrupt")

    async def _suspend(self) -> None:
        suspended: Any = self._opens()
        if hasattr(suspended, "__anext__"):
            await suspended.__anext__()
        else:
            next(suspended)
        if self._keeps:
            self.kept.append(suspended)


async def corrupt(app: App, served: Serving, corrupting: bytes) -> None:
    """Let the application corrupt a connection, beside an idle one and one that waits for its answer."""
    idle, slow, client = served.connect(), served.connect(), served.connect()
    assert (await idle.get("/fine")).body == b"fine"
    await slow.send(get("/slow"))
    await anyio.sleep(0.1)
    await client.send(corrupting)
    await wait_for_the_end(client)
    assert (await slow.response()).body == b"fine"
    await anyio.sleep(10)
    app.kept.clear()
    await anyio.sleep(10)
    assert (await idle.get("/fine")).body == b"fine"
    assert (await served.connect().get("/fine")).body == b"fine"


@pytest.mark.parametrize("answers", ["before", "after", "never", "as a WebSocket"])
@pytest.mark.parametrize("keeps", [True, False], ids=["kept", "dropped"])
@pytest.mark.parametrize("opens", OPENS)
def test_what_is_open_in_a_suspended_generator_costs_its_connection_and_no_other(
    opens: Callable[[], Suspended], keeps: bool, answers: str, anyio_backend: tuple[str, dict[str, Any]]
) -> None:
    websocket = answers == "as a WebSocket"
    if websocket and anyio_backend[0] == "trio" and not keeps and opens in GROUPS:
        pytest.skip("trio closes the generator in another task, and breaks where the one that opened it goes on")
    asked = handshake("/corrupt") if websocket else get("/corrupt", "Connection: close")

    async def main() -> None:
        app = App(opens, keeps=keeps, answers=answers)
        async with serving_http(app) as served:
            with anyio.fail_after(100):
                await corrupt(app, served, asked)
            assert served.server.state == "serving"
            await anyio.sleep(100)
            service = served.server._stopping._service
            assert (service.tasks, service.connections) == (0, set())

    backend, options = anyio_backend
    anyio.run(main, backend=backend, backend_options=options)
