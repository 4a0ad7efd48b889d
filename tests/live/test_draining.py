"""`--shutdown-delay`: what a load balancer and its clients see between SIGTERM and the stop."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from tests.live.backends import one_loop_per_library
from tests.live.raw import RawClient

if TYPE_CHECKING:
    from tests.live.conftest import LiveServers

pytestmark = [pytest.mark.live, one_loop_per_library]

SITE = "tests.live.process_site:app"


def test_after_sigterm_new_connections_are_served_for_the_delay_and_told_to_close(live_server: LiveServers) -> None:
    """The delay is longer than any test waits; a second signal ends it."""
    server = live_server(SITE, shutdown_delay=600)
    with RawClient(server.port) as kept:
        before = kept.get()
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Serving on for 600 s while load balancers take notice (shutdown_delay).")
        with RawClient(server.port) as fresh:
            answers = [kept.get(), fresh.get()]
            assert (kept.read_all(), fresh.read_all()) == (b"", b"")
    assert ("connection" in before.headers, json.loads(before.body)["draining"]) == (False, None)
    for answer in answers:
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert json.loads(answer.body)["draining"] is True

    server.send_signal(signal.SIGTERM)

    assert server.wait_exit() == 0
    assert "lifespan: stopped\n" in server.stderr.text


def test_the_stop_begins_when_the_delay_is_over(live_server: LiveServers) -> None:
    server = live_server(SITE, shutdown_delay=0.3)
    server.send_signal(signal.SIGTERM)
    server.stderr.wait_for("Serving on for 0.3 s")
    assert server.wait_exit() == 0


def test_ctrl_c_does_not_wait_for_it(live_server: LiveServers) -> None:
    server = live_server(SITE, shutdown_delay=600)
    server.send_signal(signal.SIGINT)
    assert server.wait_exit() == 0
    assert "Serving on for" not in server.stderr.text
