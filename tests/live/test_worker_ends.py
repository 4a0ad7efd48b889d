"""Workers that do not end by themselves: threads keep them, or their event loop is blocked. A process that serves alone
is in `test_last_resort.py`."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.live.backends import one_loop_per_library
from tests.live.raw import RawClient, request

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.conftest import LiveServers
    from tests.live.servers import ProcessServer

pytestmark = [pytest.mark.live, one_loop_per_library]

ONE_WORKER = {"workers": 1, "limit_max_requests": 1000}

LATE = 1.5
"""What a machine that has other things to do may take longer."""


def assert_left_behind(server: ProcessServer, began: float) -> None:
    assert server.wait_exit() == 1
    assert 1 < time.monotonic() - began < 1 + LATE
    said = server.stderr.text
    assert said.index("lifespan: shutdown") < said.index("The thread 'pooled_0' goes on after the server's end:\n")
    assert "killing it" not in said


def test_threads_have_what_the_supervisors_word_leaves_them_of_the_grace_period(live_server: LiveServers) -> None:
    server = live_server("tests.support.stop_site:app", timeout_graceful_shutdown=60, **ONE_WORKER)
    server.expected_code = 1
    with RawClient(server.port) as other, RawClient(server.port) as client:
        assert other.get("/pooled").status == 200
        client.send(request("/sleep"))
        server.stderr.wait_for("app: entered", 2)
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Waiting for at most")
        began = time.monotonic()

        server.send_signal(signal.SIGTERM)

        assert_left_behind(server, began)


def test_another_signal_to_the_supervisor_ends_the_wait_for_threads(live_server: LiveServers) -> None:
    server = live_server("tests.support.stop_site:app", timeout_graceful_shutdown=60, **ONE_WORKER)
    server.expected_code = 1
    with RawClient(server.port) as client:
        assert client.get("/pooled").status == 200
    began = time.monotonic()
    server.send_signal(signal.SIGTERM)
    server.stderr.wait_for("Finished server process")

    server.send_signal(signal.SIGTERM)

    assert_left_behind(server, began)


def assert_ends_without_its_supervisor(server: ProcessServer, worker: int) -> None:
    server.expected_code = -signal.SIGKILL
    began = time.monotonic()
    server.send_signal(signal.SIGKILL)
    try:
        server.stderr.wait_for("Leaving without waiting for it.")
        assert time.monotonic() - began < 0.2 + 0.1 + 1.5 + LATE
    finally:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
    server.wait_exit()
    assert "The stop has come to no end, and the event loop is here." in server.stderr.text


LIMITS = {"timeout_graceful_shutdown": 0.2, "timeout_lifespan_shutdown": 0.1}


def test_one_whose_loop_is_blocked_ends_without_its_supervisor(live_server: LiveServers) -> None:
    server = live_server("tests.live.worker_site:app", **LIMITS, **ONE_WORKER)
    with RawClient(server.port) as client:
        worker = int(client.get().body)
        client.send(request("/block"))
        server.stderr.wait_for("request: blocks the loop")

        assert_ends_without_its_supervisor(server, worker)


IMPORTS_FOR_EVER = """
import os, sys, time

print(f"import: entered by {os.getpid()}", file=sys.stderr, flush=True)
time.sleep(3600)
"""


def test_so_does_one_that_imports_the_application(live_server: LiveServers, tmp_path: Path) -> None:
    (tmp_path / "imports_for_ever.py").write_text(IMPORTS_FOR_EVER)
    options = {"app_dir": tmp_path, **LIMITS, **ONE_WORKER}
    server = live_server("imports_for_ever:app", ready="import: entered", **options)
    worker = int(server.stderr.wait_for("import: entered").rpartition(" ")[2])

    assert_ends_without_its_supervisor(server, worker)
