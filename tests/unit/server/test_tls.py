"""TLS through the whole server, with anyio's TLS stream as a peer that is not ours.

That peer takes an end without close_notify for an attack, so each clean end that a test reads is a close_notify.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.streams.tls import TLSStream

from tests.support.serving import PATIENCE, Client
from tests.unit.connection.applications import body, echo, errors_in, get, post, reply, start
from tests.unit.server.apps import Slow, hello
from tests.unit.server.running import running
from tests.unit.streams.conftest import CONTEXTS, make_contexts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asgiserve.testing import MemoryStream
    from asgiserve.types import Receive, Scope, Send
    from tests.unit.server.running import Run

pytestmark = pytest.mark.anyio

TICK = 0.25
HANDSHAKE = 10.0
"""The default of `timeout_handshake`."""

ALERT = 21
"""A record's first byte, if it is one of these (RFC 8446 5.1)."""


async def secured(
    stream: MemoryStream, context: ssl.SSLContext = CONTEXTS.client, host: str | None = "localhost"
) -> Client:
    """The client's end, behind its handshake."""
    with anyio.fail_after(PATIENCE):
        tls = await TLSStream.wrap(stream, hostname=host, server_side=False, ssl_context=context)
    return Client(tls)  # type: ignore[arg-type]  # of a stream it needs what both have


async def read_into(data: bytearray, client: Client) -> None:
    while True:
        data += await client.read()


async def seconds_until_cut(client: Client) -> float:
    """How long until the server has reset this connection, on which it says nothing."""
    began = anyio.current_time()
    with pytest.raises(anyio.BrokenResourceError):
        await client.read()
    return anyio.current_time() - began


# --- requests ---------------------------------------------------------------------------------


async def test_a_request_over_tls_is_answered_and_its_scheme_is_https() -> None:
    async def scheme(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, scope["scheme"].encode())

    async with running(scheme, ssl_context=CONTEXTS.server) as run:
        response = await (await secured(run.connect().stream)).get()
    assert (response.status, response.body) == (200, b"https")


async def test_requests_of_a_connection_over_tls_are_answered_in_order() -> None:
    async with running(echo, ssl_context=CONTEXTS.server) as run:
        client = await secured(run.connect().stream)
        await client.send(post(b"first"))
        bodies = [(await client.response()).body]
        await client.send(post(b"second") + post(b"third"))
        bodies += [(await client.response()).body for _ in range(2)]
    assert bodies == [b"first", b"second", b"third"]


async def test_a_large_body_arrives_unchanged_over_tls() -> None:
    data = bytes(range(256)) * 4096
    async with running(echo, ssl_context=CONTEXTS.server) as run, anyio.create_task_group() as group:
        client = await secured(run.connect().stream)
        group.start_soon(client.send, post(data))
        assert (await client.response()).body == data


# --- the end of a connection ------------------------------------------------------------------


async def asks_for_the_close(client: Client, run: Run) -> None:
    assert (await client.get(headers="Connection: close\r\n")).status == 200


async def idles(client: Client, run: Run) -> None:
    assert (await client.get()).status == 200


async def never_sends(client: Client, run: Run) -> None:
    return


async def is_refused(client: Client, run: Run) -> None:
    await client.send(b"GET / HTTP/1.1\r\nno colon\r\n\r\n")
    assert (await client.response()).status == 400


async def sees_a_stop(client: Client, run: Run) -> None:
    await client.get()
    run.server.stop()


@pytest.mark.parametrize("client_that", [asks_for_the_close, idles, never_sends, is_refused, sees_a_stop])
async def test_the_server_ends_a_connection_over_tls_with_a_close_notify(
    client_that: Callable[[Client, Run], Awaitable[None]],
) -> None:
    async with running(hello, ssl_context=CONTEXTS.server) as run:
        client = await secured(run.connect().stream)
        await client_that(client, run)
        with pytest.raises(anyio.EndOfStream):
            await client.read()


async def test_a_response_that_is_cut_has_no_close_notify_where_it_would_look_complete() -> None:
    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await body(send, b"some", more=True)
        raise RuntimeError("no more")

    async with running(fails, ssl_context=CONTEXTS.server) as run:
        client = await secured(run.connect().stream)
        await client.send(b"GET / HTTP/1.0\r\n\r\n")  # no chunks: the end of the connection is that of the body
        await client.read_until(b"some")
        with pytest.raises(anyio.BrokenResourceError):
            await client.read()


async def test_a_client_that_leaves_without_a_close_notify_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async with running(hello, ssl_context=CONTEXTS.server) as run:
        below = run.connect().stream
        client = await secured(below)
        await client.get()
        await below.aclose()
        assert (await (await secured(run.connect().stream)).get()).status == 200
    assert errors_in(caplog) == []


# --- handshakes that come to nothing ----------------------------------------------------------


