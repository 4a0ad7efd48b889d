"""Ctrl+C and SIGTERM in each moment between the end of the server and that of its process."""

from __future__ import annotations

import re
import signal
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.live.conftest import LiveServers

pytestmark = pytest.mark.live

EVERY_MOMENT = [sys.executable, "-W", "error", "tests/live/every_moment.py"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("app", "code"), [("plain", 0), ("fails", 1)])
def test_one_more_ctrl_c_in_the_last_moment_changes_nothing(
    live_server: LiveServers, app: str, code: int, number: signal.Signals
) -> None:
    server = live_server(f"tests.live.lifespan_site:{app}", wrapper=EVERY_MOMENT)
    server.expected_code = code

    server.send_signal(number)

    assert server.wait_exit() == code
    assert_in_many_moments(server.stderr.text)


def test_nor_does_it_to_a_supervisor(live_server: LiveServers) -> None:
    server = live_server("tests.live.lifespan_site:plain", wrapper=EVERY_MOMENT, workers=2)

    server.send_signal(signal.SIGTERM)

    assert server.wait_exit() == 0
    assert_in_many_moments(server.stderr.text)


def assert_in_many_moments(said: str) -> None:
    moments = re.search(r"^moments: (\d+)$", said, re.MULTILINE)
    assert moments is not None
    assert int(moments[1]) > 100
    for accident in ("Traceback", "KeyboardInterrupt", "Exception ignored"):
        assert accident not in said
