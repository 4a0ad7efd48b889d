"""`serve()` as a program embeds it: what it reports, what it raises, and what it leaves behind."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asgiserve.config import Settings
from asgiserve.server import serve, serve_with
from asgiserve.testing import MemoryListener
from tests.support.serving import PATIENCE, Client, serving
from tests.unit.server.apps import Journal, Slow, hello
from tests.unit.server.running import running

if TYPE_CHECKING:
    from pathlib import Path

    from asgiserve.server import Server
    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def task_count() -> int:
    return len(anyio.get_running_tasks())


# --- states -----------------------------------------------------------------------------------


async def test_the_state_goes_from_serving_over_stopping_to_stopped() -> None:
    async with running(slow := Slow(5)) as run:
        states = [run.server.state]
        await run.connect().send(REQUEST)
        await slow.begun.wait()
        run.server.stop()
        await anyio.sleep(1)
        states.append(run.server.state)
        await run.end()
        states.append(run.server.state)
    assert states == ["serving", "stopping", "stopped"]


async def test_the_state_of_a_cancelled_server_is_stopped() -> None:
    async with running(hello) as run:
        run.scope.cancel()
        await run.end()
    assert run.server.state == "stopped"


async def test_the_server_is_reported_only_when_the_app_has_started() -> None:
    class App(Journal):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            await anyio.sleep(10)
            await super().lifespan(receive, send)

    began = anyio.current_time()
    async with serving(App()):
        assert anyio.current_time() - began == pytest.approx(10)


async def test_the_repr_of_a_server_says_where_it_stands() -> None:
    async with running(hello) as run:
        assert "serving" in repr(run.server)


# --- ways to stop -----------------------------------------------------------------------------


@pytest.mark.parametrize("early", [True, False])
async def test_setting_the_stop_event_stops_gracefully(early: bool) -> None:
    app = Journal()
    listener, stop = MemoryListener(), anyio.Event()
    if early:
        stop.set()
    async with anyio.create_task_group() as group:
        start = partial(serve_with, app, Settings(), listeners=[listener], stop=stop)
        server = await group.start(start)
        stop.set()
    assert server.state == "stopped"
    assert app.was_shut_down


async def test_server_stop_ends_serve() -> None:
    async with running(app := Journal()) as run:
        run.server.stop()
        assert await run.end() < 1
    assert run.error is None
    assert app.was_shut_down


async def test_cancelling_the_caller_mid_request_leaves_nothing_behind() -> None:
    before = task_count()
    app = Journal(slow := Slow(60))
    async with running(app) as run:
        client = run.connect()
        await client.send(REQUEST)
        await slow.begun.wait()
        run.scope.cancel()
        assert await run.end() < 1
        assert (await client.response()).status == 503
        assert client.stream.peer_closed()
    assert (slow.cancelled, app.was_shut_down, run.error) == (True, True, None)
    assert task_count() == before


async def test_cancelling_during_startup_cancels_the_startup() -> None:
    ended: list[str] = []

    class App(Journal):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            try:
                await anyio.sleep(PATIENCE)
            finally:
                ended.append("startup")

    began = anyio.current_time()
    with anyio.move_on_after(5):
        await serve_with(App(), Settings(), listeners=[MemoryListener()])
    assert ended == ["startup"]
    assert anyio.current_time() - began < 6


async def test_a_startup_that_completes_although_cancelled_is_shut_down() -> None:
    class App(Journal):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(10)
                await super().lifespan(receive, send)
                completed.append(anyio.current_time())

    completed: list[float] = []
    app = App()
    with anyio.move_on_after(9.9), anyio.fail_after(PATIENCE):
        await serve_with(app, Settings(), listeners=[MemoryListener()])
    assert app.was_shut_down
    assert completed


async def test_cancelling_at_the_moment_of_startup_still_shuts_down() -> None:
    scope = anyio.CancelScope()

    class App(Journal):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            self.lines.append((await receive())["type"])
            await send({"type": "lifespan.startup.complete"})
            scope.cancel()
            self.lines.append((await receive())["type"])
            await send({"type": "lifespan.shutdown.complete"})

    app = App()
    with anyio.fail_after(60), scope:
        await serve_with(app, Settings(), listeners=[MemoryListener()])
    assert app.was_shut_down


# --- neighbours -------------------------------------------------------------------------------


async def test_an_error_of_a_sibling_task_passes_unchanged() -> None:
    app, error = Journal(), ValueError("the caller's own")

    async def sibling() -> None:
        raise error

    async def program() -> None:
        async with anyio.create_task_group() as group:
            await group.start(partial(serve_with, app, Settings(), listeners=[MemoryListener()]))
            group.start_soon(sibling)

    with pytest.raises(ExceptionGroup) as caught:
        await program()
    assert caught.value.exceptions == (error,)
    assert app.was_shut_down


async def test_several_servers_run_in_one_task_group() -> None:
    apps = [Journal(), Journal()]
    listeners = [MemoryListener(), MemoryListener()]
    async with anyio.create_task_group() as group:
        servers = [
            await group.start(partial(serve_with, app, Settings(), listeners=[listener]))
            for app, listener in zip(apps, listeners, strict=True)
        ]
        servers[0].stop()
        await anyio.sleep(5)
        assert (await Client(listeners[1].connect()).get()).status == 200
        assert [server.state for server in servers] == ["stopped", "serving"]
        servers[1].stop()
    assert all(app.was_shut_down for app in apps)


async def test_what_an_app_raises_ends_neither_connection_nor_server() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/bad":
            raise BaseExceptionGroup("worse than bad", [SystemExit(1), ValueError()])
        await hello(scope, receive, send)

    async with serving(app) as served:
        client = served.connect()
        assert (await client.get("/bad")).status == 500
        assert (await served.connect().get()).status == 200
        assert served.server.state == "serving"


async def test_an_embedded_server_touches_neither_signals_nor_logging() -> None:
    def surroundings() -> list[Any]:
        loggers = [logging.getLogger(name) for name in (None, "asgiserve", "asgiserve.error")]
        return [
            [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)],
            [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers],
        ]

    before = surroundings()
    async with running(hello) as run:
        await run.connect().get()
        assert surroundings() == before
        run.server.stop()
        await run.end()
    assert surroundings() == before


# --- real sockets, in real time ---------------------------------------------------------------


class TestRealSockets:
    """What only the kernel can show."""

    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(self, request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
        return request.param, {}

    async def test_start_reports_where_the_server_listens(self, tmp_path: Path) -> None:
        path = tmp_path / "app.sock"
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                server: Server = await group.start(partial(serve, hello, port=0, uds=str(path)))
                unix, (host, port) = server.addresses
                assert (unix, host) == (str(path), "127.0.0.1")
                assert server.urls == (f"unix:{path}", f"http://127.0.0.1:{port}")
                async with await anyio.connect_tcp(host, port) as client:
                    await client.send(REQUEST)
                    assert (await client.receive()).startswith(b"HTTP/1.1 200 ")
                async with await anyio.connect_unix(path) as client:
                    await client.send(REQUEST)
                    assert (await client.receive()).startswith(b"HTTP/1.1 200 ")
                server.stop()
        assert not path.exists()

    async def test_a_stopped_server_leaves_its_port_free(self) -> None:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                server: Server = await group.start(partial(serve, hello, port=0))
                server.stop()
        socket.create_server(server.addresses[0]).close()

    async def test_a_client_of_a_cancelled_server_can_read_its_503(self) -> None:
        app = Journal(slow := Slow(60))
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                server: Server = await group.start(partial(serve, app, port=0))
                async with await anyio.connect_tcp(*server.addresses[0]) as client:
                    await client.send(REQUEST)
                    await slow.begun.wait()
                    group.cancel_scope.cancel()
                    with anyio.CancelScope(shield=True):
                        assert (await client.receive()).startswith(b"HTTP/1.1 503 ")
        assert app.was_shut_down

    async def test_nobody_is_refused_or_reset_who_connects_before_the_stop(self) -> None:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                # Time is real here, and they ask one after the other: none may idle for longer than the linger.
                server: Server = await group.start(partial(serve, hello, port=0, timeout_linger=20))
                clients = [await anyio.connect_tcp(*server.addresses[0]) for _ in range(100)]
                server.stop()
                for client in clients:
                    async with client:
                        await client.send(REQUEST)
                        assert (await client.receive()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_thread_with_its_own_loop_can_serve(backend: str) -> None:
    outcome: list[object] = []

    async def main() -> None:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                server: Server = await group.start(partial(serve, hello, port=0))
                async with await anyio.connect_tcp(*server.addresses[0]) as client:
                    await client.send(REQUEST)
                    outcome.append((await client.receive())[:15])
                server.stop()

    def body() -> None:
        try:
            anyio.run(main, backend=backend)
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join(30)
    assert outcome == [b"HTTP/1.1 200 OK"]
