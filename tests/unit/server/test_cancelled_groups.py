"""The server's own cancellation, where it comes out of an application as a group, as trio's nurseries raise it.

anyio's task groups take it out again, so that whatever is built on them never shows this.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio

from tests.unit.connection.applications import errors_in
from tests.unit.connection.websocket_applications import accept
from tests.unit.server.apps import Journal
from tests.unit.server.running import running, startup_error
from tests.unit.server.test_stopping_websocket import opened

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asgiserve.types import Receive, Scope, Send
    from tests.unit.server.running import Run

    Wait = Callable[[], Awaitable[None]]

pytestmark = pytest.mark.anyio

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def group_of_one() -> None:
    try:
        await anyio.sleep_forever()
    except BaseException as error:
        raise BaseExceptionGroup("cancelled", [error]) from None


async def groups_in_a_group() -> None:
    try:
        await anyio.sleep_forever()
    except BaseException as error:
        # One without anyio's message, as a library may raise it. Nobody but trio makes its own.
        other = asyncio.CancelledError() if isinstance(error, asyncio.CancelledError) else error
        raise BaseExceptionGroup("all", [BaseExceptionGroup("some", [other]), error]) from None


async def nursery() -> None:
    async with trio.open_nursery() as children:
        children.start_soon(trio.sleep_forever)
        await trio.sleep_forever()


async def nursery_whose_child_fails() -> None:
    async with trio.open_nursery() as children:
        children.start_soon(fail_when_cancelled)
        await trio.sleep_forever()


async def fail_when_cancelled() -> None:
    try:
        await anyio.sleep_forever()
    finally:
        raise ValueError("in the cleaning up")


async def group_with_an_error() -> None:
    try:
        await anyio.sleep_forever()
    except BaseException as error:
        raise BaseExceptionGroup("both", [error, ValueError("in the cleaning up")]) from None


def on_both(*ways: Wait, trio_only: Wait) -> Any:
    cases = [(way, backend) for way in ways for backend in ("asyncio", "trio")]
    cases.append((trio_only, "trio"))
    values = [pytest.param(way, backend, id=f"{way.__name__}-{backend}") for way, backend in cases]
    return pytest.mark.parametrize(("way", "anyio_backend"), values, indirect=["anyio_backend"])


cancelled = on_both(group_of_one, groups_in_a_group, trio_only=nursery)
cancelled_and_failing = on_both(group_with_an_error, trio_only=nursery_whose_child_fails)


def stop(run: Run, how: str) -> None:
    if how == "abort":
        run.server.abort()
    else:
        run.scope.cancel()


def waits(way: Wait, *, begun: anyio.Event) -> Journal:
    @Journal
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await accept(receive, send)
        begun.set()
        await way()

    return app


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged as raised, without the groups around it."""
    errors = [record.exc_info[1] for record in caplog.records if record.levelno >= logging.ERROR and record.exc_info]
    return [repr(error) for error in errors]


@cancelled
@pytest.mark.parametrize("how", ["abort", "cancel"])
async def test_a_group_of_cancellations_is_the_cancellation(
    way: Wait, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = waits(way, begun=(begun := anyio.Event()))
    async with running(app) as run:
        client = run.connect()
        await client.send(REQUEST)
        await begun.wait()
        stop(run, how)
        assert (await client.response()).status == 503
        assert await run.end() <= 1
    assert (errors_in(caplog), run.error, app.was_shut_down) == ([], None, True)


@cancelled
@pytest.mark.parametrize("how", ["abort", "cancel"])
async def test_so_it_is_out_of_a_websockets_application(way: Wait, how: str, caplog: pytest.LogCaptureFixture) -> None:
    app = waits(way, begun=(begun := anyio.Event()))
    async with running(app) as run:
        client = await opened(run)
        await begun.wait()
        stop(run, how)
        assert (await client.frame()).code == 1012
        assert await run.end() <= 1
    assert (errors_in(caplog), run.error, app.was_shut_down) == ([], None, True)


@cancelled
async def test_so_it_is_out_of_a_startup_that_takes_too_long(way: Wait, caplog: pytest.LogCaptureFixture) -> None:
    class App(Journal):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            await receive()
            await way()

    error = await startup_error(App(), timeout_lifespan_startup=7)
    assert "longer than 7 s" in str(error)
    assert error.__cause__ is None
    assert errors_in(caplog) == []


@cancelled_and_failing
async def test_an_error_beside_it_is_logged_without_it(way: Wait, caplog: pytest.LogCaptureFixture) -> None:
    async with running(waits(way, begun=(begun := anyio.Event()))) as run:
        client = run.connect()
        await client.send(REQUEST)
        await begun.wait()
        run.server.abort()
        assert (await client.response()).status == 500
        await run.end()
    assert run.error is None
    assert logged(caplog) == ["ValueError('in the cleaning up')"]


@cancelled_and_failing
async def test_so_it_is_beside_that_of_a_websockets_application(way: Wait, caplog: pytest.LogCaptureFixture) -> None:
    async with running(waits(way, begun=(begun := anyio.Event()))) as run:
        client = await opened(run)
        await begun.wait()
        run.server.abort()
        assert (await client.frame()).code == 1012
        await run.end()
    assert run.error is None
    assert logged(caplog) == ["ValueError('in the cleaning up')"]


async def test_a_group_of_cancellations_that_are_not_ours_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        kept: list[BaseException] = []
        with anyio.move_on_after(1):
            try:
                await anyio.sleep_forever()
            except BaseException as error:
                kept.append(error)
                raise
        raise BaseExceptionGroup("kept", kept)

    async with running(app) as run:
        assert (await run.connect().get()).status == 500
    assert errors_in(caplog) == ["Exception in ASGI application (GET /)"]
