"""The command line's exit code 1 where the application's lifespan does not shut down as it should.

The other ways to it: the stop matrix, and `test_last_resort.py`.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.live.conftest import LiveServers

pytestmark = pytest.mark.live

FAILS = "tests.live.applications:fails_to_stop"
SLOW = "tests.live.applications:stops_too_slowly"


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
