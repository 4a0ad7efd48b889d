"""The application's lifespan: how it starts, what requests get of it, and when it fails."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asgiserve.errors import LocalProtocolError, ShutdownError
from tests.support.serving import PATIENCE, serving
from tests.unit.server.apps import Journal, Slow, hello
from tests.unit.server.running import running, startup_error

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio


class Lifespan(Journal):
    """An application whose lifespan a test writes: override `lifespan`."""


def seen(app: Refusing) -> list[str]:
    """The types of the scopes that an application was called with."""
    return [scope["type"] for scope in app.scopes]


class Refusing:
    """Raises for a lifespan before it has called anything."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if scope["type"] == "lifespan":
            raise self.error
        await hello(scope, receive, send)


# --- modes ------------------------------------------------------------------------------------


async def test_auto_goes_on_without_lifespan_if_the_app_refuses_the_scope() -> None:
    app = Refusing(NotImplementedError("no lifespan here"))
    async with serving(app) as served:
        assert (await served.connect().get()).status == 200
    assert seen(app) == ["lifespan", "http"]


async def test_on_makes_a_refused_scope_fatal() -> None:
    cause = NotImplementedError("no lifespan here")
    error = await startup_error(Refusing(cause), lifespan="on")
    assert error.__cause__ is cause
    assert "no lifespan here" in str(error)


async def test_off_never_calls_the_app_for_a_lifespan() -> None:
    app = Refusing(NotImplementedError("no lifespan here"))
    async with serving(app, lifespan="off") as served:
        assert (await served.connect().get()).status == 200
    assert seen(app) == ["http"]


async def test_the_scope_says_what_the_specification_wants() -> None:
    app = Refusing(NotImplementedError())
    async with serving(app):
        pass
    (scope,) = app.scopes
    assert scope == {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}


async def test_auto_goes_on_if_the_app_returns_at_once() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await hello(scope, receive, send)

    async with serving(app) as served:
        assert (await served.connect().get()).status == 200


async def test_on_makes_an_app_that_returns_at_once_fatal() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        pass

    error = await startup_error(app, lifespan="on")
    assert "without sending 'lifespan.startup.complete'" in str(error)


# --- failing startups -------------------------------------------------------------------------


@pytest.mark.parametrize("lifespan", ["auto", "on"])
async def test_an_error_after_the_first_receive_is_a_failed_startup(lifespan: str) -> None:
    cause = RuntimeError("the database is away")

    class App(Lifespan):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            await receive()
            raise cause

    error = await startup_error(App(), lifespan=lifespan)
    assert error.__cause__ is cause
    assert "the database is away" in str(error)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("early", [True, False])
async def test_an_exit_during_startup_is_a_failed_startup(kind: type[BaseException], early: bool) -> None:
    cause = kind("enough")

    class App(Lifespan):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            if not early:
                await receive()
            raise cause

    error = await startup_error(App())
    assert error.__cause__ is cause


async def test_startup_failed_carries_its_message() -> None:
    class App(Lifespan):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "no such table"})

    assert "no such table" in str(await startup_error(App()))


async def test_startup_failed_counts_although_the_app_raises_after_it() -> None:
    """Starlette sends the traceback in the message and then raises."""
    cause = RuntimeError("raised afterwards")

    class App(Lifespan):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "no such table"})
            raise cause

    error = await startup_error(App())
    assert "no such table" in str(error)
    assert error.__cause__ is cause


async def test_startup_failed_counts_although_the_app_waits_for_a_shutdown() -> None:
    """The loop in ASGI's own example calls receive() again, whatever it has sent."""

    class App(Lifespan):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            while (await receive())["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.failed", "message": "no such table"})

    assert "no such table" in str(await startup_error(App()))


async def test_a_startup_that_takes_too_long_fails_at_its_limit_and_is_cancelled() -> None:
    ended: list[float] = []

    class App(Lifespan):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            try:
                await anyio.sleep(PATIENCE / 2)
            finally:
                ended.append(anyio.current_time())

    began = anyio.current_time()
    error = await startup_error(App(), timeout_lifespan_startup=7)
    assert "longer than 7 s" in str(error)
    assert [moment - began for moment in ended] == pytest.approx([7])


