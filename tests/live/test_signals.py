"""SIGTERM and SIGINT to the command line: what still runs, what the peer sees, and the exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.live.raw import RawClient, request
from tests.live.servers import PATIENCE, Lines
from tests.support.processes import START_PATIENCE

if TYPE_CHECKING:
    from tests.live.backends import Backend
    from tests.live.conftest import LiveServers
    from tests.live.servers import ProcessServer

pytestmark = pytest.mark.live

BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])

REPORT = "tests.live.applications:report"
WHOLE_BODY = "tests.live.applications:whole_body"
STUCK = "tests.live.applications:stuck"
NEVER_STARTS = "tests.live.applications:never_starts"


def assert_lifespan_ran(server: ProcessServer) -> None:
    assert server.stderr.text.count("lifespan: stopped\n") == 1


def test_sigusr1_tells_what_goes_on_and_changes_nothing(live_server: LiveServers) -> None:
    server = live_server(WHOLE_BODY)
    with RawClient(server.port) as client:
        client.send(request("/there", "Content-Length: 2", method="POST") + b"a")
        server.stderr.wait_for("request: entered")

        server.send_signal(signal.SIGUSR1)

        server.stderr.wait_for("POST /there, no answer yet")
        server.stderr.wait_for("in whole_body")
        client.send(b"b")
        assert client.answer("POST").status == 200
    server.send_signal(signal.SIGTERM)
    assert server.wait_exit() == 0


@BOTH
def test_an_idle_server_ends_with_code_0(live_server: LiveServers, number: signal.Signals) -> None:
    server = live_server(REPORT)

    server.send_signal(number)

    assert server.wait_exit() == 0
    assert_lifespan_ran(server)
    assert "Finished server process" in server.stderr.text


PROGRAM = """
import asgiserve
from tests.live.applications import stuck

asgiserve.run(stuck, port=0, backend="BACKEND")
print("run() has returned")
"""


@BOTH
def test_a_program_that_calls_run_is_stopped_as_the_command_line_is(
    anyio_backend: Backend, number: signal.Signals
) -> None:
    words = [sys.executable, "-W", "error", "-c", PROGRAM.replace("BACKEND", anyio_backend[0])]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        stderr = Lines(process.stderr)
        try:
            line = stderr.wait_for("asgiserve running on", patience=START_PATIENCE)
            with RawClient(int(line.split(" (")[0].rpartition(":")[2])) as client:
                client.send(request())
                stderr.wait_for("request: entered")
                process.send_signal(number)
                stderr.wait_for("for 1 connection to close (1 with a request in flight).")
                process.send_signal(number)
                stderr.wait_for("request: cancelled")
                assert process.wait(PATIENCE) == 0
            assert process.stdout is not None
            request_line, said = process.stdout.read().splitlines()
            assert '"GET / HTTP/1.1" 503' in request_line
            assert said == "run() has returned"
        finally:
            process.kill()
            stderr.close()
    assert stderr.text.count("lifespan: stopped\n") == 1
    assert "Traceback" not in stderr.text


BLOCKS_SIGNALS = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})
os.execv(sys.argv[1], sys.argv[1:])
"""


@BOTH
@pytest.mark.parametrize("settings", [{}, {"workers": 2}], ids=["alone", "supervised"])
def test_signals_that_a_parent_has_blocked_are_heard(
    live_server: LiveServers, number: signal.Signals, settings: dict[str, int]
) -> None:
    """As one that reads them from a descriptor hands it down."""
    server = live_server(REPORT, wrapper=[sys.executable, "-c", BLOCKS_SIGNALS], **settings)
    if settings:
        first, _ = server.wait_workers(2)
        os.kill(first, signal.SIGKILL)
        server.wait_workers(3)

    server.send_signal(number)

    assert server.wait_exit() == 0


