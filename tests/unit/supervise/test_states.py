"""How a worker's end is told."""

from __future__ import annotations

import signal

import pytest

from asgiserve.supervise.states import Ended


@pytest.mark.parametrize(
    ("code", "text", "hint"),
    [
        (0, "ended with exit code 0", ""),
        (3, "ended with exit code 3", ""),
        (9, "ended with exit code 9", ""),
        (-signal.SIGTERM, "was ended by SIGTERM", ""),
        (-signal.SIGKILL, "was ended by SIGKILL", " (by hand, or by the system because memory ran out)"),
        (-signal.SIGSEGV, "was ended by SIGSEGV", " (a defect of an extension module, most likely)"),
        (-63, "was ended by signal 63", ""),
    ],
)
def test_an_end_is_told_by_its_code_or_signal_with_what_may_be_behind_it(code: int, text: str, hint: str) -> None:
    assert (str(Ended(code)), Ended(code).hint) == (text, hint)
