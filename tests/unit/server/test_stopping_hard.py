"""The hard end of a stop: what still runs is cancelled in time, and the lifespan shuts down in any case."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asgiserve.backend import current_backend
from asgiserve.config import Settings
from asgiserve.server import serve_with
from asgiserve.testing import MemoryListener
from tests.support.serving import PATIENCE
from tests.unit.server.apps import Deaf, Journal, Slow, Stubborn, hello
from tests.unit.server.running import running, startup_error

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send
    from tests.support.serving import Client

pytestmark = pytest.mark.anyio

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
TICK = 0.25


async def read_into(data: bytearray, client: Client) -> None:
    while True:
        data += await client.read()


def cancel_all_but(others: set[asyncio.Task[Any]]) -> None:
    """As asyncio.run() does at its end."""
    for task in asyncio.all_tasks() - others:
        task.cancel()


# --- the end of the grace period --------------------------------------------------------------


async def test_after_the_grace_period_a_silent_app_is_cancelled_and_its_client_told_503() -> None:
    app = Journal(slow := Slow(3600))
    async with running(app) as run:
        client = run.connect()
        await client.send(REQUEST)
        await slow.begun.wait()
        run.server.stop()
        response = await client.response()
        assert (response.status, response.headers["connection"]) == (503, "close")
        assert "retry-after" in response.headers
        await run.end()
    assert (slow.cancelled, app.was_shut_down, run.error) == (True, True, None)


async def test_an_answer_in_the_place_of_a_cancelled_app_is_followed_by_an_orderly_end() -> None:
    """A reset could take the answer away from a client that has not read it yet."""
    async with running(slow := Slow(3600)) as run:
        client = run.connect()
        await client.send(REQUEST)
        await slow.begun.wait()
        run.server.abort()
        await run.end()
        assert (await client.response()).status == 503
        assert await client.read_all() == b""


async def test_nor_does_an_upload_in_its_middle_take_it_away() -> None:
    async with running(slow := Slow(3600)) as run:
        client = run.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + bytes(1000))
        await slow.begun.wait()
        await client.send(bytes(60_000))
        run.server.abort()
        await run.end()
        assert (await client.response()).status == 503
        assert await client.read_all() == b""


async def test_an_idle_connection_is_not_reset_by_an_abort() -> None:
    async with running(hello) as run:
        client = run.connect()
        await client.get()
        run.server.abort()
        await run.end()
        assert await client.read_all() == b""


async def test_who_is_cancelled_at_the_end_of_the_grace_period_is_named(caplog: pytest.LogCaptureFixture) -> None:
    async with running(Slow(3600), timeout_graceful_shutdown=2) as run:
        for number in range(7):
            await run.connect().send(f"GET /{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await run.connect().send(b"GET /6 HTTP/1.1\r\nHost: x\r\n\r\n")
        run.connect()
        await anyio.sleep(0.5)
        run.server.stop()
        await run.end()
    (said,) = [record.getMessage() for record in caplog.records if "cancelling" in record.getMessage()]
    named = said.removeprefix("The grace period is over, cancelling ").removesuffix(" and 2 more.").split(", ")
    assert named[0] == "GET /6 (2 times)"
    assert len(set(named) & {f"GET /{number}" for number in range(6)}) == 4


async def tidies_up(scope: Scope, receive: Receive, send: Send) -> None:
    """Ends so many fifths of a second after it was cancelled."""
    try:
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(int(scope["path"][1:]) * 0.2)


async def test_nothing_counts_as_stuck_while_there_is_headway() -> None:
    """Thousands of connections take longer to cancel than one that is stuck should be waited for."""
    told: list[float] = []
    async with running(tidies_up, unstoppable=lambda: told.append(0)) as run:
        for number in range(12):
            await run.connect().send(f"GET /{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await anyio.sleep(0.5)
        run.server.abort()
        assert await run.end() == pytest.approx(2.2, abs=TICK)
    assert told == []


async def test_headway_has_a_limit_too() -> None:
    told: list[float] = []
    async with running(tidies_up, unstoppable=lambda: told.append(anyio.current_time())) as run:
        for number in range(30):
            await run.connect().send(f"GET /{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await anyio.sleep(0.5)
        began = anyio.current_time()
        run.server.abort()
        await run.end()
    assert 3 <= told[0] - began <= 3 + 1


async def test_the_grace_period_is_as_long_as_it_says() -> None:
    async with running(slow := Slow(3600)) as run:
        await run.connect().send(REQUEST)
        await slow.begun.wait()
        run.server.stop()
        assert await run.end() == pytest.approx(25)


async def test_a_response_that_has_begun_is_cut_when_the_grace_period_ends() -> None:
    app = Journal(deaf := Deaf())
    async with running(app) as run:
        client = run.connect()
        await client.send(REQUEST)
        await deaf.begun.wait()
        run.server.stop()
        data = bytearray()
        with pytest.raises((anyio.BrokenResourceError, anyio.EndOfStream)):
            await read_into(data, client)
        assert data.count(b"event") >= 24
        assert not data.endswith(b"0\r\n\r\n")
        assert await run.end() < TICK
    assert app.was_shut_down


async def test_grace_0_cancels_at_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    app = Journal(slow := Slow(3600))
    async with running(app, timeout_graceful_shutdown=0) as run:
        client = run.connect()
        await client.send(REQUEST)
        await slow.begun.wait()
        run.server.stop()
        assert (await client.response()).status == 503
        assert await run.end() == 0
    assert app.was_shut_down
    assert "Waiting for at most" not in caplog.text


async def test_what_is_waited_for_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with running(slow := Slow(20)) as run:
        await run.connect().send(REQUEST)
        await slow.begun.wait()
        run.connect()
        await anyio.sleep(0.5)
        run.server.stop()
        await run.end()
    told = [line.getMessage() for line in caplog.records if line.getMessage().startswith("Waiting for at")]
    assert told == ["Waiting for at most 25 s for 2 connections to close (1 with a request in flight)."]


async def test_grace_none_waits_for_as_long_as_it_takes() -> None:
    async with running(slow := Slow(100_000), timeout_graceful_shutdown="none") as run:
        client = run.connect()
        await client.send(REQUEST)
        await slow.begun.wait()
        run.server.stop()
        with anyio.fail_after(200_000):
            await run.returned.wait()
        assert (await client.response()).status == 200
    assert not slow.cancelled


async def test_a_quick_stop_cancels_after_its_own_grace() -> None:
    app = Journal(slow := Slow(3600))
    async with running(app) as run:
        await run.connect().send(REQUEST)
        await slow.begun.wait()
        run.server.stop_quickly(5)
        assert await run.end() == pytest.approx(5)
    assert (slow.cancelled, app.was_shut_down) == (True, True)


@pytest.mark.parametrize("stopping_for", [None, 0, 3, 12], ids=str)
async def test_abort_cancels_now(stopping_for: float | None) -> None:
    app = Journal(slow := Slow(3600))
    async with running(app) as run:
        client = run.connect()
        await client.send(REQUEST)
        await slow.begun.wait()
        if stopping_for is not None:
            run.server.stop()
            await anyio.sleep(stopping_for)
        run.server.abort()
        assert (await client.response()).status == 503
        assert await run.end() == 0
        run.server.abort()
    assert (slow.cancelled, app.was_shut_down, run.error) == (True, True, None)


async def test_abort_closes_connections_in_every_phase() -> None:
    async with running(hello) as run:
        idle, partial, fresh = run.connect(), run.connect(), run.connect()
        await idle.get()
        await partial.send(REQUEST[:10])
        await anyio.sleep(0.1)
        run.server.abort()
        assert await run.end() == 0
        assert all(client.stream.peer_closed() for client in (idle, partial, fresh))


# --- applications that do not end -------------------------------------------------------------


async def test_the_lifespan_shuts_down_although_an_app_swallows_its_cancellation() -> None:
    class App(Journal):
        async def shut_down(self) -> None:
            shut_down_at.append(anyio.current_time())

    shut_down_at: list[float] = []
    app = App(stubborn := Stubborn())
    async with running(app) as run:
        await run.connect().send(REQUEST)
        await stubborn.begun.wait()
        began = anyio.current_time()
        run.server.stop()
        await anyio.sleep(40)
        assert not run.returned.is_set()
        stubborn.let_go.set()
        assert await run.end() == 0
    assert len(shut_down_at) == 1
    assert began + 25 <= shut_down_at[0] <= began + 26


async def test_so_does_it_when_asyncio_itself_cancels_the_task_of_the_server(caplog: pytest.LogCaptureFixture) -> None:
    if current_backend() != "asyncio":
        pytest.skip("trio has no cancellation but that of scopes")
    app, listener = Journal(stubborn := Stubborn()), MemoryListener()
    task = asyncio.create_task(serve_with(app, Settings(), listeners=[listener]))
    await anyio.sleep(1)
    await listener.connect().send(REQUEST)
    await stubborn.begun.wait()
    task.cancel()
    await anyio.sleep(2)
    assert app.was_shut_down
    assert not task.done()
    assert "goes on although it was cancelled" in caplog.text
    stubborn.let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("lifespan", ["auto", "off"])
async def test_a_stop_takes_no_cancellation_from_the_task_that_called_serve(lifespan: str) -> None:
    if current_backend() != "asyncio":
        pytest.skip("trio has no cancellation but that of scopes")
    left = []

    async def last_things() -> None:
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            stop = anyio.Event()
            asyncio.get_running_loop().call_later(1, stop.set)
            settings = Settings.of({"lifespan": lifespan})
            await serve_with(hello, settings, listeners=[MemoryListener()], stop=stop)
            left.append(asyncio.current_task().cancelling())  # type: ignore[union-attr]

    task = asyncio.create_task(last_things())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left == [1]


@pytest.mark.parametrize("lifespan", ["auto", "off"])
@pytest.mark.parametrize("turns", range(20))
async def test_asyncio_may_cancel_it_in_any_turn_of_its_stop(turns: int, lifespan: str) -> None:
    if current_backend() != "asyncio":
        pytest.skip("trio has no cancellation but that of scopes")
    stop = anyio.Event()

    async def call() -> None:
        await serve_with(hello, Settings.of({"lifespan": lifespan}), listeners=[MemoryListener()], stop=stop)
        await asyncio.sleep(PATIENCE)  # which a cancellation that was swallowed would not end

    task = asyncio.create_task(call())
    await asyncio.sleep(1)
    stop.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    assert await asyncio.wait([task], timeout=PATIENCE / 2) == ({task}, set())
    assert task.cancelled()


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")  # asyncio does not begin what it has cancelled
@pytest.mark.parametrize("turns", range(8))
async def test_asyncio_may_cancel_it_in_any_turn_of_its_start(turns: int) -> None:
    if current_backend() != "asyncio":
        pytest.skip("trio has no cancellation but that of scopes")
    listener = MemoryListener()
    before = asyncio.all_tasks()
    task = asyncio.create_task(serve_with(hello, Settings.of({"lifespan": "off"}), listeners=[listener]))
    for _ in range(turns):
        await asyncio.sleep(0)
    cancel_all_but(before)
    assert await asyncio.wait([task], timeout=PATIENCE) == ({task}, set())
    assert task.cancelled()
    del task
    gc.collect()  # what never began is told here, and not in another test


async def test_whoever_owns_the_process_is_told_that_an_app_cannot_be_stopped() -> None:
    told: list[float] = []
    app = Journal(stubborn := Stubborn())

    def unstoppable() -> None:
        assert app.was_shut_down
        told.append(anyio.current_time())
        stubborn.let_go.set()

    async with running(app, unstoppable=unstoppable) as run:
        await run.connect().send(REQUEST)
        await stubborn.begun.wait()
        began = anyio.current_time()
        run.server.stop()
        await run.end()
    assert len(told) == 1
    assert began + 25 <= told[0] <= began + 26


async def test_nobody_is_told_when_everything_ends_in_time() -> None:
    told: list[float] = []
    async with running(slow := Slow(3600), unstoppable=lambda: told.append(0)) as run:
        await run.connect().send(REQUEST)
        await slow.begun.wait()
        run.server.abort()
        await run.end()
    assert told == []


async def test_an_embedded_server_says_every_five_seconds_what_it_waits_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)  # with an access log, it is known for how long a request has been running
    async with running(stubborn := Stubborn()) as run:
        client = run.connect()
        await client.send(b"GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n")
        await stubborn.begun.wait()
        run.server.abort()
        await anyio.sleep(21)
        stubborn.let_go.set()
        await run.end()
    lines = [line.getMessage() for line in caplog.records if "goes on although" in line.getMessage()]
    assert len(lines) == 5
    assert all("GET /stuck" in line and "let_go.wait()" in line for line in lines)
    assert all(line.startswith("The application tests.unit.server.apps.Stubborn.__call__, running") for line in lines)
    assert [line.split(",")[1] for line in lines[:2]] == [" running for 0.8 s", " running for 5.8 s"]
    advice = [line for line in caplog.records if line.getMessage().startswith("It would end if it let")]
    assert len(advice) == 1


@pytest.mark.parametrize("cancelled", [True, False])
async def test_a_stubborn_lifespan_is_named_and_awaited(cancelled: bool, caplog: pytest.LogCaptureFixture) -> None:
    let_go = anyio.Event()

    class App(Journal):
        async def shut_down(self) -> None:
            with anyio.CancelScope(shield=True):
                await let_go.wait()

    told: list[float] = []
    async with running(App(), unstoppable=lambda: told.append(anyio.current_time())) as run:
        began = anyio.current_time()
        if cancelled:
            run.scope.cancel()
        else:
            run.server.stop()
        await anyio.sleep(4)
        assert not run.returned.is_set()
        let_go.set()
        await run.end()
    assert [moment - began for moment in told] == [pytest.approx(3.25, abs=0.75)]
    assert any("lifespan goes on although" in line.message for line in caplog.records)


async def test_a_background_task_that_swallows_its_cancellation_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stubborn = Stubborn()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await hello(scope, receive, send)
        await stubborn(scope, receive, send)

    async with running(app) as run:
        client = run.connect()
        await client.get("/behind")
        await client.stream.aclose()
        run.server.abort()
        await anyio.sleep(2)
        stubborn.let_go.set()
        await run.end()
    assert any("GET /behind" in line.getMessage() for line in caplog.records if line.levelno == logging.ERROR)


async def test_a_startup_that_swallows_its_cancellation_is_named() -> None:
    let_go = anyio.Event()

    class App(Journal):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            with anyio.CancelScope(shield=True):
                await let_go.wait()

    began = anyio.current_time()
    error = await startup_error(App(), unstoppable=let_go.set, timeout_lifespan_startup=2)
    assert "longer than 2 s" in str(error)
    assert anyio.current_time() - began <= 2 + 3 + 1
