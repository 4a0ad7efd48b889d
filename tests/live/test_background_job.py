"""A supervisor as a background job of a terminal that stops such jobs when they write to it."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.live.backends import one_loop_per_library

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.conftest import LiveServers

pytestmark = [pytest.mark.live, one_loop_per_library]

TERMINAL = """
import fcntl, os, pty, signal, subprocess, sys, termios

os.setsid()
ours, theirs = pty.openpty()
fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
modes = termios.tcgetattr(theirs)
modes[3] |= termios.TOSTOP
termios.tcsetattr(theirs, termios.TCSANOW, modes)
job = subprocess.Popen(sys.argv[1:], stdout=theirs, stderr=theirs, process_group=0)
signal.signal(signal.SIGTERM, lambda *_: job.terminate())
os.close(theirs)
try:
    while shown := os.read(ours, 4096):
        os.write(2, shown.replace(b"\\r", b""))
except OSError:
    pass  # which is how a terminal says that nobody has its other side
sys.exit(job.wait())
"""
"""The leader of its session, which shows on stderr what the job writes."""


def test_a_terminal_that_stops_background_jobs_neither_blocks_the_server_nor_scales_it_down(
    live_server: LiveServers, tmp_path: Path
) -> None:
    pid_file = tmp_path / "app.pid"
    wrapper = [sys.executable, "-c", TERMINAL]
    server = live_server("tests.live.worker_site:app", wrapper=wrapper, workers=2, pid_file=pid_file)
    server.wait_workers(2)
    assert "SIGTTOU" not in server.stderr.text

    os.kill(int(pid_file.read_text()), signal.SIGTTOU)  # somebody's wish is heard as ever

    server.stderr.wait_for("Received SIGTTOU.")
    server.stderr.wait_for("has ended.")
    server.send_signal(signal.SIGTERM)
    assert server.wait_exit() == 0
    assert server.stderr.text.count("SIGTTOU") == 1