def test_idle_connections_are_closed(live_server: LiveServers) -> None:
    server = live_server(REPORT, timeout_graceful_shutdown=60)

    with RawClient(server.port) as used, RawClient(server.port) as fresh:
        assert used.get().status == 200
        server.send_signal(signal.SIGTERM)
        assert (used.read_all(), fresh.read_all()) == (b"", b"")
        assert server.wait_exit() == 0


def test_sigterm_lets_a_request_in_flight_finish(live_server: LiveServers) -> None:
    """The test holds the last byte of the body until the server stops: the answer cannot come before."""
    server = live_server(WHOLE_BODY, timeout_graceful_shutdown=60)
    with RawClient(server.port) as client:
        client.send(request("/", "Content-Length: 2", method="POST") + b"a")
        server.stderr.wait_for("request: entered")

        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Waiting for at most")
        client.send(b"b")

        answer = client.answer("POST")
        assert (answer.status, answer.body) == (200, b"http.request")
        assert answer.headers["connection"] == "close"
        assert client.read_all() == b""
        assert server.wait_exit() == 0
    assert_lifespan_ran(server)


def test_sigint_tells_a_request_in_flight_at_once(live_server: LiveServers) -> None:
    """Somebody waits at a keyboard: an application that listens ends now, and its last words still go out."""
    server = live_server(WHOLE_BODY, timeout_graceful_shutdown=60, timeout_shutdown_notice=60)
    with RawClient(server.port) as client:
        client.send(request("/", "Content-Length: 2", method="POST") + b"a")
        server.stderr.wait_for("request: entered")

        server.send_signal(signal.SIGINT)

        answer = client.answer("POST")
        assert (answer.status, answer.body) == (200, b"http.disconnect")
        assert answer.headers["connection"] == "close"
    assert server.wait_exit() == 0
    assert_lifespan_ran(server)


def test_no_new_connection_is_accepted_while_stopping(live_server: LiveServers) -> None:
    server = live_server(WHOLE_BODY)
    with RawClient(server.port) as client:
        client.send(request("/", "Content-Length: 1", method="POST"))
        server.stderr.wait_for("request: entered")
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Waiting for at most")

        # A moment later the listener is closed; the running request keeps the server alive.
        with pytest.raises(ConnectionError):
            connect_until_refused(server.port)
        client.send(b"b")
        assert client.answer("POST").status == 200
        assert server.wait_exit() == 0


def connect_until_refused(port: int) -> None:
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        with RawClient(port):
            pass


def test_a_stuck_request_is_cancelled_when_the_grace_period_ends(live_server: LiveServers) -> None:
    server = live_server(STUCK, timeout_graceful_shutdown=0.2)
    with RawClient(server.port) as client:
        client.send(request())
        server.stderr.wait_for("request: entered")

        server.send_signal(signal.SIGTERM)

        assert client.answer().status == 503
        assert server.wait_exit() == 0
    assert "request: cancelled" in server.stderr.text
    assert_lifespan_ran(server)


@BOTH
def test_a_second_signal_cancels_at_once(live_server: LiveServers, number: signal.Signals) -> None:
    server = live_server(STUCK, timeout_graceful_shutdown=60)
    server.expected_code = None
    with RawClient(server.port) as client:
        client.send(request())
        server.stderr.wait_for("request: entered")
        server.send_signal(number)
        server.stderr.wait_for("Waiting for at most")
        assert "request: cancelled" not in server.stderr.text

        server.send_signal(number)

        server.stderr.wait_for("request: cancelled")
        server.wait_exit(timeout=3)
    assert_lifespan_ran(server)


@pytest.mark.parametrize(("number", "codes"), [(signal.SIGTERM, {143, -15}), (signal.SIGINT, {130, -2})])
def test_a_signal_during_startup_ends_the_process(
    live_server: LiveServers, number: signal.Signals, codes: set[int]
) -> None:
    """Either way a shell shows 143 or 130: the server had not started, so its end is no success."""
    server = live_server(NEVER_STARTS, ready="lifespan: entered")
    server.expected_code = None

    server.send_signal(number)

    assert server.wait_exit() in codes
