"""Applications that corrupt their own task: their connection dies, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asgiserve.connection.guard import guarded
from tests.unit.connection.applications import errors_in, get, reply, serving_http

if TYPE_CHECKING:
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


def nothing() -> None:
    """What is told of the end."""


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


async def test_errors_of_a_guarded_body_are_logged_and_go_no_further(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(number: int) -> None:
        raise ValueError(number)

    await guarded(nothing, fail, 5)
    assert errors_in(caplog) == ["Unexpected error in a connection"]


async def test_cancellation_passes_the_guard() -> None:
    finished = False
    with anyio.move_on_after(5) as scope:
        await guarded(nothing, anyio.sleep, 10)
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
        await guarded(nothing, fail_at_the_end)
        await anyio.sleep(10)
    assert scope.cancelled_caught
    assert errors_in(caplog) == ["Unexpected error in a connection"]
