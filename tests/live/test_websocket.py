"""The client of `websockets` against plain ASGI: messages, closing, limits, pressure in both directions."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import anyio
import pytest
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK

from tests.live.applications import BLOCK
from tests.live.servers import PATIENCE
from tests.live.websocket_raw import connected, talk_over_tls
from tests.live.websocket_site import Ended, accepted, echo, told
from tests.unit.streams.conftest import CONTEXTS

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection as TlsConnection

    from asgiserve.types import Receive, Scope, Send
    from tests.live.conftest import LiveServers

pytestmark = pytest.mark.live

TEXTS = ["", "x", "grün \N{GREEN HEART}", *("a" * size for size in (125, 126, 65535, 65536, 1 << 20))]
BYTES = [b"", b"\xff", *(BLOCK[:size] for size in (125, 126, 65535)), BLOCK, BLOCK * 64]


# --- messages ---------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_messages_come_back_as_what_they_were(live_server: LiveServers, compression: str | None) -> None:
    server = live_server(echo, ws_per_message_deflate=True)

    with connected(server, compression=compression) as client:
        assert bool(client.protocol.extensions) is (compression is not None)
        payloads: list[str | bytes] = [*TEXTS, *BYTES]
        for sent in payloads:
            client.send(sent)
            assert client.recv(PATIENCE) == sent


def test_compression_is_off_unless_it_is_asked_for(live_server: LiveServers) -> None:
    with connected(live_server(echo), compression="deflate") as client:
        assert client.protocol.extensions == []
        client.send("plain")
        assert client.recv(PATIENCE) == "plain"


def test_messages_over_tls_and_the_end(live_server: LiveServers) -> None:
    server = live_server(echo, ssl_context=CONTEXTS.server, timeout_graceful_shutdown=60)

    async def talk(client: TlsConnection) -> int | None:
        await client.send(BLOCK * 64)
        assert await client.recv() == BLOCK * 64
        await (await client.ping())
        server.stop()
        with pytest.raises(ConnectionClosedError):
            await client.recv()
        return client.close_code

    assert talk_over_tls(server, CONTEXTS.client, talk) == 1012
    server.wait_ended()


def test_fragments_are_one_message(live_server: LiveServers) -> None:
    with connected(live_server(echo)) as client:
        client.send(["one ", "", "two \N{GREEN HEART} ", "three"])
        client.send([b"\x00", BLOCK, b"\xff"])
        client.send("next")

        assert client.recv(PATIENCE) == "one two \N{GREEN HEART} three"
        assert client.recv(PATIENCE) == b"\x00" + BLOCK + b"\xff"
        assert client.recv(PATIENCE) == "next"


def test_messages_that_are_sent_before_any_is_read_come_back_in_order(live_server: LiveServers) -> None:
    with connected(live_server(echo)) as client:
        for number in range(2000):
            client.send(str(number))

        assert [client.recv(PATIENCE) for _ in range(2000)] == [str(number) for number in range(2000)]


def test_pings_of_the_client_are_answered(live_server: LiveServers) -> None:
    with connected(live_server(echo)) as client:
        assert client.ping("first").wait(PATIENCE)
        client.send("between")
        assert client.ping(b"").wait(PATIENCE)
        assert client.recv(PATIENCE) == "between"


@pytest.mark.parametrize("listens", [True, False], ids=["listens", "does not listen"])
def test_pings_of_the_server_keep_a_quiet_client(live_server: LiveServers, listens: bool) -> None:
    """For several intervals and timeouts; the client's library answers each ping."""
    ended = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            raise NotImplementedError
        await accepted(receive, send)
        with anyio.move_on_after(2.5):
            await (receive() if listens else ended.wait())
        await send({"type": "websocket.send", "text": "still here"})

    server = live_server(app, ws_ping_interval=0.1, ws_ping_timeout=1)
    with connected(server, ping_interval=None) as client:
        assert client.recv(PATIENCE) == "still here"


# --- closing ----------------------------------------------------------------------------------


