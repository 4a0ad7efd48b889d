"""What a worker's Python is started with."""

from __future__ import annotations

import sys

import pytest

from asgiserve.supervise.interpreter import interpreter_options


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
