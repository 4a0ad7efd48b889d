"""How much memory a process has, from outside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from asgiserve.supervise import memory
from asgiserve.supervise.memory import resident_bytes, size_text


@pytest.fixture(params=["/proc", "ps"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux has /proc, and other systems have ps; where both are there, both must work."""
    if request.param == "ps":
        if shutil.which("ps") is None:
            pytest.skip("there is no ps here")
        monkeypatch.setattr(memory, "_HAS_PROC", False)
    elif not os.path.exists("/proc/self/statm"):
        pytest.skip("there is no /proc here")


@pytest.mark.usefixtures("way")
def test_what_a_process_takes_is_seen() -> None:
    before = resident_bytes(os.getpid())
    taken = bytearray(64 << 20)
    after = resident_bytes(os.getpid())

    assert before is not None
    assert after is not None
    assert (48 << 20) < after - before < (96 << 20)
    assert taken[-1] == 0


@pytest.mark.usefixtures("way")
def test_a_process_that_has_ended_has_none() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()

    assert resident_bytes(process.pid) is None


def test_sizes_are_told_in_mebibytes() -> None:
    assert size_text(512 << 20) == "512 MiB"
