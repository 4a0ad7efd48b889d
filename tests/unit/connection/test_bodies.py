"""Bodies of requests: back-pressure, `100 Continue`, and what happens to those that nobody reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from tests.unit.connection.applications import (
    Turns,
    body,
    chunked,
    counting,
    echo,
    get,
    path,
    post,
    read_body,
    reply,
    send_for_ever,
    serving_http,
    start,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio


# --- bodies ---


async def test_an_application_that_does_not_read_stops_the_reading_of_its_body() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await anyio.sleep(1000)

    sent = 0
    async with serving_http(app, timeout_body=None) as served:
        client = served.connect(capacity=65536)
        with anyio.move_on_after(100):
            await client.send(post(b"", length=10_000_000))
            while True:
                await client.send(b"x" * 1000)
                sent += 1000
    assert 65_536 <= sent <= 4 * 65_536


@pytest.mark.parametrize("make", [post, chunked])
async def test_a_body_of_any_size_reaches_an_application_that_reads(make: object) -> None:
    data = bytes(range(256)) * 4000
    async with serving_http(echo) as served:
        client = served.connect()
        async with anyio.create_task_group() as group:
            group.start_soon(client.send, make(data))  # type: ignore[operator]
            response = await client.response()
    assert response.body == data


@pytest.mark.parametrize("make", [post, chunked])
async def test_reading_a_body_that_is_there_lets_others_run(make: Callable[[bytes], bytes]) -> None:
    turns = Turns()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(1)
        async with counting(turns):
            await read_body(receive)
        await reply(send)

    async with serving_http(app) as served:
        client = served.connect(capacity=4 << 20)
        await client.send(make(bytes(3 << 20)))
        assert (await client.response()).status == 200
    assert turns.count >= 3


async def test_100_continue_is_sent_when_the_application_asks_for_the_body() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(5)
        await echo(scope, receive, send)

    async with serving_http(app) as served:
        client = served.connect()
        began = anyio.current_time()
        await client.send(post(b"", "Expect: 100-continue", length=3))
        assert await client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert anyio.current_time() - began == pytest.approx(5)
        await client.send(b"a")
        await anyio.sleep(1)
        await client.send(b"bc")
        response = await client.response()
        assert (response.body, response.informational) == (b"abc", [])


async def test_100_continue_is_not_sent_once_the_response_has_begun() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await body(send, b"no need", more=True)
        with anyio.move_on_after(1):
            await receive()
        await body(send)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(post(b"", "Expect: 100-continue", length=3))
        response = await client.response()
        assert (response.body, response.informational) == (b"no need", [])
        assert response.headers["connection"] == "close"


async def test_a_final_answer_instead_of_100_continue_closes_the_connection() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"too large", status=413)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(post(b"", "Expect: 100-continue", length=3))
        response = await client.response()
        assert (response.status, response.headers["connection"]) == (413, "close")
        assert response.informational == []
        assert await client.is_closed()


async def test_a_final_answer_to_a_client_that_did_not_wait_leaves_the_connection_open() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"no", status=403)

    async with serving_http(app) as served:
        client = served.connect()
        for _ in range(2):
            await client.send(post(b"abc", "Expect: 100-continue"))
            response = await client.response()
            assert (response.status, response.informational) == (403, [])


# --- early answers ---


async def test_an_early_answer_to_an_upload_is_readable_and_closes_the_connection() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"no", status=403)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(post(b"x" * 1000, length=1_000_000))
        await anyio.sleep(0.5)
        await client.send(b"x" * 100_000)
        response = await client.response()
        assert (response.status, response.body, response.headers["connection"]) == (403, b"no", "close")
        assert await client.is_closed()


async def test_the_drain_after_an_early_answer_has_a_limit_of_time() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"no")

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(post(b"x", length=1_000_000))
        assert (await client.response()).body == b"no"
        began = anyio.current_time()
        with pytest.raises(anyio.BrokenResourceError):
            await send_for_ever(client, b"x", pause=0.1)
        assert 59 <= anyio.current_time() - began <= 61


@pytest.mark.parametrize("pause", [4, 6])
async def test_an_upload_may_pause_for_five_seconds_behind_its_early_answer(pause: float) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"no")

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(post(b"x", length=1_000_000))
        await anyio.sleep(pause)
        if pause < 5:
            await client.send(b"x")
            await anyio.sleep(pause)
            await client.send(b"x")
        else:
            with pytest.raises(anyio.BrokenResourceError):
                await client.send(b"x")


@pytest.mark.parametrize("limited", [False, True], ids=["by the application", "by the server"])
async def test_a_client_that_reads_only_behind_a_large_upload_reads_the_early_answer(limited: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"no", status=413)

    async with serving_http(app, limit_request_body=1000 if limited else None) as served:
        client = served.connect()
        await client.send(post(b"", length=100_000_000))
        for _ in range(1000):
            await client.send(b"x" * 100_000)
            await anyio.sleep(0.05)
        assert (await client.response()).status == 413
        assert await client.is_closed()


async def test_a_body_that_nobody_read_but_that_has_arrived_does_not_end_the_connection() -> None:
    async with serving_http(path) as served:
        client = served.connect()
        await client.send(post(b"unread", target="/first") + get("/second"))
        first, second = await client.response(), await client.response()
    assert "connection" not in first.headers
    assert (first.body, second.body) == (b"/first", b"/second")
