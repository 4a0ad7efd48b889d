"""Signals and the real loops: who wakes, and who ends a process that has no loop any more."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from asgiserve.process.taken_signals import TakenSignals, put_back
from tests.live.raw import RawClient
from tests.live.servers import PATIENCE
from tests.support.processes import ran

if TYPE_CHECKING:
    from tests.live.backends import Backend
    from tests.live.conftest import LiveServers

pytestmark = pytest.mark.live


@pytest.mark.parametrize("thread", ["main", "another"])
def test_an_idle_loop_hears_of_a_signal_in_whichever_thread_it_comes(anyio_backend: Backend, thread: str) -> None:
    """The kernel may give it to any of them. Python calls handlers in the main one, which is to wake for that."""
    let_go = threading.Event()
    other = threading.Thread(target=let_go.wait)
    other.start()
    target = threading.main_thread() if thread == "main" else other

    async def main() -> list[signal.Signals]:
        with TakenSignals(signal.SIGUSR1).received() as received:
            heard = []
            for _ in range(3):
                assert target.ident is not None
                send = partial(signal.pthread_kill, target.ident, signal.SIGUSR1)
                timer = threading.Timer(0.05, send)  # the loop waits by then
                timer.start()
                with anyio.fail_after(PATIENCE):
                    heard.append(await anext(received))
                timer.join()
            return heard

    backend, options = anyio_backend
    began = time.monotonic()
    try:
        with put_back():
            heard = anyio.run(main, backend=backend, backend_options=options)
    finally:
        let_go.set()
        other.join()
    assert heard == [signal.SIGUSR1] * 3
    assert time.monotonic() - began < PATIENCE / 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_start_that_is_given_up_and_comes_to_no_end_is_killed_by_one_more_signal(
    live_server: LiveServers, number: signal.Signals
) -> None:
    server = live_server("tests.live.thread_at_import_site:app", ready="site: imported")
    server.expected_code = None
    began = time.monotonic()

    while server.process.poll() is None and time.monotonic() - began < PATIENCE:
        server.send_signal(number)
        time.sleep(0.1)

    assert server.wait_exit() == -number
    assert 2 < time.monotonic() - began < PATIENCE / 2
    assert "Traceback" not in server.stderr.text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_so_it_is_as_the_first_process_of_a_container(live_server: LiveServers, number: signal.Signals) -> None:
    """What has no handler there does nothing to it."""
    wrapper = ["unshare", "--pid", "--fork", "--kill-child"]
    if shutil.which("unshare") is None or ran([*wrapper, "true"]).returncode:
        pytest.skip("this machine, or this user, makes no namespaces of processes")
    server = live_server("tests.live.thread_at_import_site:app", wrapper=wrapper, ready="site: imported")
    server.expected_code = None
    outside = server.process.pid
    first = int(Path(f"/proc/{outside}/task/{outside}/children").read_text())
    began = time.monotonic()

    while server.process.poll() is None and time.monotonic() - began < PATIENCE:
        with suppress(ProcessLookupError):
            os.kill(first, number)
        time.sleep(0.1)

    assert server.wait_exit() == 128 + number
    assert 2 < time.monotonic() - began < PATIENCE / 2
    assert "Traceback" not in server.stderr.text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["_hold", "_release"])
def test_a_signal_in_the_moment_in_which_the_import_forks_ends_it(
    live_server: LiveServers, number: signal.Signals, moment: str
) -> None:
    began = time.monotonic()
    server = live_server(
        "tests.live.forks_at_import_site:app",
        wrapper=["env", f"SIGNAL={number.name}", f"MOMENT={moment}"],
        ready="site: imported",
    )
    server.expected_code = 128 + number

    assert server.wait_exit() == 128 + number
    assert time.monotonic() - began < PATIENCE / 2
    assert "ignored" not in server.stderr.text


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", b"-15"), ("SIGINT", b"77")])
def test_a_process_that_the_application_has_forked_is_ended_as_ever_and_the_server_serves_on(
    live_server: LiveServers, name: str, code: bytes
) -> None:
    with RawClient(live_server("tests.live.forking_site:app").port) as client:
        assert client.get(f"/{name}").body == code
        assert client.get(f"/{name}").body == code


def test_a_signal_in_the_moment_of_the_fork_is_not_lost(live_server: LiveServers) -> None:
    with RawClient(live_server("tests.live.forking_site:app").port) as client:
        assert [client.get("/SIGTERM?at=once").body for _ in range(20)] == [b"-15"] * 20
