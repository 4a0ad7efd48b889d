"""A task for each request: another task, and otherwise the same."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio

from tests.unit.connection.applications import access_lines, errors_in, get, path, reply, serving_http

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio


def current_task() -> object:
    """The task itself: anyio's TaskInfo compares by `id()`, which a later task may have again."""
    return trio.lowlevel.current_task() if trio.lowlevel.in_trio_run() else asyncio.current_task()


@pytest.mark.parametrize("task_per_request", [False, True])
async def test_requests_of_a_connection_share_a_task_or_have_one_each(task_per_request: bool) -> None:
    tasks: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        tasks.append(current_task())
        await path(scope, receive, send)

    async with serving_http(app, task_per_request=task_per_request) as served:
        client = served.connect()
        await client.send(get("/1") + get("/2") + get("/3"))
        assert [(await client.response()).body for _ in range(3)] == [b"/1", b"/2", b"/3"]
    assert len(set(tasks)) == (3 if task_per_request else 1)


async def test_an_error_is_a_500_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(1)
        raise SystemExit(7)

    async with serving_http(app, task_per_request=True) as served:
        client = served.connect()
        assert (await client.get()).status == 500
        assert await client.is_closed()
        assert (await served.connect().get()).status == 500
    assert errors_in(caplog) == ["Exception in ASGI application (GET /)"] * 2


@pytest.mark.parametrize("stubborn", [0, 2], ids=["ends at once", "ends later than its connection"])
async def test_a_response_that_a_stop_cuts_has_one_access_line(caplog: pytest.LogCaptureFixture, stubborn: int) -> None:
    caplog.set_level("INFO")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            await anyio.sleep(1000)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(stubborn)

    async with serving_http(app, task_per_request=True) as served:
        client = served.connect()
        await client.send(get())
        await anyio.sleep(1)
        served.server.abort()
        await anyio.sleep(10)
    assert [line[4] for line in access_lines(caplog)] == [200]


async def test_a_request_that_takes_too_long_is_a_504() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(1000)

    async with serving_http(app, task_per_request=True, timeout_request=5) as served:
        began = anyio.current_time()
        assert (await served.connect().get()).status == 504
        assert anyio.current_time() - began == pytest.approx(5, abs=0.25)


async def test_a_handler_whose_peer_leaves_is_cancelled_if_the_setting_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    ended: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await anyio.sleep(1000)
        finally:
            ended.append(anyio.current_time())

    async with serving_http(app, task_per_request=True, cancel_on_disconnect=True) as served:
        client = served.connect()
        await client.send(get())
        await anyio.sleep(5)
        client.stream.abort()
        left = anyio.current_time()
        await anyio.sleep(1)
        assert [line[4] for line in access_lines(caplog)] == [499]
    assert ended == [pytest.approx(left, abs=0.25 + 1e-6)]


async def test_what_an_application_leaves_open_ends_with_its_own_task() -> None:
    kept: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/corrupt":
            group = anyio.create_task_group()
            await group.__aenter__()
            group.start_soon(anyio.sleep, 5)
            kept.append(group)
        await path(scope, receive, send)

    async with serving_http(app, task_per_request=True) as served:
        client = served.connect()
        assert (await client.get("/corrupt")).body == b"/corrupt"
        assert (await client.get("/next")).body == b"/next"
        await anyio.sleep(10)
        assert (await served.connect().get("/other")).body == b"/other"
        assert served.server.state == "serving"


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_an_application_that_cancels_its_task_does_not_end_the_connection() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"done")
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    async with serving_http(app, task_per_request=True) as served:
        client = served.connect()
        for _ in range(3):
            assert (await client.get()).body == b"done"


async def test_a_stop_cancels_the_task_of_a_request_at_the_end_of_the_grace_period() -> None:
    ended: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await anyio.sleep(1000)
        finally:
            ended.append(anyio.current_time())

    async with serving_http(app, task_per_request=True, timeout_graceful_shutdown=5) as served:
        client = served.connect()
        await client.send(get())
        await anyio.sleep(1)
        began = anyio.current_time()
        served.server.stop()
        assert (await client.response()).status == 503
    assert ended == [pytest.approx(began + 5)]
