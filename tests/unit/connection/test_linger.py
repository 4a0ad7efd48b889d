"""Applications that go on after their response: the connection does not wait for them, nor they for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.unit.connection.applications import (
    access_lines,
    body,
    errors_in,
    get,
    path,
    post,
    read_body,
    reply,
    serving_http,
    start,
)

if TYPE_CHECKING:
    from asgiserve.types import Message, Receive, Scope, Send

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["inline", "task per request"])
def settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Both ways of running an application: what is told here holds for both."""
    return {"task_per_request": request.param}


async def linger(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the path, and go on for 100 seconds."""
    await path(scope, receive, send)
    await anyio.sleep(100)


async def test_the_next_request_is_answered_at_once(settings: dict[str, Any]) -> None:
    async with serving_http(linger, **settings) as served:
        client = served.connect()
        began = anyio.current_time()
        for number in range(10):
            assert (await client.get(f"/{number}")).body == b"/%d" % number
        assert anyio.current_time() == began


async def test_a_pipelined_request_is_answered_at_once(settings: dict[str, Any]) -> None:
    async with serving_http(linger, **settings) as served:
        client = served.connect()
        began = anyio.current_time()
        await client.send(get("/1") + get("/2") + get("/3"))
        assert [(await client.response()).body for _ in range(3)] == [b"/1", b"/2", b"/3"]
        assert anyio.current_time() == began


async def test_a_body_after_a_lingering_request_arrives_whole(settings: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, await read_body(receive))
        await anyio.sleep(100)

    async with serving_http(app, **settings) as served:
        client = served.connect()
        for data in (b"first", b"second"):
            await client.send(post(b"", length=len(data)))
            await anyio.sleep(1)
            await client.send(data)
            assert (await client.response()).body == data


async def test_what_lingers_runs_to_its_end(settings: dict[str, Any]) -> None:
    finished: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await linger(scope, receive, send)
        finished.append(anyio.current_time())

    async with serving_http(app, **settings) as served:
        client = served.connect()
        await client.get()
        answered = anyio.current_time()
        await client.stream.aclose()
        await anyio.sleep(200)
    assert finished == [answered + 100]


async def test_what_lingers_outlives_the_keep_alive_of_its_connection(settings: dict[str, Any]) -> None:
    finished = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await linger(scope, receive, send)
        finished.append(True)

    async with serving_http(app, timeout_keep_alive=5, **settings) as served:
        client = served.connect()
        await client.get()
        assert await client.is_closed()
        assert finished == []
        await anyio.sleep(200)
        assert finished == [True]


async def test_what_lingers_receives_a_disconnect_and_sends_into_nothing(settings: dict[str, Any]) -> None:
    seen: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await path(scope, receive, send)
        if scope["path"] != "/first":
            return
        await anyio.sleep(1)
        await start(send, status=500)
        await body(send, b"late")
        seen.extend([await receive(), await receive(), await receive()])

    async with serving_http(app, **settings) as served:
        client = served.connect()
        assert (await client.get("/first")).body == b"/first"
        await anyio.sleep(5)
        assert (await client.get("/second")).body == b"/second"
    assert seen == [{"type": "http.disconnect"}] * 3


async def test_the_connection_closes_while_its_last_application_lingers(settings: dict[str, Any]) -> None:
    async with serving_http(linger, **settings) as served:
        client = served.connect()
        began = anyio.current_time()
        assert (await client.get("/last", headers="Connection: close\r\n")).body == b"/last"
        assert await client.is_closed()
        assert anyio.current_time() == began


async def test_an_error_of_what_lingers_is_logged_once_and_touches_no_connection(
    settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await path(scope, receive, send)
        if scope["path"] == "/fail":
            await anyio.sleep(1)
            raise ValueError("in the background")

    async with serving_http(app, **settings) as served:
        client = served.connect()
        await client.get("/fail")
        await client.get("/next")
        await anyio.sleep(5)
        assert (await client.get("/more")).body == b"/more"
    assert errors_in(caplog) == ["Exception in ASGI application (GET /fail)"]


async def test_the_access_line_is_written_when_the_response_is_complete(
    settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with serving_http(linger, **settings) as served:
        client = served.connect()
        await client.get("/once")
        assert [line[2] for line in access_lines(caplog)] == ["/once"]
        await anyio.sleep(200)
    assert len(access_lines(caplog)) == 1


async def test_a_response_completed_by_a_child_task_frees_the_connection(settings: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def respond() -> None:
            await anyio.sleep(1)
            await path(scope, receive, send)

        async with anyio.create_task_group() as group:
            group.start_soon(respond)
            await anyio.sleep(100)

    async with serving_http(app, **settings) as served:
        client = served.connect()
        began = anyio.current_time()
        await client.send(get("/1") + get("/2"))
        assert [(await client.response()).body for _ in range(2)] == [b"/1", b"/2"]
        assert anyio.current_time() - began == pytest.approx(2)


async def test_what_suspends_after_its_response_and_returns_soon_is_settled_well(
    settings: dict[str, Any],
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await path(scope, receive, send)
        await anyio.lowlevel.checkpoint()

    async with serving_http(app, **settings) as served:
        client = served.connect()
        for number in range(20):
            assert (await client.get(f"/{number}")).body == b"/%d" % number


async def test_what_lingers_behind_an_unread_upload_leaves_a_readable_answer(
    settings: dict[str, Any],
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await linger(scope, receive, send)

    async with serving_http(app, **settings) as served:
        client = served.connect()
        await client.send(post(b"x" * 1000, length=100_000))
        await anyio.sleep(0.5)
        await client.send(b"x" * 60_000)
        assert (await client.response()).status == 200
        assert await client.is_closed()


async def test_a_stop_waits_for_what_lingers_within_the_grace_period(settings: dict[str, Any]) -> None:
    finished = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await path(scope, receive, send)
        await anyio.sleep(10)
        finished.append(scope["path"])

    async with serving_http(app, **settings) as served:
        client = served.connect()
        await client.get("/background")
        served.server.stop()
        await anyio.sleep(20)
        assert finished == ["/background"]
        assert served.server.state == "stopped"


async def test_what_lingers_is_cancelled_at_the_end_of_the_grace_period(settings: dict[str, Any]) -> None:
    ended: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await path(scope, receive, send)
        try:
            await anyio.sleep(1000)
        finally:
            ended.append(anyio.current_time())

    async with serving_http(app, timeout_graceful_shutdown=7, **settings) as served:
        await served.connect().get("/background")
        began = anyio.current_time()
        served.server.stop()
        await anyio.sleep(20)
    assert ended == [pytest.approx(began + 7)]
