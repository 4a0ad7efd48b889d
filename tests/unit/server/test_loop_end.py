"""The end of asyncio's loop while a server runs in it: what stops the loop, or its runner, cancels every task at once.

That is no cancellation of anyio's, and to a connection it looks as if its application had cancelled its own task.
trio has no such end: there nothing is left running when `trio.run()` returns, and SystemExit is an error like others
(see `tests/unit/connection/test_task_errors.py`).
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asgiserve.config import Settings
from asgiserve.server import serve_with
from asgiserve.testing import MemoryListener
from tests.support.serving import Client
from tests.unit.connection.applications import errors_in
from tests.unit.server.apps import Journal, hello

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asgiserve.types import Receive, Scope, Send

GET = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"


async def in_a_task(error: BaseException) -> None:
    await asyncio.create_task(_fail(error))


async def in_a_task_group(error: BaseException) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_fail(error))


async def in_a_group_of_anyio(error: BaseException) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(_fail, error)


async def _fail(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


class App(Journal):
    """Waits for ever, or lets a task of its own raise; says what became of whoever waits."""

    def __init__(self, fail: Callable[[], Awaitable[None]] | None = None) -> None:
        super().__init__(self.request)
        self._fail = fail
        self.waits = asyncio.Event()
        self.ends: list[str] = []

    async def request(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/fail":
            assert self._fail is not None
            await self._fail()
        self.waits.set()
        try:
            await anyio.sleep_forever()
        except asyncio.CancelledError:
            self.ends.append("cancelled")
            raise


class Server:
    """A server as a task of the loop, and what its clients have read when it is over."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._listener = MemoryListener()
        self._started = asyncio.Event()
        self.answers: list[bytes] = []
        self.tasks: list[asyncio.Task[Any]] = []

    def started(self, value: Any = None) -> None:
        self._started.set()

    async def begin(self) -> None:
        serve = partial(serve_with, self._app, Settings(), listeners=[self._listener], task_status=self)
        self.tasks.append(asyncio.create_task(serve()))
        await self._started.wait()

    async def ask(self, target: bytes) -> Client:
        client = Client(self._listener.connect())
        await client.send(GET % target)
        return client


@pytest.mark.parametrize("way", [in_a_task, in_a_task_group, in_a_group_of_anyio])
@pytest.mark.parametrize("error", [SystemExit(7), KeyboardInterrupt()], ids=["SystemExit", "KeyboardInterrupt"])
def test_what_stops_the_loop_is_logged_cancels_what_runs_and_lets_the_lifespan_shut_down(
    error: BaseException, way: Callable[[BaseException], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    app = App(partial(way, error))
    clients: list[Client] = []

    async def main() -> None:
        server = Server(app)
        await server.begin()
        clients.append(await server.ask(b"/"))
        await app.waits.wait()
        await server.ask(b"/fail")
        await asyncio.sleep(60)

    with pytest.raises(type(error)):
        asyncio.run(main())
    name = type(error).__name__
    assert f"{name} came out of a task of the event loop, which stops it." in errors_in(caplog)
    assert not [line for line in errors_in(caplog) if "(GET /)" in line]
    assert "cancelled" in app.ends
    assert app.was_shut_down
    assert clients[0].stream.receive_nowait().startswith(b"HTTP/1.1 503 ")


def test_a_runner_that_ends_with_the_server_running_cancels_it_and_lets_the_lifespan_shut_down(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = App()
    clients: list[Client] = []

    async def main() -> None:
        server = Server(app)
        await server.begin()
        clients.append(await server.ask(b"/"))
        await app.waits.wait()

    asyncio.run(main())
    assert app.ends == ["cancelled"]
    assert app.was_shut_down
    assert clients[0].stream.receive_nowait().startswith(b"HTTP/1.1 503 ")
    assert not errors_in(caplog)


def test_a_startup_that_the_end_of_the_loop_cancels_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    entered = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        entered.set()
        await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.create_task(serve_with(app, Settings(), listeners=[MemoryListener()]))
        await entered.wait()
        kept.append(task)

    kept: list[asyncio.Task[None]] = []
    asyncio.run(main())
    assert kept[0].cancelled()
    assert not errors_in(caplog)


def test_a_timeout_of_the_lifespan_around_receive_is_its_own() -> None:
    """What the end of the loop is not: a task that its application cancels alone."""
    timed_out = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await hello(scope, receive, send)
            return
        await receive()
        await send({"type": "lifespan.startup.complete"})
        try:
            async with asyncio.timeout(0.01):
                await receive()
        except TimeoutError:
            timed_out.set()
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def main() -> None:
        stop = anyio.Event()
        task = asyncio.create_task(serve_with(app, Settings(), listeners=[MemoryListener()], stop=stop))
        await timed_out.wait()
        stop.set()
        await task

    asyncio.run(main())
    assert timed_out.is_set()


@pytest.mark.anyio
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
async def test_what_ends_the_group_around_the_server_is_told_by_whoever_raised_it(
    caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    app = Journal(hello)

    async def program() -> None:
        async with anyio.create_task_group() as group:
            await group.start(partial(serve_with, app, Settings(), listeners=[MemoryListener()]))
            raise error

    with pytest.raises(BaseExceptionGroup) as caught:
        await program()
    assert caught.value.exceptions == (error,)
    assert app.was_shut_down
    assert errors_in(caplog) == []
