"""Limits on how much goes on at once: what counts, what is refused and what waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from tests.unit.connection.applications import get, post, reply, serving_http

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

both_ways_of_running = pytest.mark.parametrize("task_per_request", [False, True])


async def five_seconds(scope: Scope, receive: Receive, send: Send) -> None:
    await anyio.sleep(5)
    await reply(send, b"served")


@both_ways_of_running
async def test_a_request_above_the_concurrency_limit_is_a_503_with_retry_after(
    task_per_request: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving_http(five_seconds, limit_concurrency=2, task_per_request=task_per_request) as served:
        first, second, third = served.connect(), served.connect(), served.connect()
        await first.send(get())
        await second.send(get())
        await anyio.sleep(1)
        refused = await third.get()
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert refused.headers["connection"] == "close"
        assert await third.is_closed()
        assert (await first.response()).body == b"served"
        assert (await second.response()).body == b"served"
        assert (await served.connect().get()).status == 200
    assert [record.getMessage() for record in caplog.records] == ["Exceeded concurrency limit."]


async def test_a_refused_upload_can_read_its_503() -> None:
    async with serving_http(five_seconds, limit_concurrency=1) as served:
        first, second = served.connect(), served.connect()
        await first.send(get())
        await anyio.sleep(1)
        await second.send(post(b"x" * 1000, length=100_000))
        await anyio.sleep(0.5)
        await second.send(b"x" * 60_000)
        assert (await second.response()).status == 503
        assert await second.is_closed()


@both_ways_of_running
async def test_idle_connections_do_not_count_for_the_concurrency_limit(task_per_request: bool) -> None:
    async with serving_http(five_seconds, limit_concurrency=1, task_per_request=task_per_request) as served:
        idle = [served.connect() for _ in range(10)]
        for client in idle:
            assert (await client.get()).status == 200
        for client in idle:
            assert (await client.get()).status == 200


@both_ways_of_running
async def test_an_application_that_lingers_does_not_count_for_the_concurrency_limit(
    task_per_request: bool,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"served")
        await anyio.sleep(100)

    async with serving_http(app, limit_concurrency=1, task_per_request=task_per_request) as served:
        client = served.connect()
        for _ in range(3):
            assert (await client.get()).status == 200
        assert (await served.connect().get()).status == 200


@both_ways_of_running
async def test_failed_and_abandoned_requests_give_their_place_back(task_per_request: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/fail":
            raise ValueError
        if scope["path"] == "/listen":
            await receive()
            await receive()
            return
        if scope["path"] == "/slow":
            await anyio.sleep(1000)
        await reply(send, b"served")

    settings = {"limit_concurrency": 1, "task_per_request": task_per_request, "timeout_request": 50}
    async with serving_http(app, **settings) as served:
        assert (await served.connect().get("/fail")).status == 500
        assert (await served.connect().get("/slow")).status == 504
        client = served.connect()
        await client.send(get("/listen"))
        client.stream.abort()
        await anyio.sleep(1)
        assert (await served.connect().get("/")).body == b"served"


async def test_connections_above_the_limit_wait_until_one_is_closed() -> None:
    async with serving_http(five_seconds, limit_connections=2, timeout_keep_alive=20) as served:
        first, second, third = served.connect(), served.connect(), served.connect()
        began = anyio.current_time()
        for client in (first, second, third):
            await client.send(get())
        assert (await first.response()).status == (await second.response()).status == 200
        assert anyio.current_time() - began == pytest.approx(5)
        await first.stream.aclose()
        assert (await third.response()).status == 200
        assert anyio.current_time() - began == pytest.approx(10)


async def test_an_application_that_lingers_holds_no_connection() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"served")
        await anyio.sleep(1000)

    async with serving_http(app, limit_connections=1) as served:
        for _ in range(3):
            began = anyio.current_time()
            client = served.connect()
            assert (await client.get(headers="Connection: close\r\n")).status == 200
            assert await client.is_closed()
            assert anyio.current_time() == began