async def test_a_startup_may_take_an_hour_where_no_limit_is_set() -> None:
    class App(Journal):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            await anyio.sleep(PATIENCE)
            await super().lifespan(receive, send)

    async with serving(App()) as served:
        assert (await served.connect().get()).status == 200


@pytest.mark.parametrize("message", [{"type": "lifespan.shutdown.complete"}, {"type": "lifespan.begun"}, {}], ids=str)
async def test_a_message_that_does_not_fit_raises_in_the_app(message: dict[str, str]) -> None:
    class App(Lifespan):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            await receive()
            await send(message)

    error = await startup_error(App())
    assert isinstance(error.__cause__, LocalProtocolError)
    assert "lifespan.startup.complete" in str(error)


async def test_startup_complete_twice_raises_in_the_app() -> None:
    class App(Lifespan):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            with pytest.raises(LocalProtocolError):
                await send({"type": "lifespan.startup.complete"})
            self.lines.append((await receive())["type"])

    app = App()
    async with running(app) as run:
        run.server.stop()
        await run.end()
    assert (run.error, app.lines) == (None, ["lifespan.shutdown"])


# --- while serving ----------------------------------------------------------------------------


async def test_every_request_gets_a_copy_of_the_state() -> None:
    states: list[dict[str, Any]] = []

    class App(Journal):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                scope["state"]["shared"] = []
            else:
                states.append(scope["state"])
                scope["state"]["mine"] = len(states)
            await super().__call__(scope, receive, send)

    async with serving(App()) as served:
        client = served.connect()
        await client.get()
        await client.get()
    first, second = states
    assert (first["mine"], second["mine"]) == (1, 2)
    assert first["shared"] is second["shared"]


async def test_a_context_variable_of_the_lifespan_is_seen_by_each_request() -> None:
    variable = ContextVar[str]("variable", default="unset")
    values: list[str] = []

    async def http(scope: Scope, receive: Receive, send: Send) -> None:
        values.append(variable.get())
        variable.set("a request's")
        await hello(scope, receive, send)

    class App(Journal):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            variable.set("the lifespan's")
            await super().lifespan(receive, send)

    async with serving(App(http)) as served:
        client = served.connect()
        await client.get()
        await client.get()
    assert values == ["the lifespan's", "the lifespan's"]
    assert variable.get() == "unset"


async def test_a_task_group_of_the_lifespan_outlives_requests() -> None:
    ended: list[str] = []

    class App(Journal):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            async with anyio.create_task_group() as self.group:
                await super().lifespan(receive, send)

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                self.group.start_soon(self.work, scope["path"])
            await super().__call__(scope, receive, send)

        async def work(self, path: str) -> None:
            await anyio.sleep(60)
            ended.append(path)

    async with running(App(), timeout_lifespan_shutdown=120) as run:
        client = run.connect()
        await client.get("/work")
        await client.stream.aclose()
        run.server.stop()
        took = await run.end()
    assert (run.error, ended) == (None, ["/work"])
    assert took == pytest.approx(60)


async def test_a_lifespan_that_returns_after_startup_leaves_the_server_running() -> None:
    class App(Journal):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})

    async with running(App()) as run:
        await anyio.sleep(60)
        assert (await run.connect().get()).status == 200
        run.server.stop()
        await run.end()
    assert run.error is None


async def test_a_lifespan_that_dies_while_serving_stops_the_server_gracefully() -> None:
    cause = RuntimeError("the lease was lost")

    class App(Journal):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await anyio.sleep(10)
            raise cause

    async with running(App(Slow(12))) as run:
        client = run.connect()
        response = await client.get()
        await run.end()
    assert (response.status, response.headers["connection"]) == (200, "close")
    assert type(run.error) is ShutdownError
    assert "the lease was lost" in str(run.error)
    assert run.error.__cause__ is cause


async def test_a_lifespan_that_dies_right_after_startup_ends_the_server() -> None:
    class App(Journal):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            raise RuntimeError("too late for a startup")

    for grace in (0, 25):
        async with running(App(), timeout_graceful_shutdown=grace) as run:
            assert await run.end() < 1
        assert type(run.error) is ShutdownError
        assert "too late for a startup" in str(run.error)
