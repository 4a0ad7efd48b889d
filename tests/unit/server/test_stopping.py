"""The phases of a graceful stop, on a clock that the tests read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.unit.connection.applications import send_for_ever
from tests.unit.server.apps import Journal, Large, Lingering, Listening, Slow, hello
from tests.unit.server.running import running

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send
    from tests.support.serving import Client

pytestmark = pytest.mark.anyio

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
TICK = 0.25
"""The watcher looks this often: what it ends may end this much later."""


async def closed_after(client: Client) -> float:
    """How many seconds it takes until the server closes an idle connection, silently."""
    began = anyio.current_time()
    assert await client.read_all() == b""
    return anyio.current_time() - began


# --- connections without a request ------------------------------------------------------------


async def test_a_server_without_connections_stops_at_once() -> None:
    async with running(app := Journal()) as run:
        run.server.stop()
        assert await run.end() == 0
    assert (run.error, app.was_shut_down) == (None, True)


@pytest.mark.parametrize("used", [True, False], ids=["used before", "never used"])
async def test_a_connection_idle_for_longer_than_the_linger_is_closed_at_once(used: bool) -> None:
    async with running(hello) as run:
        client = run.connect()
        if used:
            await client.get()
        await anyio.sleep(1.5)
        run.server.stop()
        assert await closed_after(client) == 0
        assert await run.end() == 0


@pytest.mark.parametrize("used", [True, False], ids=["used before", "never used"])
async def test_a_connection_idle_for_less_is_closed_when_the_linger_ends(used: bool) -> None:
    async with running(hello) as run:
        client = run.connect()
        if used:
            await client.get()
        await anyio.sleep(0.5)
        run.server.stop()
        assert await closed_after(client) == pytest.approx(1, abs=TICK)
        await run.end()


async def test_a_connection_in_its_linger_answers_one_more_request_and_closes() -> None:
    async with running(hello) as run:
        client = run.connect()
        await client.get()
        run.server.stop()
        await anyio.sleep(0.75)
        response = await client.get()
        assert (response.status, response.headers["connection"]) == (200, "close")
        assert await closed_after(client) == 0
        assert await run.end() < TICK


async def test_the_linger_is_a_setting() -> None:
    async with running(hello, timeout_linger=5) as run:
        client = run.connect()
        await client.get()
        await anyio.sleep(4)
        run.server.stop()
        assert await closed_after(client) == pytest.approx(5, abs=TICK)


async def test_a_request_that_is_on_its_way_at_the_stop_is_answered() -> None:
    async with running(hello) as run:
        client = run.connect()
        await client.get()
        await anyio.sleep(60)
        run.server.stop()
        await client.send(REQUEST)
        assert (await client.response()).status == 200
        assert await closed_after(client) <= 1 + TICK


async def test_the_rest_of_a_partial_head_is_awaited_for_the_linger() -> None:
    async with running(hello) as run:
        client = run.connect()
        await client.send(REQUEST[:20])
        await anyio.sleep(2)
        run.server.stop()
        await anyio.sleep(0.5)
        await client.send(REQUEST[20:])
        response = await client.response()
        assert (response.status, response.headers["connection"]) == (200, "close")
        assert await run.end() < TICK


async def test_a_head_that_stays_partial_is_answered_408_when_the_linger_ends() -> None:
    async with running(hello) as run:
        client = run.connect()
        await client.send(REQUEST[:20])
        await anyio.sleep(2)
        began = anyio.current_time()
        run.server.stop()
        assert (await client.response()).status == 408
        assert anyio.current_time() - began == pytest.approx(1, abs=TICK)
        await client.stream.aclose()
        assert await run.end() < 1


async def test_a_head_that_begins_in_the_linger_has_no_more_than_another_linger() -> None:
    async with running(hello) as run:
        client = run.connect()
        run.server.stop()
        await anyio.sleep(0.75)
        await client.send(REQUEST[:20])
        assert (await client.response()).status == 408
        await client.stream.aclose()
        assert await run.end() <= 2


@pytest.mark.parametrize("answered", ["before the stop", "in the stop"])
async def test_the_rest_of_an_upload_that_was_answered_is_awaited_for_the_linger(answered: str) -> None:
    async with running(hello) as run:
        client = run.connect()
        if answered == "in the stop":
            run.server.stop()
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert (await client.response()).status == 200
        began = anyio.current_time()
        run.server.stop()
        with pytest.raises(anyio.BrokenResourceError):
            await send_for_ever(client, b"x", pause=0.01)
        assert anyio.current_time() - began == pytest.approx(1, abs=TICK + 0.01)
        assert await run.end() <= 1 + TICK


@pytest.mark.parametrize("ending", ["the server is aborted", "the client vanishes"])
async def test_an_upload_that_was_answered_keeps_nobody(ending: str) -> None:
    async with running(hello) as run:
        client = run.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nhalf of it")
        assert (await client.response()).status == 200
        if ending == "the client vanishes":
            client.stream.abort()
            await anyio.wait_all_tasks_blocked()
            run.server.stop()
        else:
            run.server.abort()
        assert await run.end() == 0


# --- who comes late ---------------------------------------------------------------------------


async def test_new_connections_are_refused_while_stopping() -> None:
    async with running(slow := Slow(5)) as run:
        await run.connect().send(REQUEST)
        await slow.begun.wait()
        run.server.stop()
        await anyio.sleep(1)
        with pytest.raises(ConnectionRefusedError):
            run.connect()
        assert run.server.state == "stopping"


async def test_connections_queued_before_the_stop_are_served() -> None:
    """Closing a listener would reset them all; there may be far more of them than are accepted in a row."""
    async with running(hello) as run:
        clients = [run.connect() for _ in range(300)]
        run.server.stop()
        for client in clients:
            assert (await client.get()).status == 200


# --- running requests -------------------------------------------------------------------------


async def test_a_running_request_finishes_and_says_close() -> None:
    app = Journal(slow := Slow(20))
    async with running(app) as run:
        client = run.connect()
        await client.send(REQUEST)
        await slow.begun.wait()
        run.server.stop()
        response = await client.response()
        assert (response.status, response.headers["connection"]) == (200, "close")
        assert await run.end() < TICK
    assert (run.error, slow.cancelled, app.was_shut_down) == (None, False, True)


async def test_the_notice_comes_after_ten_seconds() -> None:
    async with running(app := Listening()) as run:
        client = run.connect()
        await client.send(REQUEST)
        await app.begun.wait()
        began = anyio.current_time()
        run.server.stop()
        response = await client.response()
        assert response.body == b"eventbye"
        # The head was sent before the stop and promised another request: the linger keeps the promise.
        assert await run.end() <= 1 + TICK
    assert app.told_at == pytest.approx(began + 10)


@pytest.mark.parametrize(
    ("grace", "notice", "expected"),
    [(5, 10, 2), (100, 10, 10), (25, 3, 3), (10, 0, 0), ("none", 10, 10), ("none", "none", None)],
)
async def test_the_notice_comes_when_it_should(grace: float | str, notice: float | str, expected: float | None) -> None:
    settings: dict[str, Any] = {"timeout_graceful_shutdown": grace, "timeout_shutdown_notice": notice}
    async with running(app := Listening(), **settings) as run:
        await run.connect().send(REQUEST)
        await app.begun.wait()
        began = anyio.current_time()
        run.server.stop()
        with anyio.move_on_after(1000):
            await run.end()
    assert app.told_at == (None if expected is None else pytest.approx(began + expected))


async def test_the_notice_ends_a_body_that_is_still_awaited() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((await receive())["type"])
        await hello(scope, receive, send)

    async with running(app) as run:
        client = run.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
        await anyio.sleep(1)
        run.server.stop()
        assert (await client.response()).status == 200
        assert await run.end() < 3
    assert seen == ["http.disconnect"]


async def test_an_app_that_answers_after_the_notice_is_heard() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await anyio.sleep(5)
        await hello(scope, receive, send)

    async with running(app) as run:
        client = run.connect()
        await client.send(REQUEST)
        await anyio.sleep(1)
        run.server.stop()
        response = await client.response()
        assert (response.status, response.headers["connection"]) == (200, "close")
        assert await run.end() < TICK


async def test_an_app_that_returns_at_the_notice_without_an_answer_is_answered_503() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async with running(app) as run:
        client = run.connect()
        await client.send(REQUEST)
        await anyio.sleep(1)
        run.server.stop()
        assert (await client.response()).status == 503
        assert await run.end() < TICK


async def test_a_background_task_is_awaited_within_the_grace_period() -> None:
    app = Journal(lingering := Lingering(20))
    async with running(app) as run:
        assert (await run.connect().get()).status == 200
        await anyio.sleep(2)
        run.server.stop()
        assert await run.end() == pytest.approx(18, abs=TICK)
    assert (lingering.done, app.was_shut_down) == (True, True)


async def test_a_background_task_is_cancelled_when_the_grace_period_ends() -> None:
    app = Journal(lingering := Lingering(60))
    async with running(app) as run:
        client = run.connect()
        await client.get()
        await client.stream.aclose()
        run.server.stop()
        assert await run.end() == pytest.approx(25, abs=TICK)
    assert (lingering.done, app.was_shut_down) == (False, True)


async def test_a_large_response_is_finished_for_a_client_that_reads_on() -> None:
    async with running(app := Large(2)) as run:
        client = run.connect()
        await client.send(REQUEST)
        await app.begun.wait()
        run.server.stop()
        await anyio.sleep(15)
        assert len((await client.response()).body) == 2 * 2**20
        await run.end()


# --- asking twice -----------------------------------------------------------------------------


async def test_a_second_stop_changes_nothing() -> None:
    async with running(app := Listening()) as run:
        await run.connect().send(REQUEST)
        await app.begun.wait()
        began = anyio.current_time()
        run.server.stop()
        await anyio.sleep(5)
        run.server.stop()
        await run.end()
        run.server.stop()
    assert app.told_at == pytest.approx(began + 10)
    assert run.server.state == "stopped"


async def test_a_quick_stop_gives_the_notice_at_once() -> None:
    async with running(app := Listening()) as run:
        await run.connect().send(REQUEST)
        await app.begun.wait()
        began = anyio.current_time()
        run.server.stop_quickly(5)
        assert await run.end() <= 1 + TICK
    assert app.told_at == began


async def test_a_request_in_the_linger_of_a_quick_stop_is_told_when_the_linger_ends() -> None:
    """It is younger than the notice, and would hold the stop until the end of the grace period."""
    async with running(app := Listening()) as run:
        client = run.connect()
        began = anyio.current_time()
        run.server.stop_quickly(5)
        await anyio.sleep(0.5)
        await client.send(REQUEST)
        assert (await client.response()).body == b"eventbye"
        assert await run.end() < TICK
    assert app.told_at == pytest.approx(began + 1, abs=TICK)


async def test_a_quick_stop_never_lengthens_the_grace_period() -> None:
    async with running(slow := Slow(60), timeout_graceful_shutdown=2) as run:
        await run.connect().send(REQUEST)
        await slow.begun.wait()
        run.server.stop_quickly(5)
        assert await run.end() == pytest.approx(2)


async def test_a_quick_stop_hurries_a_stop_that_has_begun() -> None:
    async with running(app := Listening()) as run:
        await run.connect().send(REQUEST)
        await app.begun.wait()
        run.server.stop()
        await anyio.sleep(3)
        hurried = anyio.current_time()
        run.server.stop_quickly(5)
        assert await run.end() <= 1 + TICK
    assert app.told_at == hurried


async def test_a_quick_stop_gives_a_stop_that_has_begun_its_seconds() -> None:
    async with running(slow := Slow(60)) as run:
        await run.connect().send(REQUEST)
        await slow.begun.wait()
        run.server.stop()
        await anyio.sleep(12)
        run.server.stop_quickly(5)
        assert await run.end() == pytest.approx(5)
    assert slow.cancelled
