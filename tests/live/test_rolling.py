"""Workers that are replaced on purpose, new one first: SIGHUP, limits, and a loop that does not turn."""

from __future__ import annotations

import os
import signal
from itertools import count
from typing import TYPE_CHECKING

import pytest

from tests.live.backends import one_loop_per_library
from tests.live.raw import RawClient, request
from tests.live.test_workers import SITE, pid_of
from tests.support.processes import START_PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.live.conftest import LiveServers
    from tests.live.servers import ProcessServer

pytestmark = [pytest.mark.live, one_loop_per_library]

ANSWERS = """
from tests.live.applications import lifespan, respond
{more}

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    if scope["method"] == "POST":
        print("request: entered", flush=True)
        while (await receive()).get("more_body"):
            pass
    await respond(send, 200, b"{answer}")
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes the application; gives the directory for `--app-dir`."""

    seconds = count(1_800_000_000)

    def written(answer: str, more: str = "") -> Path:
        path = tmp_path / "rolling_application.py"
        path.write_text(ANSWERS.format(answer=answer, more=more))
        # Python takes a compiled module for current while its source has the same size and second of change.
        second = next(seconds)
        os.utime(path, (second, second))
        return tmp_path

    return written


def answer_of(server: ProcessServer) -> bytes:
    with RawClient(server.port) as client:
        return client.get().body


# --- SIGHUP -----------------------------------------------------------------------------------


def test_sighup_brings_new_code_while_old_requests_finish(live_server: LiveServers, write: Callable[..., Path]) -> None:
    server = live_server("rolling_application:app", workers=2, app_dir=write("old"), timeout_graceful_shutdown=60)
    server.wait_workers(2)
    with RawClient(server.port) as client:
        client.send(request("/", "Content-Length: 2", method="POST") + b"a")
        server.stdout.wait_for("request: entered")
        write("new")

        server.send_signal(signal.SIGHUP)

        server.stderr.wait_for("All workers have been replaced.")
        server.stderr.wait_for("Waiting for at most")  # that with the request; and the other one:
        server.stderr.wait_for("has ended.", patience=START_PATIENCE)
        assert answer_of(server) == b"new"
        client.send(b"b")
        answer = client.answer("POST")
        assert (answer.status, answer.body, answer.headers["connection"]) == (200, b"old", "close")
    server.stderr.wait_for("has ended.", 2, patience=START_PATIENCE)


def test_new_code_that_does_not_start_leaves_the_old_in_place(
    live_server: LiveServers, write: Callable[..., Path]
) -> None:
    server = live_server("rolling_application:app", workers=2, app_dir=write("old"))
    server.wait_workers(2)

    write("new", more="import nonsense")
    server.send_signal(signal.SIGHUP)
    server.stderr.wait_for("it says why above. The restart is given up: the old workers stay.", patience=START_PATIENCE)
    assert answer_of(server) == b"old"
    assert "Error: importing rolling_application failed: ModuleNotFoundError: No module named 'nonsense'" in (
        server.stderr.text
    )

    write("new, and right")
    server.send_signal(signal.SIGHUP)
    server.stderr.wait_for("has ended.", 2, patience=START_PATIENCE)  # until then the old ones may still accept
    assert answer_of(server) == b"new, and right"
    server.expect_traceback()


# --- limits -----------------------------------------------------------------------------------


def test_a_worker_is_replaced_after_its_requests(live_server: LiveServers) -> None:
    server = live_server(SITE, limit_max_requests=5, timeout_linger=5)
    (first,) = server.wait_workers(1)
    with RawClient(server.port) as client:
        for _ in range(5):
            assert pid_of(client) == first

        server.stderr.wait_for(f"Worker [{first}] has taken up 5 requests, its limit: to be replaced.")
        second = wait_for_successor(server, first)
        server.stderr.wait_for("Waiting for at most")

        answer = client.get()  # idle for less than the linger
        assert (int(answer.body), answer.headers["connection"]) == (first, "close")
    with RawClient(server.port) as client:
        assert pid_of(client) == second


def wait_for_successor(server: ProcessServer, old: int) -> int:
    line = server.stderr.wait_for(f"takes the place of [{old}], which drains.", patience=START_PATIENCE)
    return int(line.partition("Worker [")[2].partition("]")[0])


def test_a_worker_that_has_grown_is_replaced(live_server: LiveServers) -> None:
    server = live_server(SITE, limit_worker_memory="100M")
    (first,) = server.wait_workers(1)

    with RawClient(server.port) as client:
        for _ in range(2):
            client.get("/grow")

    server.stderr.wait_for(" MiB of memory, its limit is 100 MiB: to be replaced.")
    wait_for_successor(server, first)


def test_a_limit_of_memory_that_no_worker_can_keep_is_told_and_not_kept(live_server: LiveServers) -> None:
    server = live_server(SITE, limit_worker_memory="1M")
    (worker,) = server.wait_workers(1)

    server.stderr.wait_for(
        "MiB of memory when it is ready, its limit is 1 MiB: the limit is not kept.", patience=START_PATIENCE
    )

    with RawClient(server.port) as client:
        assert pid_of(client) == worker


def test_a_worker_is_replaced_after_its_lifetime(live_server: LiveServers) -> None:
    server = live_server(SITE, limit_worker_lifetime=1)
    (first,) = server.wait_workers(1)

    server.stderr.wait_for(f"Worker [{first}] has served for 1 s, its limit: to be replaced.")

    wait_for_successor(server, first)


# --- a loop that does not turn ----------------------------------------------------------------


def test_a_blocked_worker_is_told_with_its_stack_and_replaced(live_server: LiveServers) -> None:
    server = live_server(SITE, workers=2, timeout_worker_healthcheck=1)
    server.wait_workers(2)
    with RawClient(server.port) as client:
        pid = pid_of(client)
        client.send(request("/block"))

        server.stderr.wait_for(f"Worker [{pid}] has not turned its event loop for 1 s:")
        server.stderr.wait_for("time.sleep(3600)")
        server.stderr.wait_for("GET /block, no answer yet")
        server.wait_workers(3)
        server.stderr.wait_for(f"Worker [{pid}] still does not turn its event loop: killing it after 5 s.")
        server.stderr.wait_for(f"Worker [{pid}] was ended by SIGKILL.")
    assert 1 < len([line for line in server.stderr.lines() if "is ready" in line]) == 3
