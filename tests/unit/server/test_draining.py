"""`shutdown_delay`: between the request to stop and the stop everything is served, and everybody can see it coming."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asgiserve.config import Settings
from asgiserve.errors import ConfigError, ShutdownError
from tests.support.websocket import WebSocketClient
from tests.unit.server.apps import Journal, Listening, Slow, hello
from tests.unit.server.running import running

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
TICK = 0.25


async def readiness(scope: Scope, receive: Receive, send: Send) -> None:
    """The endpoint that the documentation shows."""
    draining = scope["state"].get("asgiserve.draining", False)
    await send({"type": "http.response.start", "status": 503 if draining else 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


# --- what is served meanwhile -----------------------------------------------------------------


async def test_new_connections_are_served_until_the_delay_is_over() -> None:
    async with running(app := Journal(), shutdown_delay=20) as run:
        run.server.stop()
        await anyio.sleep(19.5)
        assert run.server.state == "draining"
        assert (await run.connect().get()).status == 200
        assert await run.end() == pytest.approx(0.5, abs=TICK)
        with pytest.raises(ConnectionRefusedError):
            run.connect()
    assert (run.error, app.was_shut_down) == (None, True)


async def test_every_response_says_close_so_that_clients_go_elsewhere() -> None:
    async with running(hello, shutdown_delay=20) as run:
        kept, fresh = run.connect(), run.connect()
        assert "connection" not in (await kept.get()).headers
        run.server.stop()
        await anyio.sleep(10)
        for client in (kept, fresh):
            assert (await client.get()).headers["connection"] == "close"
            assert await client.read_all() == b""


async def test_an_idle_connection_stays_open_for_its_next_request() -> None:
    async with running(hello, shutdown_delay=20) as run:
        used, fresh = run.connect(), run.connect()
        await used.get()
        run.server.stop()
        await anyio.sleep(15)
        assert [(await client.get()).status for client in (used, fresh)] == [200, 200]


async def test_a_connection_that_stays_idle_goes_with_the_stop() -> None:
    async with running(hello, shutdown_delay=20) as run:
        client = run.connect()
        await client.get()
        run.server.stop()
        assert await client.read_all() == b""
        assert await run.end() == pytest.approx(0, abs=TICK)


async def test_a_request_in_flight_has_its_notice_and_grace_behind_the_delay() -> None:
    async with running(app := Listening(), shutdown_delay=20) as run:
        await run.connect().send(REQUEST)
        await app.begun.wait()
        began = anyio.current_time()
        run.server.stop()
        await run.end()
    assert app.told_at == pytest.approx(began + 20 + 10)


async def test_the_grace_period_is_as_long_as_without_a_delay() -> None:
    async with running(slow := Slow(1000), shutdown_delay=20) as run:
        await run.connect().send(REQUEST)
        await slow.begun.wait()
        run.server.stop()
        assert await run.end() == pytest.approx(20 + 25)


async def test_websockets_are_accepted_and_closed_with_1012_at_the_stop() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async with running(app, shutdown_delay=20) as run:
        run.server.stop()
        began = anyio.current_time()
        await anyio.sleep(5)
        client = WebSocketClient(run.listener.connect())
        await client.open()
        assert await client.closed_with() == (1012, "")
        assert anyio.current_time() - began == pytest.approx(20, abs=TICK)


# --- who can see it ---------------------------------------------------------------------------


async def test_an_endpoint_sees_in_its_state_that_a_stop_has_been_asked_for() -> None:
    async with running(readiness, shutdown_delay=20) as run:
        assert (await run.connect().get()).status == 200
        run.server.stop()
        await anyio.sleep(1)
        assert (await run.connect().get()).status == 503


async def test_without_a_delay_the_last_requests_of_connections_see_it_too() -> None:
    async with running(readiness) as run:
        client = run.connect()
        assert (await client.get()).status == 200
        run.server.stop()
        await anyio.sleep(0.5)
        assert (await client.get()).status == 503


async def test_a_lifespan_sees_it_in_the_state_that_it_has_filled() -> None:
    states: list[dict[str, Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            states.append(scope["state"])
            await hello(scope, receive, send)
            return
        scope["state"]["pool"] = "open"
        states.append(scope["state"])
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async with running(app, lifespan="on", shutdown_delay=20) as run:
        await run.connect().get()
        run.server.stop()
        await anyio.sleep(1)
        await run.connect().get()
    draining = {"pool": "open", "asgiserve.draining": True}
    assert states == [draining, {"pool": "open"}, draining]


async def test_the_log_says_what_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with running(hello, shutdown_delay=20) as run:
        run.server.stop()
        await run.end()
    assert caplog.text.count("Serving on for 20 s while load balancers take notice (shutdown_delay).") == 1


# --- when there is none -----------------------------------------------------------------------


async def test_a_quick_stop_does_not_wait_for_it() -> None:
    async with running(hello, shutdown_delay=20) as run:
        run.server.stop_quickly(5)
        assert await run.end() == pytest.approx(0)


async def test_a_quick_stop_ends_one_that_runs() -> None:
    async with running(slow := Slow(60), shutdown_delay=20) as run:
        await run.connect().send(REQUEST)
        await slow.begun.wait()
        run.server.stop()
        await anyio.sleep(5)
        run.server.stop_quickly(5)
        assert await run.end() == pytest.approx(5)


async def test_abort_ends_one_that_runs() -> None:
    async with running(slow := Slow(60), shutdown_delay=20) as run:
        await run.connect().send(REQUEST)
        await slow.begun.wait()
        run.server.stop()
        await anyio.sleep(5)
        run.server.abort()
        assert await run.end() == pytest.approx(0, abs=TICK)
    assert slow.cancelled


async def test_who_stops_may_say_how_long() -> None:
    async with running(hello, shutdown_delay=20) as run:
        run.server.stop(delay=0)
        assert await run.end() == pytest.approx(0)
    async with running(hello) as run:
        run.server.stop(delay=7)
        assert await run.end() == pytest.approx(7)


async def test_a_shorter_delay_shortens_one_that_runs_and_a_longer_one_does_not_lengthen_it() -> None:
    async with running(hello, shutdown_delay=20) as run:
        run.server.stop()
        await anyio.sleep(5)
        run.server.stop(delay=60)
        run.server.stop()
        await anyio.sleep(5)
        run.server.stop(delay=12)
        assert await run.end() == pytest.approx(2)


async def test_a_stop_in_the_middle_of_a_stop_does_not_begin_one() -> None:
    async with running(slow := Slow(60)) as run:
        await run.connect().send(REQUEST)
        await slow.begun.wait()
        run.server.stop()
        await anyio.sleep(1)
        run.server.stop(delay=100)
        assert run.server.state == "stopping"
        assert await run.end() == pytest.approx(24)


async def test_a_lifespan_that_fails_ends_it() -> None:
    class Failing(Journal):
        def __init__(self) -> None:
            super().__init__()
            self.fail = anyio.Event()

        async def lifespan(self, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await self.fail.wait()
            raise RuntimeError("the pool is gone")

    async with running(app := Failing(), shutdown_delay=20) as run:
        run.server.stop()
        await anyio.sleep(5)
        app.fail.set()
        assert await run.end() == pytest.approx(0, abs=TICK)
    assert isinstance(run.error, ShutdownError)


async def test_cancelling_the_caller_ends_it() -> None:
    async with running(app := Journal(), shutdown_delay=20) as run:
        run.server.stop()
        await anyio.sleep(5)
        run.scope.cancel()
        assert await run.end() == pytest.approx(0)
    assert app.was_shut_down


@pytest.mark.parametrize("value", ["none", -1, "soon"])
def test_a_delay_is_a_number_of_seconds(value: object) -> None:
    with pytest.raises(
        ConfigError, match=r"^shutdown_delay: expected a duration in seconds, from 0 to 1000000000, but got"
    ):
        Settings.of({"shutdown_delay": value})
