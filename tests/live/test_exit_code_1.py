"""The command line's exit code 1: the stop has ended, and something did not end as it should.

Either the application's lifespan shutdown failed, or an application goes on although it was cancelled. Nothing
inside the process can end such an application, so the process leaves without it.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.live.raw import RawClient, request

if TYPE_CHECKING:
    from tests.live.conftest import LiveServers
    from tests.live.servers import ProcessServer

pytestmark = pytest.mark.live

FAILS = "tests.live.applications:fails_to_stop"
SLOW = "tests.live.applications:stops_too_slowly"
SWALLOWS = "tests.live.applications:swallows_cancellation"
IN_A_THREAD = "tests.live.applications:waits_for_a_thread"

GRACE = 0.2
LIFESPAN = 2.0
BOUND = LIFESPAN + 1.0
"""What a stop may take beyond its grace period."""

UNSTOPPABLE = pytest.mark.parametrize(
    ("target", "frame"), [(SWALLOWS, "in swallows_cancellation"), (IN_A_THREAD, "in waits_for_a_thread")]
)


def ask_and_wait(client: RawClient, server: ProcessServer) -> None:
    """Send a request that does not end, and wait until the application has it."""
    client.send(request("/for%20ever?a=b", method="PATCH"))
    server.stderr.wait_for("request: entered")


def assert_it_left(server: ProcessServer, frame: str) -> None:
    """It says why: which request goes on, and where. The lifespan had its shutdown before that."""
    said = server.stderr.text
    assert "goes on although it was cancelled (PATCH /for%20ever):\n" in said
    assert frame in said
    assert said.count("lifespan: stopped\n") == 1
    assert said.index("lifespan: stopped\n") < said.index("goes on although")
    assert "Leaving without what goes on although it was cancelled." in said.splitlines()[-1]


# --- the lifespan -----------------------------------------------------------------------------


def test_a_failed_lifespan_shutdown_is_code_1(live_server: LiveServers) -> None:
    server = live_server(FAILS)
    server.expected_code = 1

    server.send_signal(signal.SIGTERM)

    assert server.wait_exit() == 1
    assert server.stderr.lines()[-1] == "Error: Application shutdown failed: no database\n"


def test_a_lifespan_shutdown_that_takes_too_long_is_code_1(live_server: LiveServers) -> None:
    server = live_server(SLOW, timeout_lifespan_shutdown=0.2)
    server.expected_code = 1

    server.send_signal(signal.SIGTERM)

    assert server.wait_exit() == 1
    assert server.stderr.lines()[-1].startswith("Error: ")
    assert "longer than 0.2 s" in server.stderr.lines()[-1]


# --- applications that cannot be stopped ------------------------------------------------------


@UNSTOPPABLE
def test_an_application_that_outlives_the_grace_period_is_left_behind_with_code_1(
    live_server: LiveServers, target: str, frame: str
) -> None:
    server = live_server(target, timeout_graceful_shutdown=GRACE, timeout_lifespan_shutdown=LIFESPAN)
    server.expected_code = 1
    with RawClient(server.port) as client:
        ask_and_wait(client, server)
        began = time.monotonic()

        server.send_signal(signal.SIGTERM)

        assert server.wait_exit() == 1
        assert GRACE <= time.monotonic() - began <= GRACE + BOUND
    assert_it_left(server, frame)


@UNSTOPPABLE
def test_an_application_that_outlives_a_second_signal_is_left_behind_with_code_1(
    live_server: LiveServers, target: str, frame: str
) -> None:
    server = live_server(target, timeout_graceful_shutdown=60, timeout_lifespan_shutdown=LIFESPAN)
    server.expected_code = 1
    with RawClient(server.port) as client:
        ask_and_wait(client, server)
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Waiting for at most")
        began = time.monotonic()

        server.send_signal(signal.SIGTERM)

        assert server.wait_exit() == 1
        assert time.monotonic() - began <= BOUND
    assert_it_left(server, frame)
