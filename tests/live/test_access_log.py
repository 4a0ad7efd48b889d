"""The access lines of the command line: one per request, on stdout, whatever the request was."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.live.backends import one_loop_per_library
from tests.live.raw import RawClient, request

if TYPE_CHECKING:
    from tests.live.conftest import LiveServers

pytestmark = [pytest.mark.live, one_loop_per_library]

REPORT = "tests.live.applications:report"

LINE = re.compile(r'INFO: +127\.0\.0\.1:(\d+) - "(.+)" (\d{3} [A-Za-z ]+?) (\d+)B \d+\.\dms\n')


def line_of(text: str) -> tuple[str, ...]:
    found = LINE.fullmatch(text)
    assert found, text
    return found.groups()


def test_a_line_tells_client_request_status_and_size(live_server: LiveServers) -> None:
    server = live_server(REPORT)

    with RawClient(server.port) as client:
        answer = client.get("/a%20b?q=1")
        port, told, status, size = line_of(server.stdout.wait_for("q=1"))

        assert int(port) == client.socket.getsockname()[1]
        assert told == "GET /a%20b?q=1 HTTP/1.1"
        assert status == "200 OK"
        assert int(size) == len(answer.body)
    assert "GET" not in server.stderr.text


def test_requests_of_a_connection_are_told_in_order(live_server: LiveServers) -> None:
    server = live_server(REPORT)

    with RawClient(server.port) as client:
        client.send(b"".join(request(f"/{number}") for number in range(5)))
        for _ in range(5):
            client.answer()
        server.stdout.wait_for("HTTP/1.1", count=5)

    assert [line_of(line)[1] for line in server.stdout.lines()] == [f"GET /{n} HTTP/1.1" for n in range(5)]


def test_a_client_that_leaves_before_its_answer_is_told_as_499(live_server: LiveServers) -> None:
    server = live_server(REPORT)

    client = RawClient(server.port)
    client.send(request("/leaving", "Content-Length: 5", method="POST"))
    with RawClient(server.port) as later:
        assert later.get().status == 200  # accepted in turn, so the first connection has been looked at
    client.reset()

    _, told, status, size = line_of(server.stdout.wait_for("/leaving"))
    assert (told, status, size) == ("POST /leaving HTTP/1.1", "499 Client Closed Request", "0")


def test_a_client_that_is_gone_before_its_request_is_read_is_still_named(live_server: LiveServers) -> None:
    """The system forgets the peer of such a connection, but told its address when it was accepted."""
    server = live_server(REPORT)

    client = RawClient(server.port)
    port = client.socket.getsockname()[1]
    client.send(request("/gone", "Content-Length: 5", method="POST"))
    client.reset()

    told = server.stdout.wait_for("/gone")
    assert f" 127.0.0.1:{port} - " in told


def test_without_the_access_log_stdout_is_empty(live_server: LiveServers) -> None:
    server = live_server(REPORT, access_log=False)

    with RawClient(server.port) as client:
        assert client.get().status == 200
    server.finish()

    assert server.stdout.text == ""
