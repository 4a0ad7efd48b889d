"""What no event loop can end: an application that blocks it, and threads that go on when the server has ended.

The process ends within a bound all the same, and says what it leaves behind. Applications that swallow a cancellation,
or wait for a thread, are in the stop matrix.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest

from tests.live.backends import on_asyncio_only, one_loop_per_library
from tests.live.raw import RawClient, request
from tests.live.servers import LATE, PATIENCE
from tests.live.test_workers import hold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asgiserve.types import Receive, Scope, Send
    from tests.live.backends import Backend
    from tests.live.conftest import LiveServers
    from tests.live.servers import ProcessServer

pytestmark = pytest.mark.live

SITE = "tests.support.stop_site:app"
ENTERED = "app: entered"


def stopped(server: ProcessServer, path: str) -> tuple[int, float]:
    """SIGTERM while a request runs: the exit code, and how long it took."""
    with RawClient(server.port) as client:
        client.send(request(path))
        server.stderr.wait_for(ENTERED)
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        code = server.wait_exit()
        return code, time.monotonic() - began


def test_an_application_that_blocks_the_event_loop_does_not_keep_the_process(live_server: LiveServers) -> None:
    server = live_server(SITE, timeout_graceful_shutdown=0.2, timeout_lifespan_shutdown=0.3)
    server.expected_code = 1

    code, took = stopped(server, "/blocking")

    assert code == 1
    assert 0.5 + 1 < took < 0.5 + 1.5 + LATE
    said = server.stderr.text
    assert "The stop has come to no end, and the event loop is here." in said
    assert "in blocking\n" in said
    assert "self.let_go.wait()" in said
    assert "Received" not in said  # the loop never heard of it


@one_loop_per_library
def test_time_in_which_the_process_stood_still_as_a_whole_does_not_count(live_server: LiveServers) -> None:
    """As under `docker pause`. The lifespan has its second all the same, and says itself how it ends."""
    server = live_server("tests.support.stop_site:hangs", timeout_graceful_shutdown=0.2, timeout_lifespan_shutdown=1)
    server.expected_code = 1
    with RawClient(server.port) as client:
        client.send(request("/sleep"))
        server.stderr.wait_for(ENTERED)
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Waiting for at most")

        hold(server.process.pid)
        time.sleep(0.2 + 1 + 1.5 + 0.3)
        server.send_signal(signal.SIGCONT)

        assert server.wait_exit() == 1
    assert "lifespan: shutdown" in server.stderr.text
    assert "The stop has come to no end" not in server.stderr.text


def test_another_signal_shortens_the_wait_for_a_blocked_event_loop(live_server: LiveServers) -> None:
    server = live_server(SITE, timeout_graceful_shutdown="none", timeout_lifespan_shutdown=0.1)
    server.expected_code = 1
    with RawClient(server.port) as client:
        client.send(request("/blocking"))
        server.stderr.wait_for(ENTERED)
        began = time.monotonic()

        # Again and again, as people do: Python takes two that come at the same time for one.
        while server.process.poll() is None and time.monotonic() - began < PATIENCE:
            server.send_signal(signal.SIGTERM)
            time.sleep(0.1)

        assert server.wait_exit() == 1
        assert time.monotonic() - began < 0.2 + 0.1 + 1.5 + LATE


@on_asyncio_only
@pytest.mark.parametrize("path", ["/abandoned", "/asyncio_thread"])
def test_threads_that_go_on_when_the_server_has_ended_are_left_behind(live_server: LiveServers, path: str) -> None:
    """asyncio.run() and Python's exit would wait for them for ever."""
    server = live_server(SITE, timeout_graceful_shutdown=0.2)
    server.expected_code = 1

    code, took = stopped(server, path)

    assert code == 1
    assert took < 0.2 + 1 + LATE
    said = server.stderr.text
    assert said.index("lifespan: shutdown") < said.index("goes on after the server's end:\n")
    assert "in wait\n" in said
    assert said.splitlines()[-1].endswith("Leaving without waiting for it.")


