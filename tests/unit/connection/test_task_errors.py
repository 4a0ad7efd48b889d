"""Whatever is raised in a task that the application has made: a 500 as if it had raised it itself, and no more.

What is not here: SystemExit and KeyboardInterrupt in such a task on asyncio, where they stop the loop
(`tests/unit/server/test_loop_end.py`), and tasks that the application forgets (`tests/live/test_asyncio_tasks.py`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio

from asgiserve.errors import ClientDisconnected
from tests.support.websocket import close_frame, handshake
from tests.unit.connection.applications import errors_in, get, reply, serving_http
from tests.unit.connection.test_app_errors import ERRORS as RAISED
from tests.unit.connection.test_app_errors import Unprintable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asgiserve.types import Receive, Scope, Send
    from tests.support.serving import Serving

    Way = Callable[[BaseException], Awaitable[None]]

pytestmark = pytest.mark.anyio

on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
on_trio = pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)

ERRORS = [*RAISED, OSError(32, "Broken pipe"), anyio.EndOfStream()]


async def fail(error: BaseException) -> None:
    await anyio.sleep(0.1)
    raise error


async def itself(error: BaseException) -> None:
    raise error


async def awaited_task(error: BaseException) -> None:
    await asyncio.create_task(fail(error))


async def gathered_tasks(error: BaseException) -> None:
    await asyncio.gather(asyncio.sleep(5), fail(error))


async def asyncio_group(error: BaseException) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(fail(error))
        await asyncio.sleep(5)


async def anyio_group(error: BaseException) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(fail, error)
        await anyio.sleep(5)


async def nursery(error: BaseException) -> None:
    async with trio.open_nursery() as children:
        children.start_soon(fail, error)
        await trio.sleep(5)


def is_fatal(error: BaseException) -> bool:
    """To asyncio's loop."""
    return isinstance(error, (SystemExit, KeyboardInterrupt))


def ends_only_its_task(error: BaseException, way: Way) -> bool:
    """A task of asyncio's that ends with a CancelledError was cancelled: its group has nothing to say of it."""
    return isinstance(error, asyncio.CancelledError) and way in (asyncio_group, anyio_group)


