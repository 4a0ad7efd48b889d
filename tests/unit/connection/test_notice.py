"""A stopping server: the notice to applications that listen, and what the end of the grace period cuts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from tests.unit.connection.applications import (
    access_lines,
    body,
    errors_in,
    get,
    reply,
    serving_http,
    start,
)

if TYPE_CHECKING:
    from asgiserve.types import Message, Receive, Scope, Send

pytestmark = pytest.mark.anyio

DISCONNECT = {"type": "http.disconnect"}


async def test_the_notice_wakes_who_listens_and_its_answer_still_goes_out() -> None:
    seen: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        seen.append(await receive())
        await reply(send, b"stopping")

    async with serving_http(app, timeout_shutdown_notice=5) as served:
        client = served.connect()
        await client.send(get())
        await anyio.sleep(1)
        served.server.stop()
        response = await client.response()
        assert (response.body, response.headers["connection"]) == (b"stopping", "close")
        assert await client.is_closed()
    assert seen == [DISCONNECT]


async def test_who_returns_over_the_notice_without_a_response_is_a_503(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await receive()

    async with serving_http(app, timeout_shutdown_notice=5) as served:
        client = served.connect()
        await client.send(get())
        await anyio.sleep(1)
        served.server.stop()
        response = await client.response()
        assert (response.status, response.headers["retry-after"]) == (503, "1")
    assert errors_in(caplog) == []


async def test_a_stream_that_its_application_cuts_during_a_stop_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """It may know of the stop before the notice: sse-starlette does."""
    caplog.set_level("INFO")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await body(send, b"half", more=True)
        await anyio.sleep(2)

    async with serving_http(app, timeout_shutdown_notice=5) as served:
        client = served.connect()
        await client.send(get("/events"))
        await anyio.sleep(1)
        served.server.stop()
        assert (await client.read_all()).endswith(b"4\r\nhalf\r\n")
        lines = [(line[2], line[4]) for line in access_lines(caplog)]
    assert errors_in(caplog) == []
    assert lines == [("/events", 200)]


@pytest.mark.parametrize("sends", ["nothing", "a head"])
async def test_what_the_end_of_the_grace_period_cuts_has_its_access_line(
    sends: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if sends == "a head":
            await start(send)
        await anyio.sleep(1000)

    async with serving_http(app, timeout_graceful_shutdown=5) as served:
        client = served.connect()
        await client.send(get("/cut"))
        await anyio.sleep(1)
        served.server.stop()
        await anyio.sleep(10)
        lines = [(line[2], line[4]) for line in access_lines(caplog)]
    assert lines == [("/cut", 200 if sends == "a head" else 503)]


@pytest.mark.parametrize("task_per_request", [False, True])
async def test_what_the_end_of_the_grace_period_cuts_has_its_access_line_also_when_the_peer_has_left_unnoticed(
    task_per_request: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(1000)

    async with serving_http(app, timeout_graceful_shutdown=5, task_per_request=task_per_request) as served:
        client = served.connect()
        await client.send(get("/cut"))
        await anyio.sleep(1)
        client.stream.abort()
        served.server.stop()
        await anyio.sleep(10)
        lines = [(line[2], line[4]) for line in access_lines(caplog)]
    assert lines == [("/cut", 499)]


async def test_a_peer_that_leaves_after_the_notice_is_told_apart_from_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await receive()
        await anyio.sleep(2)
        await reply(send, b"nobody hears it")

    async with serving_http(app, timeout_shutdown_notice=5) as served:
        client = served.connect()
        await client.send(get())
        await anyio.sleep(1)
        served.server.stop()
        await anyio.sleep(6)
        client.stream.abort()
        await anyio.sleep(5)
        assert [line[4] for line in access_lines(caplog)] == [499]
