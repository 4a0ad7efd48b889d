"""Streams over sockets: opening them, and errors that the kernel knows before the event loop does."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import select
import socket
import struct
import sys
import termios
import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import BrokenResourceError, ClosedResourceError, TypedAttributeLookupError
from anyio.abc import SocketAttribute

from asgiserve.streams import open_stream
from tests.unit.streams.conftest import REAL_TIME, tcp_sockets
from tests.unit.streams.steps import PATTERN, bounded, interrupted_receive, receive_to_end, start, until

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.anyio


ASYNCIO = [REAL_TIME["asyncio"], REAL_TIME["uvloop"]]


@pytest.fixture(params=list(REAL_TIME))
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, Mapping[str, Any]]:
    return REAL_TIME[request.param]


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def send_until_full(sock: socket.socket) -> int:
    """Send until neither the kernel nor the stream at the other end takes more; how many bytes that were."""
    count = 0
    while True:
        try:
            count += sock.send(PATTERN[:65536])
        except BlockingIOError:
            for _ in range(100):
                await anyio.lowlevel.checkpoint()  # the loop reads what has come
            if not select.select([], [sock], [], 0)[1]:
                return count


async def assert_gone(server: socket.socket, client: socket.socket) -> None:
    """The descriptor is closed, and the peer has heard of it."""
    with client:
        client.settimeout(0)
        await until(lambda: server.fileno() == -1)
        assert client.recv(1) == b""


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


@pytest.mark.skipif(sys.platform != "linux", reason="asks how much has arrived by an ioctl of Linux")
@bounded
async def test_a_send_that_waits_and_fails_loses_nothing_that_has_arrived() -> None:
    """On asyncio its failure closes the transport, which reads no more while too much is unread."""
    server, client = tcp_sockets()
    client.setblocking(False)
    async with await open_stream(server) as stream, anyio.create_task_group() as tasks:
        await interrupted_receive(stream)
        count = await send_until_full(client)
        sending = await start(tasks, lambda: stream.send(PATTERN))
        assert sending.blocked
        on_the_way = int.from_bytes(fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        reset(client)
        assert isinstance((await sending.wait()).error, BrokenResourceError)
        assert len(await receive_to_end(stream)) >= count - on_the_way > 0


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
    await assert_gone(server, client)


@pytest.mark.parametrize("anyio_backend", ASYNCIO)
@bounded
async def test_a_socket_that_no_transport_takes_is_closed_and_its_stream_broken() -> None:
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stream = await open_stream(datagrams)
    with pytest.raises(BrokenResourceError) as caught:
        await stream.receive()
    assert isinstance(caught.value.__cause__, ValueError)
    assert datagrams.fileno() == -1
    await stream.aclose()


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("anyio_backend", ASYNCIO)
@bounded
async def test_the_end_of_the_loop_while_the_transport_is_made_keeps_nobody_waiting(turns: int) -> None:
    """It cancels every task once: also the one that makes the transport, in whichever turn of the loop."""
    server, client = tcp_sockets()
    stream = await open_stream(server)
    before = asyncio.all_tasks()
    waiting = asyncio.create_task(stream.receive())
    for _ in range(turns):
        await asyncio.sleep(0)
    for task in asyncio.all_tasks() - before:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError, BrokenResourceError):
        await waiting
    await stream.aclose()
    await assert_gone(server, client)


@pytest.mark.parametrize("anyio_backend", ASYNCIO)
@bounded
async def test_a_call_that_is_cancelled_by_asyncio_while_the_transport_is_made_loses_nothing() -> None:
    server, client = tcp_sockets()
    with client:
        async with await open_stream(server) as stream:
            for turns in range(6):
                waiting = asyncio.ensure_future(stream.receive())
                for _ in range(turns):
                    await asyncio.sleep(0)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            client.sendall(b"here")
            assert await stream.receive() == b"here"


@pytest.mark.parametrize("anyio_backend", ASYNCIO)
@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("rude", [False, True])
@bounded
async def test_a_stream_can_be_closed_while_its_transport_is_made(turns: int, rude: bool) -> None:
    server, client = tcp_sockets()
    with client:
        stream = await open_stream(server)
        waiting = asyncio.ensure_future(stream.receive())
        for _ in range(turns):
            await asyncio.sleep(0)
        if rude:
            stream.abort()
        await stream.aclose()
        assert server.fileno() == -1
        with pytest.raises(ClosedResourceError):
            await waiting
        with pytest.raises(ConnectionResetError) if rude else contextlib.nullcontext():
            assert client.recv(1) == b""


@pytest.mark.parametrize("anyio_backend", ASYNCIO)
@bounded
async def test_a_transport_is_made_in_no_context_of_the_callers() -> None:
    class Precious:
        pass

    server, client = tcp_sockets()
    variable: ContextVar[Precious] = ContextVar("variable")

    held: list[weakref.ref[Precious]] = []

    async def receive() -> bytes:
        precious = Precious()
        variable.set(precious)
        held.append(weakref.ref(precious))
        return await stream.receive()

    with client:
        async with await open_stream(server) as stream:
            receiving = asyncio.ensure_future(receive())
            await anyio.sleep(0.01)
            client.sendall(b"x")
            assert await receiving == b"x"
            del receiving
            await anyio.lowlevel.checkpoint()  # the loop has called what has resumed us
            gc.collect()
            assert held[0]() is None


@bounded
async def test_a_stream_that_has_never_received_can_send_more_than_the_kernel_takes() -> None:
    server, client = tcp_sockets()
    sent = bytes(1_000_000)
    async with (
        await open_stream(server) as stream,
        await open_stream(client) as peer,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(stream.send, sent)
        got = 0
        while got < len(sent):
            got += len(await peer.receive())


@bounded
async def test_both_ends_have_the_addresses_that_their_attributes_say() -> None:
    server, client = tcp_sockets()
    with client:
        async with await open_stream(server) as stream:
            told = stream.extra(SocketAttribute.local_address), stream.extra(SocketAttribute.remote_address)
            assert stream.addresses() == told
            assert told == (client.getpeername(), client.getsockname())


@bounded
async def test_a_peer_that_is_gone_has_no_address_and_we_have_one() -> None:
    server, client = tcp_sockets()
    reset(client)
    async with await open_stream(server) as stream:
        await until(stream.peer_closed)
        local, remote = stream.addresses()
        assert remote is None
        assert local is None or local[0] == "127.0.0.1"


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