async def the_answer_is_a_500_and_the_server_lives(
    way: Way, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/bad":
            await way(error)
        await reply(send, b"fine")

    async with serving_http(app) as served:
        other = served.connect()
        assert (await other.get("/fine")).body == b"fine"
        client = served.connect()
        response = await client.get("/bad")
        assert (response.status, response.headers["connection"]) == (500, "close")
        assert await client.is_closed()
        assert (await other.get("/fine")).body == b"fine"
        assert (await served.connect().get("/fine")).body == b"fine"
    assert errors_in(caplog) == ["Exception in ASGI application (GET /bad)"]


CASES_OF_ASYNCIO = [
    pytest.param(way, error, id=f"{way.__name__}-{type(error).__name__}")
    for way in (awaited_task, gathered_tasks, asyncio_group, anyio_group)
    for error in ERRORS
    if not is_fatal(error) and not ends_only_its_task(error, way)
]

# An exception whose repr() raises ends trio itself: a nursery puts it into the reason of its cancellation.
CASES_OF_TRIO = [
    pytest.param(way, error, id=f"{way.__name__}-{type(error).__name__}")
    for way in (anyio_group, nursery)
    for error in ERRORS
    if not isinstance(error, Unprintable)
]


@on_asyncio
@pytest.mark.parametrize(("way", "error"), CASES_OF_ASYNCIO)
async def test_whatever_a_task_of_the_application_raises_is_a_500_on_asyncio(
    way: Way, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    await the_answer_is_a_500_and_the_server_lives(way, error, caplog)


@on_trio
@pytest.mark.parametrize(("way", "error"), CASES_OF_TRIO)
async def test_whatever_a_task_of_the_application_raises_is_a_500_on_trio(
    way: Way, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    await the_answer_is_a_500_and_the_server_lives(way, error, caplog)


async def foreign_cancellation() -> BaseException:
    """The backend's cancellation, out of the scope that it belongs to."""
    kept: list[BaseException] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await anyio.sleep(1)
        except anyio.get_cancelled_exc_class() as error:
            kept.append(error)
            raise
    return kept[0]


async def test_a_real_cancellation_that_is_raised_again_outside_its_scope_is_a_500(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Raised in a child, it ends the child: a nursery that is cancelled takes it for its own."""
    await the_answer_is_a_500_and_the_server_lives(itself, await foreign_cancellation(), caplog)


async def test_a_recursion_without_end_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    async def way(error: BaseException) -> None:
        await way(error)

    await the_answer_is_a_500_and_the_server_lives(way, RecursionError(), caplog)


class Hostile(BaseExceptionGroup[BaseException]):
    """Cannot be taken apart."""

    def split(self, *args: object) -> object:  # type: ignore[override]
        raise RuntimeError("not this one")

    subgroup = derive = split  # type: ignore[assignment]


async def test_a_group_that_cannot_be_taken_apart_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    error = Hostile("several", [SystemExit(1), ValueError("wrong")])
    await the_answer_is_a_500_and_the_server_lives(itself, error, caplog)


async def test_a_group_that_cannot_be_taken_apart_is_logged_once_behind_the_end_of_a_websocket(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        raise Hostile("several", [ValueError("wrong"), ClientDisconnected("gone")])

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(handshake() + close_frame())
        assert (await client.read_all()).endswith(b"\x88\x02\x03\xe8")
    assert errors_in(caplog) == ["Exception in ASGI application (WebSocket /)"]


# --- asyncio throws what a task has raised into whoever awaits it; Python closes what a GeneratorExit is thrown into


def nothing_is_left(served: Serving) -> bool:
    service = served.server._stopping._service
    return not (service.tasks or service.in_flight or service.connections or service.lingering)


@on_asyncio
@pytest.mark.parametrize("setting", [{}, {"task_per_request": True}, {"timeout_request": 50}, {"limit_concurrency": 1}])
async def test_an_awaited_generator_exit_closes_the_task_and_leaves_nothing_of_the_connection(
    setting: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await awaited_task(GeneratorExit())

    async with serving_http(app, limit_connections=1, **setting) as served:
        for _ in range(3):
            client = served.connect()
            assert (await client.get("/bad")).status == 500
            assert await client.is_closed()
        await anyio.sleep(1)
        assert nothing_is_left(served)
    assert errors_in(caplog) == ["Exception in ASGI application (GET /bad)"] * 3


@on_asyncio
async def test_an_awaited_generator_exit_behind_the_response_keeps_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"done")
        await awaited_task(GeneratorExit())

    async with serving_http(app) as served:
        client = served.connect()
        for _ in range(2):
            assert (await client.get("/")).body == b"done"
            await anyio.sleep(1)
        await client.stream.aclose()
        await anyio.sleep(1)
        assert nothing_is_left(served)
    assert errors_in(caplog) == ["Exception in ASGI application (GET /)"] * 2


@on_asyncio
async def test_an_awaited_generator_exit_closes_a_websocket_with_1011(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await awaited_task(GeneratorExit())

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(handshake())
        assert (await client.read_until(b"\x88\x02\x03\xf3")).startswith(b"HTTP/1.1 101 ")
        await client.send(close_frame(1011))
        assert await client.is_closed()
        await anyio.sleep(5)  # behind the drain
        assert nothing_is_left(served)
    assert errors_in(caplog) == ["Exception in ASGI application (WebSocket /)"]


@on_asyncio
async def test_an_application_that_goes_on_although_it_is_closed_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await awaited_task(GeneratorExit())
        finally:
            await anyio.sleep(1)

    async with serving_http(app) as served:
        assert (await served.connect().get("/bad")).status == 500
        await anyio.sleep(1)
        assert nothing_is_left(served)
    assert errors_in(caplog) == ["Exception in ASGI application (GET /bad)"]


async def test_an_error_of_the_application_reaches_no_request_that_runs_beside_it() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/bad":
            await anyio_group(ValueError("wrong"))
        await anyio.sleep(1)
        await reply(send, b"fine")

    async with serving_http(app) as served:
        other, bad = served.connect(), served.connect()
        await other.send(get("/fine"))
        await bad.send(get("/bad"))
        assert (await bad.response()).status == 500
        assert (await other.response()).body == b"fine"
