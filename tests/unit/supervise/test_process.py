"""What a worker's process is started with, and what keeps it from being started."""

from __future__ import annotations

import errno
import sys
from typing import Any

import anyio
import pytest

from asgiserve.config import Processes, Timeouts
from asgiserve.supervise.process import interpreter_options, spawn


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["-m", "asgiserve", "-x"], []),
        (["/usr/bin/asgiserve", "-W", "app:app"], []),
        (["-X", "dev", "-W", "error", "-m", "asgiserve"], ["-X", "dev", "-W", "error"]),
        (["-Xdev", "-Werror", "-O", "-m", "asgiserve"], ["-Xdev", "-Werror", "-O"]),
        (["-u", "program.py", "-O"], ["-u"]),
        (["-Im", "asgiserve"], ["-I"]),
        (["-O", "-uBm", "asgiserve", "-v"], ["-O", "-uB"]),
        (["-Oc", "import asgiserve"], ["-O"]),
        (["-masgiserve"], []),
        (["-OWerror::x:module", "-BXdev", "-m", "asgiserve"], ["-OWerror::x:module", "-BXdev"]),
        (["-OW", "module", "-c", "import asgiserve"], ["-OW", "module"]),
        (["-u", "-"], ["-u"]),
        (["-c", "import asgiserve"], []),
        (["--check-hash-based-pycs", "always", "-"], ["--check-hash-based-pycs", "always"]),
        ([], []),
    ],
)
def test_a_worker_has_the_interpreters_options(
    monkeypatch: pytest.MonkeyPatch, words: list[str], options: list[str]
) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", *words])

    assert interpreter_options() == options


@pytest.mark.anyio
async def test_that_no_thread_can_be_started_is_as_that_no_process_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """Event loops start processes, or wait for them, in a thread. Whoever tries again later is told in one way."""

    async def no_thread(*words: Any, **options: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(anyio, "open_process", no_thread)

    with pytest.raises(OSError, match="can't start new thread") as raised:
        await spawn(b"plan", [], Processes(), Timeouts())

    assert raised.value.errno == errno.EAGAIN
