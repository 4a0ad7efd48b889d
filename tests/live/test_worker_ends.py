"""Workers that do not end by themselves: threads keep them, or their event loop is blocked. A process that serves alone
is in `test_last_resort.py`."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from tests.live.backends import one_loop_per_library
from tests.live.raw import RawClient, request
from tests.live.servers import LATE
from tests.live.test_workers import hold
from tests.support.processes import START_PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.live.conftest import LiveServers
    from tests.live.servers import ProcessServer

pytestmark = [pytest.mark.live, one_loop_per_library]

ONE_WORKER = {"workers": 1, "limit_max_requests": 1000}


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


# --- a blocked event loop ---------------------------------------------------------------------


LIMITS = {"timeout_graceful_shutdown": 0.2, "timeout_lifespan_shutdown": 0.1}


@contextmanager
def blocked(server: ProcessServer) -> Iterator[int]:
    """A worker whose loop is; its process id."""
    server.expected_code = 1
    with RawClient(server.port) as client:
        worker = int(client.get().body)
        client.send(request("/block"))
        server.stderr.wait_for("request: blocks the loop")
        yield worker


def assert_says_where(server: ProcessServer, worker: int) -> None:
    said = server.stderr.text
    assert f"[{worker}] The stop has come to no end, and the event loop is here." in said
    assert "in block\n" in said
    assert "time.sleep(3600)" in said
    assert f"Worker [{worker}] ended with exit code 1." in said
    assert "killing it" not in said


@pytest.mark.parametrize("delay", [0, 1])
def test_one_whose_loop_is_blocked_ends_as_a_process_alone_and_says_where(live_server: LiveServers, delay: int) -> None:
    server = live_server("tests.live.worker_site:app", shutdown_delay=delay, workers=2, **LIMITS)
    with blocked(server) as worker:
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)

        assert server.wait_exit() == 1
        assert delay + 0.3 + 1 < time.monotonic() - began < delay + 0.3 + 1.5 + LATE
        assert_says_where(server, worker)


def test_another_signal_to_the_supervisor_shortens_the_wait_for_a_blocked_event_loop(live_server: LiveServers) -> None:
    settings = {**LIMITS, "timeout_graceful_shutdown": "none"}
    server = live_server("tests.live.worker_site:app", **settings, **ONE_WORKER)
    with blocked(server) as worker:
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Received SIGTERM, stopping.")
        began = time.monotonic()

        server.send_signal(signal.SIGTERM)

        assert server.wait_exit() == 1
        assert time.monotonic() - began < 0.1 + 1.5 + LATE
        assert_says_where(server, worker)


def test_one_whose_loop_is_blocked_ends_and_says_where_when_it_is_replaced(live_server: LiveServers) -> None:
    server = live_server("tests.live.worker_site:app", shutdown_delay=3600, **LIMITS, **ONE_WORKER)
    with blocked(server) as worker:
        server.expected_code = 0  # it ends before the stop
        server.send_signal(signal.SIGHUP)

        server.stderr.wait_for(f"takes the place of [{worker}], which drains.", patience=START_PATIENCE)
        server.stderr.wait_for(f"Worker [{worker}] ended with exit code 1.")
        assert_says_where(server, worker)
    server.send_signal(signal.SIGINT)  # which knows no delay
    assert server.wait_exit() == 0


BLOCKS_FOR_A_WHILE = """
from pathlib import Path
from tests.live.applications import lifespan, respond
from tests.live.saying import say

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    say("request: blocks the loop")
    Path(__file__).with_name("pipe").read_bytes()
    await receive()
    await respond(send, 200, b"went on")
"""


def test_one_whose_loop_goes_on_in_time_stops_gracefully(live_server: LiveServers, tmp_path: Path) -> None:
    (tmp_path / "blocks_for_a_while.py").write_text(BLOCKS_FOR_A_WHILE)
    os.mkfifo(tmp_path / "pipe")
    server = live_server("blocks_for_a_while:app", app_dir=tmp_path, **ONE_WORKER)
    with RawClient(server.port) as client:
        client.send(request("/"))
        server.stderr.wait_for("request: blocks the loop")
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Received SIGTERM, stopping.")

        (tmp_path / "pipe").write_bytes(b"")

        assert client.answer().body == b"went on"
    assert server.wait_exit() == 0
    said = server.stderr.text
    assert "Application shutdown complete." in said
    assert "ERROR" not in said


def test_one_that_stands_still_as_a_whole_is_killed_behind_its_limits(live_server: LiveServers) -> None:
    """As where foreign code never gives Python's lock back."""
    server = live_server("tests.live.worker_site:app", **LIMITS, **ONE_WORKER)
    with blocked(server) as worker:
        os.kill(worker, signal.SIGSTOP)
        server.send_signal(signal.SIGTERM)

        assert server.wait_exit() == 1
    assert f"Worker [{worker}] has not ended by then: killing it after 4.3 s." in server.stderr.text
    assert f"Worker [{worker}] was ended by SIGKILL." in server.stderr.text


def test_time_in_which_it_stood_still_together_with_its_supervisor_does_not_count(live_server: LiveServers) -> None:
    """The lifespan has its second all the same, and says itself how it ends."""
    limits = {"timeout_graceful_shutdown": 0.2, "timeout_lifespan_shutdown": 1}
    server = live_server("tests.support.stop_site:hangs", **limits, **ONE_WORKER)
    server.expected_code = 1
    (worker,) = server.wait_workers(1)
    with RawClient(server.port) as client:
        client.send(request("/sleep"))
        server.stderr.wait_for("app: entered")
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Waiting for at most")

        hold(server.process.pid)
        hold(worker)
        time.sleep(0.2 + 1 + 1 + 3 + 0.3)
        server.send_signal(signal.SIGCONT)
        os.kill(worker, signal.SIGCONT)

        assert server.wait_exit() == 1
    assert "lifespan: shutdown" in server.stderr.text
    assert "The stop has come to no end" not in server.stderr.text
    assert "killing it" not in server.stderr.text


# --- without a supervisor ---------------------------------------------------------------------


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


def test_one_whose_loop_is_blocked_ends_without_its_supervisor(live_server: LiveServers) -> None:
    server = live_server("tests.live.worker_site:app", **LIMITS, **ONE_WORKER)
    with RawClient(server.port) as client:
        worker = int(client.get().body)
        client.send(request("/block"))
        server.stderr.wait_for("request: blocks the loop")

        assert_ends_without_its_supervisor(server, worker)


IMPORTS_FOR_EVER = """
import os, time
from tests.live.saying import say

say(f"import: entered by {os.getpid()}")
time.sleep(3600)
"""


def test_so_does_one_that_imports_the_application(live_server: LiveServers, tmp_path: Path) -> None:
    (tmp_path / "imports_for_ever.py").write_text(IMPORTS_FOR_EVER)
    options = {"app_dir": tmp_path, **LIMITS, **ONE_WORKER}
    server = live_server("imports_for_ever:app", ready="import: entered", **options)
    worker = int(server.stderr.wait_for("import: entered").rpartition(" ")[2])

    assert_ends_without_its_supervisor(server, worker)
