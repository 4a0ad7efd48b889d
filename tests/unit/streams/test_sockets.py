"""Streams over sockets: opening them, and errors that the kernel knows before the event loop does."""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import BrokenResourceError, TypedAttributeLookupError
from anyio.abc import SocketAttribute

from asgiserve.streams import open_stream
from tests.unit.streams.conftest import REAL_TIME, tcp_sockets
from tests.unit.streams.steps import bounded, until

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.anyio


@pytest.fixture(params=list(REAL_TIME))
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, Mapping[str, Any]]:
    return REAL_TIME[request.param]


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@bounded
async def test_small_sends_are_not_held_back_by_the_kernel() -> None:
    server, client = tcp_sockets()
    with client:
        async with await open_stream(server) as stream:
            sock = stream.extra(SocketAttribute.raw_socket)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert not sock.getblocking()


@bounded
async def test_a_peer_that_is_gone_already_has_no_address_but_can_be_opened() -> None:
    server, client = tcp_sockets()
    reset(client)
    async with await open_stream(server) as stream:
        await until(stream.peer_closed)
        assert stream.extra(SocketAttribute.local_address)[0] == "127.0.0.1"
        with pytest.raises(TypedAttributeLookupError):
            stream.extra(SocketAttribute.remote_address)
        with pytest.raises(BrokenResourceError):
            await stream.receive()


@bounded
async def test_a_send_that_fails_at_once_raises_at_once() -> None:
    server, client = tcp_sockets()
    async with await open_stream(server) as stream:
        reset(client)
        with pytest.raises(BrokenResourceError) as caught:
            await stream.send(b"x")
        assert isinstance(caught.value.__cause__, OSError)
        with pytest.raises(BrokenResourceError):
            await stream.receive()


@bounded
async def test_send_eof_to_a_peer_that_has_reset_breaks_the_stream() -> None:
    server, client = tcp_sockets()
    async with await open_stream(server) as stream:
        reset(client)
        # uvloop only starts the shutdown here, and meets the error in the loop's next turn.
        with contextlib.suppress(BrokenResourceError):
            await stream.send_eof()
        with pytest.raises(BrokenResourceError):
            await stream.receive()


@bounded
async def test_abort_of_a_connection_that_is_lost_is_no_error() -> None:
    server, client = tcp_sockets()
    stream = await open_stream(server)
    reset(client)
    with pytest.raises(BrokenResourceError):
        await stream.receive()
    stream.abort()
    await stream.aclose()
    assert server.fileno() == -1


@bounded
async def test_a_socket_whose_opening_is_cancelled_is_closed() -> None:
    server, client = tcp_sockets()
    stream = None
    with anyio.CancelScope() as cancel_scope:
        cancel_scope.cancel()
        stream = await open_stream(server)
    if stream is not None:  # trio has nothing to wait for
        await stream.aclose()
    with client:
        client.settimeout(0)
        await until(lambda: server.fileno() == -1)
        assert client.recv(1) == b""


@pytest.mark.parametrize("anyio_backend", [REAL_TIME["asyncio"], REAL_TIME["uvloop"]])
@bounded
async def test_a_socket_that_cannot_become_a_stream_is_closed() -> None:
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with pytest.raises(ValueError, match=r"[Ss]tream [Ss]ocket"):
        await open_stream(datagrams)
    assert datagrams.fileno() == -1


@bounded
async def test_a_socket_that_is_closed_already_is_refused() -> None:
    server, client = tcp_sockets()
    server.close()
    client.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        await open_stream(server)


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
@bounded
async def test_ipv6_addresses_are_host_and_port() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        port = listener.getsockname()[1]
        client = socket.create_connection(("::1", port))
        server, _ = listener.accept()
    with client:
        async with await open_stream(server) as stream:
            assert stream.extra(SocketAttribute.local_address) == ("::1", port)
            assert stream.extra(SocketAttribute.remote_address) == client.getsockname()[:2]
