"""Sockets that a program has bound itself, given to `serve()`."""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest

from asgiserve import AppLoadError, ConfigError, serve
from asgiserve.testing import MemoryListener

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send

pytestmark = [pytest.mark.live, pytest.mark.anyio]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body"})


def bound() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


async def status_line(stream: anyio.abc.ByteStream) -> bytes:
    async with stream:
        await stream.send(b"GET / HTTP/1.0\r\n\r\n")
        return (await stream.receive()).partition(b"\r\n")[0]


async def test_sockets_are_listened_on_reported_and_closed() -> None:
    sockets = [bound(), bound()]
    ports = [one.getsockname()[1] for one in sockets]

    async with anyio.create_task_group() as group:
        server = await group.start(partial(serve, app, sockets=sockets))
        assert server.urls == tuple(f"http://127.0.0.1:{port}" for port in ports)
        for host, port in server.addresses:
            assert await status_line(await anyio.connect_tcp(host, port)) == b"HTTP/1.1 204 No Content"
        server.stop()

    assert [one.fileno() for one in sockets] == [-1, -1]


async def test_sockets_and_listeners_are_served_side_by_side() -> None:
    listener = MemoryListener()

    async with anyio.create_task_group() as group:
        server = await group.start(partial(serve, app, sockets=[bound()], listeners=[listener]))
        for stream in (await anyio.connect_tcp(*server.addresses[0]), listener.connect()):
            assert await status_line(stream) == b"HTTP/1.1 204 No Content"
        server.stop()


async def test_a_server_that_does_not_start_closes_them_as_well() -> None:
    sock, listener = bound(), MemoryListener()

    with pytest.raises(AppLoadError):
        await serve(None, sockets=[sock], listeners=[listener])  # type: ignore[arg-type]

    assert sock.fileno() == -1
    with pytest.raises(ConnectionRefusedError):
        listener.connect()


async def test_so_does_one_with_a_setting_that_makes_no_sense() -> None:
    sock, listener = bound(), MemoryListener()

    with pytest.raises(ConfigError):
        await serve(app, sockets=[sock], listeners=[listener], timeout_keep_alive=-1)

    assert sock.fileno() == -1
    with pytest.raises(ConnectionRefusedError):
        listener.connect()
