"""The accept loop, over a listener that does what a kernel may do; and the listener over a real socket."""

from __future__ import annotations

import errno
import logging
import os
import socket
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asgiserve.config import Bind, Settings
from asgiserve.server import serve, serve_with
from asgiserve.server.binding import bind_all
from asgiserve.server.listeners import SocketListener
from asgiserve.testing import MemoryListener
from tests.support.serving import Client, Serving, serving
from tests.unit.server.apps import Journal, Slow, hello
from tests.unit.server.running import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from asgiserve.server import Server
    from asgiserve.streams import Stream
    from asgiserve.types import ASGIApplication

pytestmark = pytest.mark.anyio

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
EXHAUSTED = [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM]


class FailingListener(MemoryListener):
    """A listener whose next accepts fail with given errors, whether a connection waits or not."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[int] = []
        self.closed = 0
        self.tried_at: list[float] = []
        """When an accept failed."""

    def fail(self, *errors: int) -> None:
        """Let the next accepts fail; the loop is woken by the connection that waits for one."""
        self.errors += errors

    def accept_nowait(self) -> Callable[[], Awaitable[Stream]] | None:
        if self.errors:
            self.tried_at.append(anyio.current_time())
            number = self.errors.pop(0)
            raise OSError(number, os.strerror(number))
        return super().accept_nowait()

    def close(self) -> None:
        self.closed += 1
        super().close()


@asynccontextmanager
async def failing(app: ASGIApplication, *errors: int, **settings: Any) -> AsyncIterator[Serving]:
    """Serve over a listener whose first accepts fail."""
    listener = FailingListener()
    listener.fail(*errors)
    async with anyio.create_task_group() as group:
        start = partial(serve_with, app, Settings.of(settings), listeners=[listener])
        yield Serving(await group.start(start), listener)
        group.cancel_scope.cancel()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line.getMessage() for line in caplog.records if line.levelno == logging.WARNING]


# --- errors of accept -------------------------------------------------------------------------


@pytest.mark.parametrize("number", EXHAUSTED, ids=errno.errorcode.get)
async def test_when_nothing_is_left_to_accept_with_the_loop_waits_and_goes_on(number: int) -> None:
    began = anyio.current_time()
    async with failing(hello, number, number, number) as served:
        assert (await served.connect().get()).status == 200
        assert isinstance(served.listener, FailingListener)
        waits = [moment - began for moment in served.listener.tried_at]
        assert waits == pytest.approx([0, 0.1, 0.2])
        assert anyio.current_time() - began == pytest.approx(0.3)


async def test_a_storm_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async with failing(hello, *EXHAUSTED, *EXHAUSTED) as served:
        await served.connect().get()
    assert len(warnings(caplog)) == 1
    assert "Cannot accept connections" in warnings(caplog)[0]


async def test_each_storm_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async with failing(hello, errno.EMFILE) as served:
        await served.connect().get()
        assert isinstance(served.listener, FailingListener)
        served.listener.fail(errno.EMFILE, errno.EMFILE)
        await served.connect().get()
    assert len(warnings(caplog)) == 2


async def test_open_connections_are_served_while_none_can_be_accepted() -> None:
    async with failing(hello) as served:
        client = served.connect()
        await client.get()
        assert isinstance(served.listener, FailingListener)
        served.listener.fail(*[errno.EMFILE] * 1000)
        waiting = served.connect()
        await anyio.sleep(1)
        assert (await client.get()).status == 200
        assert not waiting.stream.peer_closed()


async def test_a_stop_does_not_wait_for_a_storm() -> None:
    app, listener = Journal(), FailingListener()
    listener.fail(*[errno.EMFILE] * 1000)
    began = anyio.current_time()
    async with anyio.create_task_group() as group:
        server = await group.start(partial(serve_with, app, Settings(), listeners=[listener]))
        await anyio.sleep(1)
        server.stop()
    assert anyio.current_time() - began == pytest.approx(1)
    assert app.was_shut_down


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPROTO], ids=errno.errorcode.get)
async def test_a_connection_that_broke_before_it_was_accepted_costs_no_time(
    number: int, caplog: pytest.LogCaptureFixture
) -> None:
    began = anyio.current_time()
    async with failing(hello, *[number] * 5) as served:
        assert (await served.connect().get()).status == 200
        assert anyio.current_time() == began
    assert warnings(caplog) == []


async def test_an_unknown_error_comes_bare_out_of_serve_after_the_lifespan() -> None:
    app = Journal()
    listener = FailingListener()

    async def fail_later() -> None:
        await anyio.sleep(1)
        listener.fail(errno.EBADF)
        listener.connect()

    async with anyio.create_task_group() as group:
        group.start_soon(fail_later)
        with anyio.fail_after(60), pytest.raises(OSError, match=os.strerror(errno.EBADF)) as caught:
            await serve_with(app, Settings(), listeners=[listener])
    assert type(caught.value) is OSError
    assert app.was_shut_down
    assert listener.closed


# --- many connections -------------------------------------------------------------------------


async def test_no_more_connections_are_accepted_than_the_limit() -> None:
    async with serving(hello, limit_connections=2) as served:
        first, second, third = (served.connect() for _ in range(3))
        await first.get()
        await second.get()
        with anyio.move_on_after(60) as waited:
            await third.get()
        assert waited.cancelled_caught
        await first.stream.aclose()
        assert (await third.response()).status == 200


async def test_a_connection_that_is_lost_gives_its_place_back() -> None:
    async with serving(hello, limit_connections=1) as served:
        for _ in range(5):
            client = served.connect()
            await client.send(REQUEST[:10])
            client.stream.abort()
        assert (await served.connect().get()).status == 200


async def test_a_failed_accept_gives_its_place_back() -> None:
    async with failing(hello, *EXHAUSTED, errno.ECONNABORTED, limit_connections=1) as served:
        assert (await served.connect().get()).status == 200


@pytest.mark.parametrize("limit", [1, 2])
async def test_a_listener_that_nobody_connects_to_holds_no_place(limit: int) -> None:
    idle, busy = MemoryListener(), MemoryListener()
    async with anyio.create_task_group() as group:
        settings = Settings.of({"limit_connections": limit})
        server = await group.start(partial(serve_with, hello, settings, listeners=[idle, busy]))
        for listener in (busy, idle, busy):
            clients = [Client(listener.connect()) for _ in range(limit)]
            for client in clients:
                assert (await client.get()).status == 200
            assert server.overview().count("accepts nothing: limit_connections is reached") == 2
            for client in clients:
                await client.stream.aclose()
            await anyio.sleep(1)
            assert server.overview().count("MemoryListener: accepts\n") == 2
        server.stop()


async def test_at_the_stop_the_limit_still_holds() -> None:
    async with running(slow := Slow(5), limit_connections=1) as run:
        first, second = run.connect(), run.connect()
        await first.send(REQUEST)
        await second.send(REQUEST)
        await slow.begun.wait()
        run.server.stop()
        assert (await first.response()).status == 200
        with pytest.raises(anyio.BrokenResourceError):
            await second.response()


@pytest.mark.parametrize("limit", [1, None])
async def test_what_waits_in_the_queue_at_the_stop_is_served(limit: int | None) -> None:
    """The loop sleeps, because accepting failed, while a connection comes and the server is stopped."""
    async with failing(hello, errno.EMFILE, limit_connections=limit) as served:
        await anyio.sleep(0.05)
        assert isinstance(served.listener, FailingListener)
        served.listener.fail(errno.ECONNABORTED)
        client = served.connect()
        served.server.stop()
        assert (await client.get()).status == 200


async def test_no_more_of_the_queue_is_served_at_the_stop_than_the_limit() -> None:
    async with failing(Slow(5), errno.EMFILE, limit_connections=1, lifespan="off") as served:
        await anyio.sleep(0.05)
        first, second = served.connect(), served.connect()
        served.server.stop()
        assert (await first.get()).status == 200
        with pytest.raises(anyio.BrokenResourceError):
            await second.get()


async def test_a_storm_of_connections_does_not_starve_a_request() -> None:
    """The loop accepts as long as it finds something; here it always does."""

    class Endless(MemoryListener):
        accepted = 0

        def accept_nowait(self) -> Callable[[], Awaitable[Stream]] | None:
            opener = super().accept_nowait()
            if self.accepted < 20_000 and not answered.is_set():
                self.accepted += 1
                self.connect().abort()
            return opener

    answered = anyio.Event()
    listener = Endless()
    async with anyio.create_task_group() as group:
        await group.start(partial(serve_with, hello, Settings(), listeners=[listener]))
        assert (await Client(listener.connect()).get()).status == 200
        answered.set()
        accepted = listener.accepted
        group.cancel_scope.cancel()
    assert accepted < 1000


async def test_the_listener_is_closed_at_the_end() -> None:
    listeners = [FailingListener(), FailingListener()]
    async with anyio.create_task_group() as group:
        server = await group.start(partial(serve_with, hello, Settings(), listeners=listeners))
        server.stop()
    assert all(listener.closed for listener in listeners)


# --- the kernel's own -------------------------------------------------------------------------


async def test_an_empty_queue_accepts_nothing() -> None:
    (bound,) = bind_all(Bind(port=0))
    bound.socket.listen()
    listener = SocketListener(bound)
    assert listener.accept_nowait() is None
    listener.close()
    assert bound.socket.fileno() == -1
    listener.close()


async def test_closing_the_listener_removes_the_path_of_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    (bound,) = bind_all(Bind(uds=str(path)))
    SocketListener(bound).close()
    assert not path.exists()


class TestRealSockets:
    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(self, request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
        return request.param, {}

    async def test_a_client_that_resets_at_once_disturbs_nobody(self) -> None:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                server: Server = await group.start(partial(serve, hello, port=0))
                address = server.addresses[0]
                for _ in range(50):
                    rude = socket.create_connection(address)
                    rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    rude.close()
                async with await anyio.connect_tcp(*address) as client:
                    await client.send(REQUEST)
                    assert (await client.receive()).startswith(b"HTTP/1.1 200 ")
                server.stop()
