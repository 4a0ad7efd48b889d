"""Fifty signals in half a second, as nobody means it: in each phase of a process, and from one to the next.

None of them may be a traceback, or end a process by itself that serves. The moments are random, and the same each time;
every moment of the end is in `test_signal_moments.py`.
"""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.live.conftest import LiveServers

pytestmark = pytest.mark.live

SITE = "tests.live.storm_site:app"

SIGNALS = 50
SECONDS = 0.5

BOUND = 5.0
"""Seconds, for all of it: a storm ends nothing later than one signal does."""

PHASES = {
    "import": ("site: imported", {130, 143}),
    "startup": ("site: starts", {130, 143}),
    "serving": ("running on", {0}),
    "lifespan's shutdown": ("site: stops", {0}),
    "behind the stop": ("Finished server", {0}),
}
"""The line that a phase begins with, and the codes of its process."""

WITH_A_STOP = {"lifespan's shutdown", "behind the stop"}

ACCIDENTS = ("Traceback", "KeyboardInterrupt", "Exception ignored")


def storm(send: Callable[[signal.Signals], None], seed: int) -> None:
    moments = random.Random(seed)
    for number in moments.choices([signal.SIGINT, signal.SIGTERM], k=SIGNALS):
        send(number)
        time.sleep(moments.uniform(0, 2 * SECONDS / SIGNALS))


@pytest.mark.parametrize("workers", [None, 2], ids=["alone", "supervised"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_storm_of_signals_is_a_stop_and_no_accident(
    live_server: LiveServers, monkeypatch: pytest.MonkeyPatch, phase: str, workers: int | None
) -> None:
    # On a busy machine a moment is over before the first signal is sent: it would come to a server that serves.
    monkeypatch.setenv("STORM_SITE_STAYS_IN", phase)
    line, codes = PHASES[phase]
    settings = {} if workers is None else {"workers": workers}
    server = live_server(SITE, ready="running on" if phase in WITH_A_STOP else line, **settings)
    server.expected_code = None
    if phase in WITH_A_STOP:
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for(line)
    began = time.monotonic()

    storm(server.send_signal, seed=len(phase))

    code = server.wait_exit()
    assert time.monotonic() - began < BOUND
    said = server.stderr.text
    # A third signal to a supervisor kills the workers, which is no good end of theirs.
    assert code in (codes | {1} if "killing the workers" in said else codes)
    for accident in ACCIDENTS:
        assert accident not in said


def test_a_storm_over_the_workers_drains_them_and_others_take_their_places(live_server: LiveServers) -> None:
    server = live_server(SITE, workers=2)
    pids = server.wait_workers(2)

    def send(number: signal.Signals) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    storm(send, seed=2)

    server.wait_workers(4)
    server.send_signal(signal.SIGTERM)
    assert server.wait_exit() == 0
    said = server.stderr.text
    for pid in pids:
        assert f"Worker [{pid}] has ended." in said  # and not by a signal
    for accident in ACCIDENTS:
        assert accident not in said
