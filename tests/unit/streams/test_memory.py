"""What only streams in memory promise: an exact capacity, chosen addresses, no waiting that is not needed."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import BrokenResourceError, EndOfStream, TypedAttributeLookupError
from anyio.abc import SocketAttribute

from asgiserve.testing import memory_stream_pair
from tests.support.clock import virtual_time
from tests.unit.streams.steps import bounded, receive_exactly, start

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, Mapping[str, Any]]:
    return virtual_time(request.param)


@bounded
async def test_send_waits_for_the_first_byte_beyond_the_capacity() -> None:
    server, client = memory_stream_pair(10)
    await client.send(b"0123456789")
    async with anyio.create_task_group() as tasks:
        sending = await start(tasks, lambda: client.send(b"abc"))
        assert sending.blocked
        assert await server.receive(2) == b"01"
        await anyio.wait_all_tasks_blocked()
        assert sending.blocked
        assert await server.receive() == b"23456789ab"
        await sending.wait()
        assert await server.receive() == b"c"
    assert sending.error is None


@bounded
async def test_each_direction_has_its_own_capacity() -> None:
    server, client = memory_stream_pair(4)
    await client.send(b"full")
    await server.send(b"full")
    assert await server.receive() == b"full"
    assert await client.receive() == b"full"


@bounded
async def test_nothing_that_is_ready_waits() -> None:
    server, client = memory_stream_pair()
    with anyio.CancelScope() as cancel_scope:
        cancel_scope.cancel()
        await client.send(b"request")
        await client.send_buffers([b"more", b"of it"])
        await client.send_eof()
        assert await server.receive() == b"requestmoreof it"
        with pytest.raises(EndOfStream):
            await server.receive()
        await server.aclose()
        client.abort()
    assert not cancel_scope.cancelled_caught


@bounded
async def test_addresses_are_mirrored_at_the_other_end() -> None:
    server, client = memory_stream_pair()
    assert server.extra(SocketAttribute.local_address) == ("127.0.0.1", 80)
    assert server.extra(SocketAttribute.remote_address) == ("127.0.0.1", 50000)
    assert client.extra(SocketAttribute.local_port) == 50000
    assert client.extra(SocketAttribute.remote_port) == 80
    with pytest.raises(TypedAttributeLookupError):
        server.extra(SocketAttribute.raw_socket)


@pytest.mark.parametrize(("address", "family"), [(("::1", 443), socket.AF_INET6), (("10.0.0.1", 443), socket.AF_INET)])
@bounded
async def test_the_family_follows_from_the_address(address: tuple[str, int], family: socket.AddressFamily) -> None:
    server, _ = memory_stream_pair(local_address=address)
    assert server.extra(SocketAttribute.family) == family


@bounded
async def test_a_path_as_address_makes_a_unix_stream() -> None:
    server, _ = memory_stream_pair(local_address="/run/app.sock", remote_address="")
    assert server.extra(SocketAttribute.family) == socket.AF_UNIX
    assert server.extra(SocketAttribute.local_address) == "/run/app.sock"
    assert server.extra(SocketAttribute.remote_port, None) is None


@bounded
async def test_sending_to_a_closed_end_fails_at_once() -> None:
    server, client = memory_stream_pair()
    await server.aclose()
    with pytest.raises(BrokenResourceError) as caught:
        await client.send(b"x")
    assert isinstance(caught.value.__cause__, BrokenPipeError)


@bounded
async def test_bytes_that_the_closed_end_has_not_read_are_answered_with_a_reset() -> None:
    server, client = memory_stream_pair()
    await client.send(b"x")
    await server.aclose()
    with pytest.raises(BrokenResourceError) as caught:
        await client.receive()
    assert isinstance(caught.value.__cause__, ConnectionResetError)


@bounded
async def test_a_reader_that_takes_its_time_gets_every_byte() -> None:
    server, client = memory_stream_pair(3)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.send, bytes(range(100)))
        assert await receive_exactly(server, 100) == bytes(range(100))
