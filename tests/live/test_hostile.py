"""Peers that break off, speak something else or take all there is: the next request works as before."""

from __future__ import annotations

import resource
import ssl
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.live.applications import report, respond
from tests.live.raw import RawClient, connected, request
from tests.live.servers import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asgiserve.types import Receive, Scope, Send
    from tests.live.conftest import LiveServers

pytestmark = pytest.mark.live

REPORT = "tests.live.applications:report"
HALF_HEADS = 1000


def test_it_survives_running_out_of_descriptors(live_server: LiveServers) -> None:
    limited = ["sh", "-c", 'ulimit -n 40; exec "$@"', "sh"]
    server = live_server(REPORT, wrapper=limited)

    with ExitStack() as stack:
        connected(stack, server.port, 60)
        server.stderr.wait_for("Cannot accept connections")

    with RawClient(server.port) as client:
        assert client.get().status == 200
    assert server.stderr.text.count("Cannot accept connections") == 1


def test_clients_that_found_no_descriptor_left_are_answered_when_there_are_some(live_server: LiveServers) -> None:
    limited = ["sh", "-c", 'ulimit -n 40; exec "$@"', "sh"]
    server = live_server(REPORT, wrapper=limited)

    with ExitStack() as stack:
        clients = connected(stack, server.port, 60)
        # Only now: a server that is slow to accept answers, and closes, as fast as others come.
        server.stderr.wait_for("Cannot accept connections")
        for client in clients:
            client.send(request("/", "Connection: close"))
        for client in clients:
            assert client.answer().status == 200


@pytest.mark.parametrize("line", ["", "Connection: close"], ids=["server", "client"])
def test_a_request_behind_the_last_answered_one_does_not_take_the_answer_away(
    live_server: LiveServers, line: str
) -> None:
    data = bytes(1_000_000)
    begun, may_answer = threading.Event(), anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await may_answer.wait()
        await respond(send, 200, data, *[(b"connection", b"close")] * (not line))

    server = live_server(app, lifespan="off")
    with RawClient(server.port) as client:
        client.send(request("/last", *[line] * bool(line)))
        assert begun.wait(PATIENCE)
        client.send(request("/behind"))
        server.call(may_answer.set)
        answer = client.answer()
        assert answer.body == data
        assert client.read_all() == b""


def test_connections_that_are_reset_at_once_leave_no_trace(live_server: LiveServers) -> None:
    server = live_server(report)

    for _ in range(50):
        RawClient(server.port).reset()

    with RawClient(server.port) as client:
        assert client.get().status == 200


def test_a_request_whose_peer_is_gone_before_it_is_accepted(live_server: LiveServers) -> None:
    server = live_server(report)

    for _ in range(50):
        client = RawClient(server.port)
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        client.reset()

    with RawClient(server.port) as client:
        assert client.get().status == 200


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00" * 1000,
        bytes(range(256)) * 400,
        b"\r\n" * 1000,
        b"GET\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\xff\xfe\xfd\r\n\r\n",
    ],
    ids=["zeros", "all bytes", "empty lines", "no target", "SSH", "HTTP/2", "not ASCII"],
)
def test_garbage_is_refused(live_server: LiveServers, garbage: bytes) -> None:
    server = live_server(report)

    with RawClient(server.port) as client:
        client.send(garbage)
        answer = client.read_all()
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 505 "))
    assert answer.count(b"HTTP/1.1") == 1

    with RawClient(server.port) as client:
        assert client.get().status == 200


def test_tls_on_a_plain_port_is_refused(live_server: LiveServers) -> None:
    server = live_server(report)

    trusting = ssl.create_default_context()
    with RawClient(server.port) as client, pytest.raises((ssl.SSLError, ConnectionError)):
        trusting.wrap_socket(client.socket, server_hostname="localhost")

    with RawClient(server.port) as client:
        assert client.get().status == 200


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """This process may open as many files as the system lets it; the server inherits that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < HALF_HEADS + 100:
        pytest.skip("the system allows too few open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, HALF_HEADS + 100), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
def test_half_sent_heads_do_not_keep_a_good_client_waiting(live_server: LiveServers) -> None:
    server = live_server(REPORT, timeout_linger=0)

    with ExitStack() as stack:
        for client in connected(stack, server.port, HALF_HEADS):
            client.send(b"GET / HTTP/1.1\r\nHost: te")
        # Behind all of them: what a busy machine takes to accept a thousand is over.
        assert stack.enter_context(RawClient(server.port)).get().status == 200
        began = time.monotonic()
        good = stack.enter_context(RawClient(server.port))
        assert good.get().status == 200
        assert time.monotonic() - began < 1


def test_half_sent_heads_end_with_a_408(live_server: LiveServers) -> None:
    server = live_server(report, timeout_head=0.3)

    with RawClient(server.port) as slow:
        slow.send(b"GET / HTTP/1.1\r\nHost: te")
        assert slow.read_all().startswith(b"HTTP/1.1 408 ")
