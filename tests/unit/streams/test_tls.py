"""What only TLS streams promise, with anyio's TLS stream as a peer that is not ours."""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import BrokenResourceError, EndOfStream
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream

from asgiserve.streams import handshake
from asgiserve.testing import memory_stream_pair
from tests.support.clock import virtual_time
from tests.unit.streams.conftest import CONTEXTS, make_contexts
from tests.unit.streams.steps import bounded, receive_exactly, receive_to_end, start

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asgiserve.streams import TlsStream
    from asgiserve.testing import MemoryStream
    from tests.unit.streams.conftest import Contexts

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, Mapping[str, Any]]:
    return virtual_time(request.param)


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["tls1.2", "tls1.3"])
def contexts(request: pytest.FixtureRequest) -> Contexts:
    contexts = make_contexts()
    contexts.server.minimum_version = contexts.server.maximum_version = request.param
    return contexts


async def connect(contexts: Contexts, *, standard_compatible: bool = True) -> tuple[TlsStream, TLSStream, MemoryStream]:
    """Our stream, anyio's at the other end, and what is below anyio's."""
    server, client = memory_stream_pair()
    ours: list[TlsStream] = []

    async def serve() -> None:
        ours.append(await handshake(server, contexts.server))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        theirs = await TLSStream.wrap(
            client,
            hostname="localhost",
            ssl_context=contexts.client,
            standard_compatible=standard_compatible,
        )
    return ours[0], theirs, client


@bounded
async def test_bytes_go_both_ways_with_a_foreign_peer(contexts: Contexts) -> None:
    ours, theirs, _ = await connect(contexts)
    await theirs.send(b"request")
    assert await ours.receive() == b"request"
    await ours.send_buffers([b"head ", b"", b"body"])
    assert await theirs.receive() == b"head body"


@bounded
async def test_close_notify_from_the_peer_is_the_end_of_the_stream(contexts: Contexts) -> None:
    ours, theirs, _ = await connect(contexts)
    await theirs.send(b"last")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(theirs.aclose)  # waits for our close_notify
        assert await ours.receive() == b"last"
        for _ in range(2):
            with pytest.raises(EndOfStream):
                await ours.receive()
        assert ours.peer_closed()
        await ours.send_eof()


@bounded
async def test_end_without_close_notify_is_the_end_of_the_stream(contexts: Contexts) -> None:
    ours, theirs, below = await connect(contexts, standard_compatible=False)
    await theirs.send(b"last")
    await below.send_eof()
    assert await receive_to_end(ours) == b"last"
    with pytest.raises(EndOfStream):
        await ours.receive()


@pytest.mark.parametrize("waiting", [False, True], ids=["receive_nowait", "receive"])
@bounded
async def test_a_peer_that_ends_without_close_notify_is_still_sent_to_and_told_goodbye(
    contexts: Contexts, waiting: bool
) -> None:
    # OpenSSL 3 does neither once it knows of such an end.
    ours, theirs, client = await connect(contexts)
    await theirs.send(b"request")
    await client.send_eof()
    assert await ours.receive() == b"request"
    for _ in range(2):
        with pytest.raises(EndOfStream):
            await ours.receive() if waiting else ours.receive_nowait()
    assert ours.peer_closed()
    await ours.send(b"response")
    await ours.send_eof()
    assert await theirs.receive() == b"response"
    with pytest.raises(EndOfStream):
        await theirs.receive()


@bounded
async def test_send_eof_is_a_close_notify_that_the_peer_accepts(contexts: Contexts) -> None:
    # A peer with standard_compatible=True takes an end without close_notify for an attack.
    ours, theirs, _ = await connect(contexts)
    await ours.send(b"response")
    await ours.send_eof()
    assert await theirs.receive() == b"response"
    with pytest.raises(EndOfStream):
        await theirs.receive()


@bounded
async def test_bytes_are_received_after_send_eof(contexts: Contexts) -> None:
    ours, theirs, _ = await connect(contexts)
    await theirs.send(b"before")
    assert await ours.receive(1) == b"b"
    async with anyio.create_task_group() as tasks:
        await ours.send_eof()
        assert await receive_exactly(ours, 5) == b"efore"
        receiving = await start(tasks, ours.receive)
        await theirs.send(b"after")
        await receiving.wait()
    assert receiving.value == b"after"


@bounded
async def test_send_eof_after_the_end_of_the_peer_completes(contexts: Contexts) -> None:
    ours, theirs, _ = await connect(contexts)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(theirs.aclose)
        with pytest.raises(EndOfStream):
            await ours.receive()
        await ours.send_eof()


@bounded
async def test_send_eof_sets_aside_an_end_that_has_come_with_the_last_bytes(contexts: Contexts) -> None:
    ours, theirs, _ = await connect(contexts)
    await theirs.send(b"last")
    with contextlib.suppress(EndOfStream):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(theirs.aclose)
            await anyio.wait_all_tasks_blocked()
            assert await ours.receive(1) == b"l"
            await ours.send_eof()
    assert await receive_to_end(ours) == b"ast"
    assert ours.peer_closed()