def test_the_clients_code_and_reason_reach_the_application(live_server: LiveServers) -> None:
    app = Ended()
    with connected(live_server(app)) as client:
        client.close(4001, "wanted \N{GREEN HEART}")

    assert app.wait() == {"type": "websocket.disconnect", "code": 4001, "reason": "wanted \N{GREEN HEART}"}
    assert client.close_code == 4001


def test_the_applications_code_and_reason_reach_the_client(live_server: LiveServers) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            raise NotImplementedError
        await accepted(receive, send)
        await send({"type": "websocket.send", "text": "last"})
        await send({"type": "websocket.close", "code": 4002, "reason": "enough"})

    with connected(live_server(app)) as client:
        assert client.recv(PATIENCE) == "last"
        with pytest.raises(ConnectionClosedError) as caught:
            client.recv(PATIENCE)
    assert caught.value.rcvd
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4002, "enough")


def test_an_application_that_returns_closes_with_1000(live_server: LiveServers) -> None:
    with connected(live_server(told)) as client:
        client.recv(PATIENCE)
        client.send("go on")
        with pytest.raises(ConnectionClosedOK):
            client.recv(PATIENCE)
    assert client.close_code == 1000


def test_an_application_that_fails_closes_with_1011_and_is_logged_once(live_server: LiveServers) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            raise NotImplementedError
        await accepted(receive, send)
        raise ValueError("no such luck")

    server = live_server(app)
    with connected(server, "/bad") as client, pytest.raises(ConnectionClosedError):
        client.recv(PATIENCE)

    assert client.close_code == 1011
    (error,) = server.take_errors()
    assert "/bad" in error.splitlines()[0]
    assert error.endswith("ValueError: no such luck")


def test_a_message_that_is_too_large_closes_with_1009(live_server: LiveServers) -> None:
    app = Ended()
    with connected(live_server(app, ws_max_size=1000)) as client:
        client.send("a" * 1000)
        assert client.recv(PATIENCE) == "a" * 1000
        client.send("a" * 1001)
        with pytest.raises(ConnectionClosedError):
            client.recv(PATIENCE)
    assert client.close_code == 1009
    app.wait()


# --- pressure ---------------------------------------------------------------------------------

MANY = 1000
"""Messages of 64 KiB: ten times what the kernel's buffers of both sides take."""


def test_a_client_that_does_not_read_stops_the_application(live_server: LiveServers) -> None:
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        if scope["type"] != "websocket":
            raise NotImplementedError
        if scope["path"] == "/echo":
            await echo(scope, receive, send)
            return
        await accepted(receive, send)
        for _ in range(MANY):
            await send({"type": "websocket.send", "bytes": BLOCK})
            sent += 1

    server = live_server(app)
    # A queue of one message: the library's thread reads no further, and so the kernel's buffers fill.
    with connected(server, max_queue=1) as slow:
        with connected(server, "/echo") as other:
            for number in range(100):
                other.send(str(number))
                assert other.recv(PATIENCE) == str(number)
        assert sent < MANY
        for _ in range(MANY):
            assert slow.recv(PATIENCE) == BLOCK
    assert sent == MANY


def test_an_application_that_does_not_listen_stops_the_client(live_server: LiveServers) -> None:
    """And what the client has sent arrives when it listens."""
    release = anyio.Event()
    count = threading.Semaphore(0)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            raise NotImplementedError
        await accepted(receive, send)
        await release.wait()
        while (message := await receive())["type"] == "websocket.receive":
            assert message["bytes"] == BLOCK
            count.release()

    server = live_server(app, ws_max_size=4 * len(BLOCK), ws_max_queue=8)
    sent = 0
    with connected(server, ping_interval=None) as client:

        def push() -> None:
            nonlocal sent
            for _ in range(MANY):
                client.send(BLOCK)
                sent += 1

        pushing = threading.Thread(target=push)
        pushing.start()
        pushing.join(1)
        assert pushing.is_alive()
        assert sent < MANY
        server.call(release.set)
        pushing.join(PATIENCE)
        for _ in range(MANY):
            assert count.acquire(timeout=PATIENCE)