def test_trio_leaves_an_abandoned_thread_behind_by_itself(live_server: LiveServers, anyio_backend: Backend) -> None:
    if anyio_backend[0] != "trio":
        pytest.skip("asyncio's threads are no daemons")
    server = live_server(SITE, timeout_graceful_shutdown=0.2)

    assert stopped(server, "/abandoned")[0] == 0

    assert "goes on" not in server.stderr.text


@on_asyncio_only
def test_threads_have_what_is_left_of_the_grace_period(live_server: LiveServers) -> None:
    server = live_server(SITE, timeout_graceful_shutdown=2, timeout_request=0.1)
    server.expected_code = 1
    with RawClient(server.port) as client:
        assert client.get("/asyncio_thread").status == 504
    began = time.monotonic()

    server.send_signal(signal.SIGTERM)

    server.stderr.wait_for("Finished server process")
    assert time.monotonic() - began < 1.9
    assert server.wait_exit() == 1
    assert 1.9 < time.monotonic() - began < 2 + LATE


def test_a_thread_that_ends_by_itself_is_waited_for(live_server: LiveServers) -> None:
    server = live_server(SITE)
    with RawClient(server.port) as client:
        assert client.get("/finishing").status == 200

    server.send_signal(signal.SIGTERM)

    assert server.wait_exit() == 0
    assert server.stderr.lines()[-1] == "thread: finished\n"


@on_asyncio_only
def test_a_signal_behind_the_stop_ends_the_wait_for_threads(live_server: LiveServers) -> None:
    server = live_server(SITE, timeout_graceful_shutdown="none", timeout_request=0.1)
    server.expected_code = 1
    with RawClient(server.port) as client:
        assert client.get("/asyncio_thread").status == 504
    server.send_signal(signal.SIGTERM)
    server.stderr.wait_for("Finished server process")
    began = time.monotonic()

    server.send_signal(signal.SIGINT)

    assert server.wait_exit() == 1
    assert time.monotonic() - began < 0.25 + LATE
    assert "Traceback" not in server.stderr.text


def test_jobs_of_the_applications_own_pool_are_left_behind(live_server: LiveServers) -> None:
    """Python waits for them before the main thread counts as ended: to look at it, the program seems to go on."""
    server = live_server(SITE, timeout_graceful_shutdown=0.2)
    server.expected_code = 1

    code, took = stopped(server, "/pooled")

    assert code == 1
    assert 1 < took < 1 + LATE
    said = server.stderr.text
    assert said.index("lifespan: shutdown") < said.index("The thread 'pooled_0' goes on after the server's end:\n")
    assert "in wait\n" in said
    assert said.splitlines()[-1].endswith("Leaving without waiting for it.")


def test_a_signal_behind_the_stop_ends_the_wait_for_such_jobs(live_server: LiveServers) -> None:
    server = live_server(SITE, timeout_graceful_shutdown="none")
    server.expected_code = 1
    with RawClient(server.port) as client:
        assert client.get("/pooled").status == 200
    server.send_signal(signal.SIGTERM)
    server.stderr.wait_for("Finished server process")
    time.sleep(1)  # what threads have at least
    assert server.process.poll() is None

    began = time.monotonic()
    server.send_signal(signal.SIGTERM)

    assert server.wait_exit() == 1
    assert time.monotonic() - began < 0.25 + LATE
    assert "Traceback" not in server.stderr.text


def test_an_embedded_server_returns_when_the_thread_ends_and_says_what_it_waits_for(live_server: LiveServers) -> None:
    entered, let_go, said = threading.Event(), threading.Event(), threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        entered.set()
        await anyio.to_thread.run_sync(let_go.wait)

    server = live_server(app, timeout_graceful_shutdown=0.1)
    with RawClient(server.port) as client, heard("goes on although it was cancelled (GET /stuck)", said):
        client.send(request("/stuck"))
        assert entered.wait(PATIENCE)
        server.stop()
        assert said.wait(PATIENCE)
        let_go.set()
        server.wait_ended()
    assert len(server.take_errors()) >= 2


@contextmanager
def heard(text: str, event: threading.Event) -> Iterator[None]:
    """Set the event when this is logged."""

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if text in record.getMessage():
                event.set()

    logger, handler = logging.getLogger("asgiserve.error"), Listening()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
