"""A stderr that nobody reads and that is full, as a pipe may be and a terminal after Ctrl+S: whoever logs there stands
still. The process ends by signals all the same, and so do its workers, which have the same stderr."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.backends import one_loop_per_library
from tests.live.servers import PATIENCE, command
from tests.support.processes import START_PATIENCE, ran

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.live.backends import Backend

pytestmark = [pytest.mark.live, one_loop_per_library]

LIMITS = {"timeout_graceful_shutdown": 0.2, "timeout_lifespan_shutdown": 0.1}

WORKERS_LONGEST = 5 + 0.1
"""With these limits, the longest stop is that of one that starts."""

SLACK = 3
"""What their supervisor has beyond that."""


class Unread:
    """A command line whose stderr is a pipe."""

    def __init__(self, backend: Backend, *, full: bool = False, **settings: Any) -> None:
        self._reader, self._writer = os.pipe()
        if full:
            self.fill()
        self.process = subprocess.Popen(
            command("tests.live.worker_site:app", backend, {**LIMITS, **settings}),
            stdout=subprocess.PIPE,  # of the workers too: it ends with the last of them
            stderr=self._writer,
        )

    def read_until(self, text: str, count: int = 1) -> None:
        said = b""
        while said.count(text.encode()) < count:
            said += os.read(self._reader, 65536)

    def fill(self) -> None:
        os.set_blocking(self._writer, False)
        for size in (4096, 1):
            try:
                while True:
                    os.write(self._writer, bytes(size))
            except BlockingIOError:
                pass
        os.set_blocking(self._writer, True)

    def end(self, *numbers: signal.Signals) -> int:
        """Send these; the exit code."""
        for number in numbers:
            self.process.send_signal(number)
            time.sleep(0.1)  # Python takes two that come at the same time for one
        return self.process.wait(2 * PATIENCE)

    def wait_for_the_last(self) -> None:
        """Until no process is left. Nothing of the pipe is read for that."""
        self.process.communicate(timeout=PATIENCE)

    def close(self) -> None:
        self.process.kill()
        os.close(self._writer)
        os.close(self._reader)  # which wakes whoever writes
        self.process.communicate()


@contextmanager
def unread(backend: Backend, **settings: Any) -> Iterator[Unread]:
    server = Unread(backend, **settings)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def supervised(backend: Backend, **settings: Any) -> Iterator[Unread]:
    """With two workers, which are ready, and a pipe that is full from then on."""
    with unread(backend, **{"port": 0, "workers": 2, **settings}) as server:
        server.read_until("] is ready", count=2)
        server.fill()
        yield server


def test_a_supervisor_that_waits_for_its_log_ends_within_a_bound_and_so_do_its_workers(
    anyio_backend: Backend, tmp_path: Path
) -> None:
    with supervised(anyio_backend, uds=tmp_path / "app.sock", pid_file=tmp_path / "app.pid") as server:
        began = time.monotonic()

        assert server.end(signal.SIGTERM) == 1

        assert time.monotonic() - began > WORKERS_LONGEST + SLACK  # no stop that goes well is cut
        assert list(tmp_path.iterdir()) == []
        server.wait_for_the_last()


def test_a_second_signal_shortens_that(anyio_backend: Backend) -> None:
    with supervised(anyio_backend, timeout_graceful_shutdown=60) as server:
        assert server.end(*[signal.SIGTERM] * 2) == 1

        server.wait_for_the_last()  # well within the grace period: they have been told of the second one


def test_a_third_one_ends_it_soon_and_kills_the_workers(anyio_backend: Backend) -> None:
    with supervised(anyio_backend, timeout_graceful_shutdown=60, timeout_lifespan_shutdown=60) as server:
        assert server.end(*[signal.SIGTERM] * 3) == 1

        server.wait_for_the_last()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stderr_that_is_full_from_the_start_keeps_nobody(
    anyio_backend: Backend, tmp_path: Path, workers: int
) -> None:
    pid_file = tmp_path / "app.pid"
    with unread(anyio_backend, full=True, port=0, workers=workers, pid_file=pid_file) as server:
        wait_until_it_stands(server.process.pid, pid_file)

        assert server.end(*[signal.SIGTERM] * 3) == 128 + signal.SIGTERM

        assert not pid_file.exists()
        server.wait_for_the_last()


def wait_until_it_stands(pid: int, pid_file: Path) -> None:
    """At its first line, which is all that it waits for behind the making of that file."""
    give_up_at = time.monotonic() + START_PATIENCE
    asleep = 0
    while asleep < 5:
        assert time.monotonic() < give_up_at
        time.sleep(0.1)
        state = ran(["ps", "-o", "stat=", "-p", str(pid)]).stdout
        asleep = asleep + 1 if pid_file.exists() and state.startswith("S") else 0
