"""httpx over connections in memory: the real wire, streaming, in virtual time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from asgiserve import StartupError, serve
from asgiserve.testing import Faults, MemoryListener, memory_server
from asgiserve.testing.transport import MemoryTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asgiserve.testing import MemoryServer, MemoryStream
    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio


class Events:
    """An endless stream of events, one a second, until its client leaves."""

    def __init__(self) -> None:
        self.left = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        await receive()
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async with anyio.create_task_group() as group:
            group.start_soon(self._tell, send)
            assert (await receive())["type"] == "http.disconnect"
            group.cancel_scope.cancel()
        self.left.set()

    async def _tell(self, send: Send) -> None:
        number = 0
        while True:
            await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
            number += 1
            await anyio.sleep(1)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the request's body, and with the client's port; /late an hour later, /broken never."""
    if scope["type"] != "http":
        raise NotImplementedError
    if scope["path"] == "/broken":
        raise KeyError("broken")
    if scope["path"] == "/late":
        await anyio.sleep(3600)
    headers = [(b"x-port", b"%d" % scope["client"][1])]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while True:
        message = await receive()
        more = message.get("more_body", False)
        await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": more})
        if not more:
            return


def client_of(server: MemoryServer | MemoryListener, timeout: float = 5, **options: Faults) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=MemoryTransport(server, **options), base_url="http://test", timeout=timeout)


async def test_faults_are_met_on_the_wire() -> None:
    async with memory_server(echo) as server:
        async with client_of(server, to_server=Faults(piece=1), to_client=Faults(piece=1, delay=2)) as client:
            began = anyio.current_time()
            assert (await client.post("/", content=b"hello")).content == b"hello"
            assert anyio.current_time() - began == pytest.approx(2)
        async with client_of(server, to_client=Faults(reset_after=20)) as client:
            with pytest.raises(httpx.ReadError):
                await client.get("/")
        async with client_of(server, to_client=Faults(end_after=20)) as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get("/")


async def test_an_endless_stream_of_events_is_read_as_it_comes_and_its_application_hears_of_the_end() -> None:
    app = Events()
    async with memory_server(app) as server, client_of(server) as client:
        began = anyio.current_time()
        async with client.stream("GET", "/") as response:
            assert response.headers["content-type"] == "text/event-stream"
            events = {}
            # Left by a cancellation, which ends httpx's nested generators; left by a break, trio warns of each.
            with anyio.move_on_after(2.5):
                async for line in response.aiter_lines():
                    events[line] = anyio.current_time() - began
            assert events == pytest.approx({"data: 0": 0, "": 2, "data: 1": 1, "data: 2": 2})
        with anyio.fail_after(1):
            await app.left.wait()


async def test_bodies_go_both_ways_in_pieces() -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 1000

    async with memory_server(echo) as server, client_of(server) as client:
        assert (await client.post("/", content=body())).content == b"x" * 100_000


async def test_a_connection_is_kept_and_used_again() -> None:
    ports = iter(range(50_000, 50_010))

    class Counting(MemoryListener):
        def connect(self, **options: Any) -> MemoryStream:
            return super().connect(**options, remote_address=("127.0.0.1", next(ports)))

    listener = Counting()
    async with anyio.create_task_group() as group:
        await group.start(partial(serve, echo, listeners=[listener], timeout_keep_alive=10))
        async with client_of(listener) as client:
            assert [(await client.get("/")).headers["x-port"] for _ in range(2)] == ["50000", "50000"]
            await anyio.sleep(11)
            assert (await client.get("/")).headers["x-port"] == "50001"
        group.cancel_scope.cancel()


async def test_timeouts_of_the_client_are_errors_of_httpx_after_the_time_of_the_loop() -> None:
    async with memory_server(echo) as server, client_of(server, timeout=7) as client:
        began = anyio.current_time()
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/late")
        assert anyio.current_time() - began == pytest.approx(7)


async def test_a_server_that_has_stopped_refuses() -> None:
    async with memory_server(echo) as server:
        pass
    async with client_of(server) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("/")


async def test_there_is_no_tls() -> None:
    async with memory_server(echo) as server, client_of(server) as client:
        with pytest.raises(httpx.UnsupportedProtocol, match="live_server"):
            await client.get("https://test/")


async def test_what_the_application_raises_is_a_500_is_recorded_and_raised_if_asked_for() -> None:
    async with memory_server(echo) as server, client_of(server) as client:
        assert (await client.get("/broken")).status_code == 500
        assert [type(error) for error in server.app_exceptions] == [KeyError]

    with pytest.raises(KeyError):
        async with memory_server(echo, raise_app_exceptions=True) as server, client_of(server) as client:
            await client.get("/broken")


async def test_a_failed_startup_is_raised_bare() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise LookupError("pool")

    with pytest.raises(StartupError, match="pool"):
        async with memory_server(failing):
            pass


async def test_a_cancelled_block_ends_its_server() -> None:
    app = Events()
    with anyio.move_on_after(3):
        async with memory_server(app) as server, client_of(server) as client, client.stream("GET", "/"):
            await anyio.sleep_forever()

    assert server.overview() == "stopped"
    with pytest.raises(ConnectionRefusedError):
        server.connect()
