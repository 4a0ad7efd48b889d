"""Quart, which needs asyncio: it reads in a task of its own, and cancels handlers whose client has left."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from typing import TYPE_CHECKING, Any

import pytest
import quart

from tests.live.applications import BLOCK
from tests.live.backends import on_asyncio_only
from tests.live.raw import RawClient, request
from tests.live.servers import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import httpx

    from tests.live.conftest import LiveServers
    from tests.live.servers import ThreadServer

    Clients = Callable[[ThreadServer], httpx.Client]

pytestmark = [pytest.mark.live, on_asyncio_only]


@pytest.fixture
def app() -> quart.Quart:
    return quart.Quart("site")


def test_a_body_is_echoed(live_server: LiveServers, http: Clients, app: quart.Quart) -> None:
    @app.post("/")
    async def echo() -> dict[str, Any]:
        data = b"".join([part async for part in quart.request.body])
        return {"size": len(data), "hash": hashlib.sha256(data).hexdigest()}

    client = http(live_server(app))

    told = client.post("/", content=BLOCK * 16).json()
    assert told == {"size": len(BLOCK) * 16, "hash": hashlib.sha256(BLOCK * 16).hexdigest()}


def test_lifespan_hooks_run_around_the_requests(live_server: LiveServers, http: Clients, app: quart.Quart) -> None:
    happened = []

    @app.before_serving
    async def begin() -> None:
        happened.append("begin")

    @app.after_serving
    async def end() -> None:
        happened.append("end")

    @app.get("/")
    async def handler() -> list[str]:
        return happened

    server = live_server(app)
    client = http(server)
    assert client.get("/").json() == ["begin"]
    client.close()
    server.finish()
    assert happened == ["begin", "end"]


def test_a_stream_arrives_exactly(live_server: LiveServers, http: Clients, app: quart.Quart) -> None:
    @app.get("/")
    async def stream() -> AsyncIterator[bytes]:
        async def blocks() -> AsyncIterator[bytes]:
            for _ in range(32):
                yield BLOCK

        return blocks()

    assert http(live_server(app)).get("/").content == BLOCK * 32


def test_a_body_that_a_handler_does_not_read_leaves_the_connection_usable(
    live_server: LiveServers, app: quart.Quart
) -> None:
    @app.post("/")
    async def unread() -> str:
        return "not looked at"

    # Small enough to arrive with its head: of a body that is still under way the answer says `close`.
    small = b"b" * 1000
    with RawClient(live_server(app).port) as client:
        for _ in range(3):
            client.send(request("/", f"Content-Length: {len(small)}", method="POST") + small)
            assert client.answer("POST").body == b"not looked at"


@pytest.mark.parametrize("kind", ["handler", "stream"])
def test_a_client_that_leaves_cancels_the_handler(live_server: LiveServers, app: quart.Quart, kind: str) -> None:
    entered, left = threading.Event(), threading.Event()

    async def wait() -> None:
        entered.set()
        try:
            await asyncio.sleep(3600)
        finally:
            left.set()

    async def parts() -> AsyncIterator[bytes]:
        yield b"first"
        await wait()

    @app.get("/handler")
    async def handler() -> str:
        await wait()
        return ""

    @app.get("/stream")
    async def stream() -> AsyncIterator[bytes]:
        return parts()

    client = RawClient(live_server(app).port)
    client.send(request(f"/{kind}"))
    assert entered.wait(PATIENCE)
    assert not left.is_set()
    client.socket.close()

    assert left.wait(PATIENCE)
