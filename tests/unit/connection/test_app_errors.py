"""What becomes of an application that fails: the peer learns of it, the log has it once, the server lives."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.unit.connection.applications import (
    body,
    errors_in,
    get,
    post,
    read_for_ever,
    reply,
    serving_http,
    start,
)

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")

    __repr__ = __str__


class Base(BaseException):
    pass


ERRORS = [
    ValueError("wrong"),
    SystemExit(7),
    KeyboardInterrupt(),
    asyncio.CancelledError(),
    GeneratorExit(),
    StopIteration(),
    StopAsyncIteration(),
    BaseExceptionGroup("several", [SystemExit(1), ValueError("wrong")]),
    ExceptionGroup("several", [ValueError("one"), ValueError("two")]),
    Base(),
    MemoryError(),
    RecursionError("too deep"),
    Unprintable(),
]


@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_whatever_an_application_raises_is_a_500_logged_once_and_the_server_lives(
    error: BaseException, suspends: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/fine":
            await reply(send, b"fine")
            return
        if suspends:
            await anyio.sleep(1)
        raise error

    async with serving_http(app) as served:
        client = served.connect()
        response = await client.get("/bad")
        assert (response.status, response.headers["connection"]) == (500, "close")
        assert await client.is_closed()
        assert (await served.connect().get("/fine")).body == b"fine"
    assert errors_in(caplog) == ["Exception in ASGI application (GET /bad)"]


async def test_an_error_in_the_call_itself_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    def app(scope: Scope, receive: Receive, send: Send) -> Any:
        raise ValueError("before any coroutine was made")

    async with serving_http(app) as served:
        assert (await served.connect().get()).status == 500
    assert len(errors_in(caplog)) == 1


async def test_an_application_that_is_no_coroutine_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    def app(scope: Scope, receive: Receive, send: Send) -> Any:
        return None

    async with serving_http(app) as served:
        assert (await served.connect().get()).status == 500
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], TypeError)


async def test_the_500_of_a_head_request_has_no_body() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(b"HEAD / HTTP/1.1\r\nHost: test\r\n\r\n")
        with anyio.fail_after(1):
            wire = await client.read_all()
    assert wire.startswith(b"HTTP/1.1 500 ")
    assert wire.endswith(b"\r\n\r\n")


async def test_an_error_while_the_head_is_held_gives_a_clean_500() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=5, headers=[(b"x-own", b"1")])
        raise ValueError("before the body")

    async with serving_http(app) as served:
        response = await served.connect().get()
    assert response.status == 500
    assert "x-own" not in response.headers


async def test_an_error_behind_the_head_leaves_out_the_last_chunk(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await body(send, b"half", more=True)
        raise ValueError("in the middle")

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        with anyio.fail_after(1):
            wire = await client.read_all()
    assert wire.endswith(b"4\r\nhalf\r\n")
    assert errors_in(caplog) == ["Exception in ASGI application (GET /)"]


async def test_an_error_behind_the_head_resets_where_the_close_would_look_like_the_end() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await body(send, b"half", more=True)
        await anyio.sleep(1)
        raise ValueError("in the middle")

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await client.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert await client.read_until(b"half") == b"half"
        with pytest.raises(anyio.BrokenResourceError):
            await client.read()


async def test_an_error_after_the_response_is_logged_and_keeps_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"done")
        raise ValueError("too late to matter")

    async with serving_http(app) as served:
        client = served.connect()
        for _ in range(2):
            assert (await client.get()).body == b"done"
    assert errors_in(caplog) == ["Exception in ASGI application (GET /)"] * 2


async def test_returning_without_a_response_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        return

    async with serving_http(app) as served:
        client = served.connect()
        assert (await client.get("/empty")).status == 500
        assert await client.is_closed()
    assert errors_in(caplog) == ["ASGI application returned without starting a response (GET /empty)"]


async def test_returning_with_half_a_response_cuts_it(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await body(send, b"half", more=True)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get("/half"))
        with anyio.fail_after(1):
            assert (await client.read_all()).endswith(b"4\r\nhalf\r\n")
    assert errors_in(caplog) == ["ASGI application returned without completing its response (GET /half)"]


async def test_an_error_while_the_head_waits_for_the_peer_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=5, headers=[(b"x", b"y" * 3000)])
        await anyio.sleep(1)  # the head leaves without the body
        raise ValueError("mine")

    async with serving_http(app) as served:
        client = served.connect(capacity=2000)
        await client.send(post(b"half", length=8))
        await anyio.sleep(2)
        with pytest.raises(anyio.BrokenResourceError):
            await read_for_ever(client)
    assert errors_in(caplog) == ["Exception in ASGI application (POST /)"]


async def test_a_failed_upload_is_answered_and_drained() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise ValueError("in the middle of an upload")

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(post(b"x" * 1000, length=200_000))
        await anyio.sleep(0.5)
        await client.send(b"x" * 60_000)
        assert (await client.response()).status == 500
        assert await client.is_closed()


async def test_nothing_of_the_applications_own_groups_hides_its_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail() -> None:
        raise ValueError("in a child")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            await anyio.sleep(10)

    async with serving_http(app) as served:
        assert (await served.connect().get()).status == 500
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


async def test_an_asgi_2_application_is_served() -> None:
    class App:
        def __init__(self, scope: Scope) -> None:
            self.scope = scope

        async def __call__(self, receive: Receive, send: Send) -> None:
            await anyio.sleep(1)
            await reply(send, self.scope["path"].encode())

    async with serving_http(App) as served:  # type: ignore[arg-type]
        client = served.connect()
        for _ in range(2):
            assert (await client.get("/two")).body == b"/two"


# --- cancellation by the application itself ---


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("when", ["before", "between", "after"])
async def test_an_application_that_cancels_its_own_task_does_not_end_the_connection(when: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        if scope["path"] == "/fine":
            assert not task.cancelling()
            await anyio.sleep(1)
            await reply(send, b"fine")
            return
        if when == "before":
            task.cancel()
        await reply(send, b"cancelled")
        if when == "between":
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await anyio.sleep(1)
        elif when == "after":
            task.cancel()

    async with serving_http(app) as served:
        client = served.connect()
        assert (await client.get("/cancel")).body == b"cancelled"
        assert (await client.get("/fine")).body == b"fine"


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_an_application_that_dies_of_its_own_cancellation_is_a_500(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await anyio.sleep(1)

    async with serving_http(app) as served:
        assert (await served.connect().get()).status == 500
        assert (await served.connect().get()).status == 500
    assert errors_in(caplog) == ["Exception in ASGI application (GET /)"] * 2
