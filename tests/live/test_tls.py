"""TLS over real sockets, with the standard library's client, which is strict about the end of a connection."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.live.applications import report, respond
from tests.live.raw import RawClient, request
from tests.live.servers import PATIENCE
from tests.unit.streams.conftest import CONTEXTS, make_contexts

if TYPE_CHECKING:
    from collections.abc import Callable

    from asgiserve.types import Receive, Scope, Send
    from tests.live.conftest import LiveServers

pytestmark = pytest.mark.live


class TlsClient(RawClient):
    """A connection behind its handshake. An end without close_notify is an error when it is read."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.socket = CONTEXTS.client.wrap_socket(self.socket, server_hostname="localhost", suppress_ragged_eofs=False)


class HalfClosingClient(RawClient):
    """One that can say that it sends no more, and read on: the standard library's socket cannot."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        # Small: what the kernel holds back, a reset of the server's would take away.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = CONTEXTS.client.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self._until_done(self._tls.do_handshake)

    def send(self, data: bytes) -> None:
        self._tls.write(data)
        super().send(self._outgoing.read())

    def end(self) -> None:
        with suppress(ssl.SSLWantReadError):  # the server's own
            self._tls.unwrap()
        super().send(self._outgoing.read())

    def read(self) -> bytes:
        try:
            return self._until_done(self._tls.read)
        except ssl.SSLZeroReturnError:
            return b""

    def _until_done(self, step: Callable[[], Any]) -> Any:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self.socket.sendall(self._outgoing.read())
                more = self.socket.recv(65536)
                assert more, "a FIN without close_notify"
                self._incoming.write(more)


def test_a_connection_over_tls_is_kept_and_ends_with_a_close_notify(live_server: LiveServers) -> None:
    server = live_server(report, ssl_context=CONTEXTS.server)

    with TlsClient(server.port) as client:
        client.send(request("/", "Content-Length: 100000", method="POST") + bytes(100_000))
        assert b'"size": 100000' in client.answer("POST").body
        answer = client.get("/", "Connection: close")

        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert client.read_all() == b""


@pytest.mark.parametrize("line", ["X-Last: no", "Connection: close"])
def test_a_client_that_ends_its_side_with_a_close_notify_still_gets_its_answer(
    live_server: LiveServers, line: str
) -> None:
    data = bytes(400_000)
    begun, answered, may_answer = threading.Event(), threading.Event(), anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await may_answer.wait()
        await respond(send, 200, data)
        answered.set()

    server = live_server(app, lifespan="off", ssl_context=CONTEXTS.server)
    with HalfClosingClient(server.port) as client:
        client.send(request("/", line))
        assert begun.wait(PATIENCE)
        client.end()
        server.call(may_answer.set)
        assert answered.wait(PATIENCE)
        server.call(lambda: None)  # by now the server has closed what it may close
        answer = client.read_all()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n" + data)


def test_who_does_not_speak_tls_is_cut_and_the_next_client_is_served(live_server: LiveServers) -> None:
    server = live_server(report, ssl_context=CONTEXTS.server)

    with RawClient(server.port) as client:
        client.send(b"SSH-2.0-x\r\n")
        with pytest.raises(ConnectionResetError):
            client.read_all()
    with TlsClient(server.port) as client:
        assert client.get().status == 200


def test_who_speaks_http_without_tls_can_read_what_to_do(live_server: LiveServers) -> None:
    """A megabyte that nobody reads must not reset the answer."""
    server = live_server(report, ssl_context=CONTEXTS.server)

    with RawClient(server.port) as client:
        client.send(request("/", "Content-Length: 1000000", method="POST") + bytes(1_000_000))
        answer = client.answer("POST")
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert b"use https://" in answer.body
        assert client.read_all() == b""
    with TlsClient(server.port) as client:
        assert client.get().status == 200


def test_a_client_whose_handshake_is_refused_reads_the_alert(live_server: LiveServers) -> None:
    """The alert is written before the reset, which must not overtake it."""
    contexts = make_contexts()
    contexts.server.minimum_version = ssl.TLSVersion.TLSv1_3
    contexts.client.maximum_version = ssl.TLSVersion.TLSv1_2
    server = live_server(report, ssl_context=contexts.server)

    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"), RawClient(server.port) as client:
        contexts.client.wrap_socket(client.socket, server_hostname="localhost")


def test_a_stop_ends_a_handshake_that_stalls_and_idle_connections(live_server: LiveServers) -> None:
    server = live_server(report, ssl_context=CONTEXTS.server, timeout_graceful_shutdown=60, timeout_linger=0.1)

    with RawClient(server.port) as stalled, TlsClient(server.port) as idle:
        assert idle.get().status == 200
        server.stop()
        assert idle.read_all() == b""
        with pytest.raises(ConnectionResetError):
            stalled.read()
        server.wait_ended()
