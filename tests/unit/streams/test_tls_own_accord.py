"""TLS streams when OpenSSL speaks of its own accord, while it is asked to receive only.

Here it answers a server that asks for the client's certificate after the handshake (RFC 8446 4.6.2), which Python can
bring about; key updates (4.6.3) are answered in the same way.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trustme
from anyio import BrokenResourceError, BusyResourceError, ClosedResourceError
from anyio.streams.tls import TLSAttribute

from asgiserve.streams.tls import handshake
from asgiserve.testing import memory_stream_pair
from tests.support.clock import virtual_time
from tests.unit.streams.steps import bounded, start, until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anyio.abc import TaskGroup

    from asgiserve.streams.tls import TlsStream
    from tests.unit.streams.steps import Call

pytestmark = pytest.mark.anyio

SMALL = 600
"""Bytes that fit on their way: the question with what follows it takes 130, the answer, with a certificate, 1,280."""


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, Mapping[str, Any]]:
    return virtual_time(request.param)


async def connect(capacity: int = 65536) -> tuple[TlsStream, TlsStream]:
    """The server's end and the client's, which has a certificate that it has not shown."""
    authority = trustme.CA()
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client_context = ssl.create_default_context()
    for context, name in ((server_context, "localhost"), (client_context, "client@localhost")):
        authority.issue_cert(name).configure_cert(context)
        authority.configure_trust(context)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.post_handshake_auth = True
    server_context.verify_mode = ssl.CERT_REQUIRED
    below, below_client = memory_stream_pair(capacity)
    ends: list[TlsStream] = []

    async def serve() -> None:
        ends.append(await handshake(below, server_context))
        await ends[0].send(b"hello")  # its session tickets are in front of it

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        client = await handshake(below_client, client_context, server_hostname="localhost")
        assert await client.receive() == b"hello"
    return ends[0], client


def knows_the_client(server: TlsStream) -> bool:
    with contextlib.suppress(ValueError):  # a part of the answer has come
        return server.extra(TLSAttribute.peer_certificate_binary) is not None
    return False


async def ask(server: TlsStream, client: TlsStream) -> None:
    """The client has received the question, and has not sent its answer."""
    server.extra(TLSAttribute.ssl_object).verify_client_post_handshake()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.send, b"question")
        assert await client.receive() == b"question"
    assert not knows_the_client(server)


async def interrupted(tasks: TaskGroup) -> tuple[TlsStream, TlsStream, Call]:
    """Both ends, and a receive whose answer is on its way while it is interrupted, which it does not end for."""
    server, client = await connect(SMALL)
    await ask(server, client)
    receiving = await start(tasks, client.receive)
    client.interrupt()
    await anyio.wait_all_tasks_blocked()
    assert receiving.blocked
    return server, client, receiving


@bounded
async def test_an_answer_goes_out_in_front_of_what_is_sent_next() -> None:
    server, client = await connect()
    await ask(server, client)
    assert client.send_nowait(b"next")
    assert await server.receive() == b"next"
    assert knows_the_client(server)


@bounded
async def test_an_answer_goes_out_before_receive_waits_for_more() -> None:
    server, client = await connect()
    await ask(server, client)
    async with anyio.create_task_group() as tasks:
        receiving = await start(tasks, client.receive)
        await start(tasks, server.receive)
        await until(lambda: knows_the_client(server))
        assert receiving.blocked
        tasks.cancel_scope.cancel()


@bounded
async def test_an_answer_that_its_peer_does_not_take_yet_keeps_its_place() -> None:
    server, client = await connect(SMALL)
    await ask(server, client)
    async with anyio.create_task_group() as tasks:
        receiving = await start(tasks, client.receive)
        sending = await start(tasks, lambda: client.send(b"behind it"))
        assert sending.blocked
        with pytest.raises(BusyResourceError):
            await client.receive()
        assert await server.receive() == b"behind it"
        assert knows_the_client(server)
        assert (await sending.wait()).error is None
        await server.send(b"last")
        assert (await receiving.wait()).value == b"last"


@bounded
async def test_an_answer_to_a_peer_that_has_left_loses_nothing_that_it_said_before() -> None:
    server, client = await connect()
    await ask(server, client)
    await server.send(b"last words")
    await server.aclose()
    assert await client.receive() == b"last words"
    with pytest.raises(BrokenResourceError):
        await client.send(b"late")


@bounded
async def test_an_interruption_while_an_answer_waits_for_its_peer_ends_the_receive_behind_it() -> None:
    async with anyio.create_task_group() as tasks:
        server, _, receiving = await interrupted(tasks)
        await start(tasks, server.receive)
        assert (await receiving.wait()).value == b""
        await until(lambda: knows_the_client(server))
        tasks.cancel_scope.cancel()


@bounded
async def test_an_abort_ends_the_receive_whose_answer_its_peer_never_takes() -> None:
    """What a connection does with a stream that an interruption alone does not end (connection/head_wait.py)."""
    async with anyio.create_task_group() as tasks:
        _, client, receiving = await interrupted(tasks)
        client.abort()
        assert isinstance((await receiving.wait()).error, ClosedResourceError)