@bounded
async def test_a_record_that_was_tampered_with_breaks_the_stream(contexts: Contexts) -> None:
    ours, _, client = await connect(contexts)
    await client.send(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(BrokenResourceError) as caught:
        await ours.receive()
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    for call in (ours.receive, ours.send_eof):
        with pytest.raises(BrokenResourceError):
            await call()


@bounded
async def test_a_part_of_a_record_does_not_keep_an_interrupted_receive_waiting(contexts: Contexts) -> None:
    ours, _, client = await connect(contexts)
    async with anyio.create_task_group() as tasks:
        receiving = await start(tasks, ours.receive)
        await client.send(b"\x17\x03\x03\x00\x20" + bytes(10))
        ours.interrupt()
        assert (await receiving.wait()).value == b""


@bounded
async def test_bytes_of_several_records_that_came_at_once_need_no_wait(contexts: Contexts) -> None:
    ours, theirs, _ = await connect(contexts)
    for number in range(3):
        await theirs.send(b"record %d" % number)
    assert await ours.receive() == b"record 0"
    with anyio.CancelScope() as cancel_scope:
        cancel_scope.cancel()
        assert await ours.receive(4) == b"reco"
        assert await ours.receive() == b"rd 1"
        assert await ours.receive() == b"record 2"
    assert not cancel_scope.cancelled_caught


@bounded
async def test_openssl_is_asked_once_for_each_record(contexts: Contexts) -> None:
    # To be told that nothing is there costs an exception, as much as a record.
    reads: list[int] = []

    class Counting(ssl.SSLObject):
        def read(self, *arguments: Any) -> Any:
            reads.append(1)
            return super().read(*arguments)

    contexts.server.sslobject_class = Counting
    ours, theirs, _ = await connect(contexts)
    await theirs.send(b"first")
    assert await ours.receive() == b"first"  # what was left of the handshake may cost a read more
    reads.clear()
    for _ in range(10):
        async with anyio.create_task_group() as tasks:
            receiving = await start(tasks, ours.receive)
            assert receiving.blocked
            await theirs.send(b"request")
            assert (await receiving.wait()).value == b"request"
        await ours.send(b"response")
        async with anyio.create_task_group() as tasks:
            receiving = await start(tasks, ours.receive)
            ours.interrupt()
            assert (await receiving.wait()).value == b""
    assert len(reads) == 10


@bounded
async def test_what_is_no_handshake_is_refused_and_closing_is_left_to_the_caller() -> None:
    server, client = memory_stream_pair()
    await client.send(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(BrokenResourceError) as caught:
        await handshake(server, CONTEXTS.server)
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    await server.send(b"still open")


@bounded
async def test_a_peer_that_leaves_during_the_handshake_breaks_it() -> None:
    server, client = memory_stream_pair()
    await client.send_eof()
    with pytest.raises(BrokenResourceError) as caught:
        await handshake(server, CONTEXTS.server)
    assert isinstance(caught.value.__cause__, ssl.SSLError)


@bounded
async def test_a_refused_peer_is_told_why() -> None:
    contexts = make_contexts()
    contexts.server.minimum_version = ssl.TLSVersion.TLSv1_3
    contexts.client.maximum_version = ssl.TLSVersion.TLSv1_2
    server, client = memory_stream_pair()
    async with anyio.create_task_group() as tasks:
        serving = await start(tasks, lambda: _handshake_only(server, contexts.server))
        with pytest.raises(BrokenResourceError) as caught:
            await handshake(client, contexts.client, server_hostname="localhost")
        await serving.wait()
    assert "PROTOCOL_VERSION" in str(caught.value.__cause__)  # from the alert
    assert isinstance(serving.error, BrokenResourceError)


async def _handshake_only(stream: MemoryStream, context: ssl.SSLContext) -> None:
    await handshake(stream, context)


@bounded
async def test_tls_facts_are_typed_attributes_above_those_of_the_stream_below(contexts: Contexts) -> None:
    ours, _, _ = await connect(contexts)
    assert ours.extra(TLSAttribute.alpn_protocol) == "http/1.1"
    assert ours.extra(TLSAttribute.tls_version) in {"TLSv1.2", "TLSv1.3"}
    assert ours.extra(TLSAttribute.server_side) is True
    assert ours.extra(TLSAttribute.standard_compatible) is False
    assert ours.extra(TLSAttribute.ssl_object).version() == ours.extra(TLSAttribute.tls_version)
    assert ours.extra(TLSAttribute.peer_certificate) is None
    assert ours.extra(TLSAttribute.cipher)[0]
    assert ours.extra(SocketAttribute.local_address) == ("127.0.0.1", 80)


@bounded
async def test_a_large_send_is_encrypted_in_slices() -> None:
    ours, theirs, _ = await connect(CONTEXTS)
    data = bytes(range(256)) * 4000
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ours.send, data)
        assert await receive_exactly(theirs, len(data)) == data