async def test_a_handshake_that_stalls_is_given_up_at_its_limit() -> None:
    async with running(hello, ssl_context=CONTEXTS.server) as run:
        assert await seconds_until_cut(run.connect()) == pytest.approx(HANDSHAKE)
        assert (await (await secured(run.connect().stream)).get()).status == 200


async def test_a_handshake_has_its_time_however_its_bytes_are_spread() -> None:
    async with running(hello, ssl_context=CONTEXTS.server, timeout_handshake=3) as run:
        client = run.connect()
        began = anyio.current_time()
        with pytest.raises(anyio.BrokenResourceError):
            await send_slowly(client, client_hello())
        assert 3 <= anyio.current_time() - began <= 3 + 0.5


async def send_slowly(client: Client, data: bytes) -> None:
    for index in range(len(data)):
        await client.send(data[index : index + 1])
        await anyio.sleep(0.5)


def client_hello() -> bytes:
    """The first message of a client's handshake (RFC 8446 4.1.2)."""
    outgoing = ssl.MemoryBIO()
    tls = CONTEXTS.client.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


async def test_a_stalled_handshake_keeps_no_other_connection_waiting() -> None:
    async with running(hello, ssl_context=CONTEXTS.server) as run:
        stalled = run.connect()
        began = anyio.current_time()
        assert (await (await secured(run.connect().stream)).get()).status == 200
        assert anyio.current_time() == began
        assert not stalled.stream.peer_closed()


async def test_a_handshake_that_is_given_up_gives_its_place_back() -> None:
    async with running(hello, ssl_context=CONTEXTS.server, limit_connections=1) as run:
        run.connect()
        began = anyio.current_time()
        assert (await (await secured(run.connect().stream)).get()).status == 200
        assert anyio.current_time() - began == pytest.approx(HANDSHAKE)


@pytest.mark.parametrize("data", [b"GE", b"SSH-2.0-x\r\n", bytes(4096), b"\x16\x03"])
async def test_bytes_that_are_no_handshake_cost_their_connection_and_no_other(
    data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    called: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        called.append(scope["path"])
        await reply(send)

    async with running(app, ssl_context=CONTEXTS.server) as run:
        noise = run.connect()
        await noise.send(data)
        await noise.stream.send_eof()
        answer = bytearray()
        with pytest.raises(anyio.BrokenResourceError):
            await read_into(answer, noise)
        assert answer == b"" or answer[0] == ALERT
        assert (await (await secured(run.connect().stream)).get("/good")).status == 200
    assert called == ["/good"]
    assert errors_in(caplog) == []


async def test_a_client_whose_handshake_is_refused_can_read_the_alert() -> None:
    contexts = make_contexts()
    contexts.server.minimum_version = ssl.TLSVersion.TLSv1_3
    contexts.client.maximum_version = ssl.TLSVersion.TLSv1_2
    async with running(hello, ssl_context=contexts.server) as run:
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
            await secured(run.connect().stream, contexts.client)


# --- handshakes and the stop ------------------------------------------------------------------


async def test_a_handshake_that_stalls_at_a_stop_is_cut_when_the_linger_ends() -> None:
    async with running(hello, ssl_context=CONTEXTS.server, timeout_linger=2) as run:
        client = run.connect()
        await client.send(client_hello()[:100])
        await anyio.sleep(1)
        run.server.stop()
        assert await seconds_until_cut(client) == pytest.approx(2, abs=TICK)
        assert await run.end() < TICK


async def test_a_handshake_in_its_last_second_is_not_lengthened_by_a_stop() -> None:
    async with running(hello, ssl_context=CONTEXTS.server, timeout_linger=5) as run:
        client = run.connect()
        await anyio.sleep(HANDSHAKE - 1)
        run.server.stop()
        assert await seconds_until_cut(client) == pytest.approx(1, abs=TICK)


async def test_a_handshake_that_is_done_within_the_linger_is_served_once() -> None:
    async with running(hello, ssl_context=CONTEXTS.server) as run:
        stream = run.connect().stream
        await anyio.sleep(5)
        run.server.stop()
        await anyio.sleep(0.5)
        client = await secured(stream)
        response = await client.get()
        assert (response.status, response.headers["connection"]) == (200, "close")
        assert await client.is_closed()
        assert await run.end() < TICK


async def test_an_abort_cuts_a_handshake_at_once() -> None:
    async with running(hello, ssl_context=CONTEXTS.server) as run:
        client = run.connect()
        await anyio.sleep(1)
        run.server.abort()
        assert await seconds_until_cut(client) == 0
        assert await run.end() == 0


async def test_a_request_over_tls_is_finished_at_a_stop() -> None:
    async with running(slow := Slow(5), ssl_context=CONTEXTS.server) as run:
        client = await secured(run.connect().stream)
        await client.send(get())
        await slow.begun.wait()
        run.server.stop()
        response = await client.response()
        assert (response.status, response.headers["connection"]) == (200, "close")
        assert await client.is_closed()
