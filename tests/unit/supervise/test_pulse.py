"""Whether a worker's event loop turns."""

from __future__ import annotations

import math

import pytest

from asgiserve.supervise.pulse import Pulse, Verdict

ASK, WAIT, BLOCKED = Verdict.ASK, Verdict.WAIT, Verdict.BLOCKED


def test_a_loop_that_answers_is_asked_again() -> None:
    pulse = Pulse(8.0, 0.0)

    assert pulse.look(2.0) is ASK
    pulse.answered()
    assert pulse.look(4.0) is ASK


def test_a_loop_that_does_not_answer_is_not_asked_twice_and_blocked_at_the_limit() -> None:
    pulse = Pulse(8.0, 0.0)

    assert [pulse.look(moment) for moment in (2.0, 4.0, 6.0, 8.0, 9.9, 10.0)] == [ASK, WAIT, WAIT, WAIT, WAIT, BLOCKED]


def test_a_late_answer_counts() -> None:
    pulse = Pulse(8.0, 0.0)
    for moment in (2.0, 4.0, 6.0, 8.0, 9.9):
        pulse.look(moment)

    pulse.answered()

    assert pulse.look(10.0) is ASK


def test_a_supervisor_that_was_held_up_itself_begins_again() -> None:
    pulse = Pulse(8.0, 0.0)
    assert pulse.look(2.0) is ASK

    assert pulse.look(3600.0) is ASK
    assert pulse.look(3602.0) is WAIT


@pytest.mark.parametrize("moment", [1.0, 1e9])
def test_without_a_limit_nobody_is_asked(moment: float) -> None:
    assert Pulse(math.inf, 0.0).look(moment) is WAIT
