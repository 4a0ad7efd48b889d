"""A bound that leaves out one pause of the process, wherever that falls between what the bound does."""

from __future__ import annotations

import math

import pytest

from asgiserve.process.countdown import LOOK_SECONDS, Countdown

BOUND = 2.7
PAUSE = 3.0


def about(seconds: float) -> object:
    """It is looked at that often."""
    return pytest.approx(seconds, abs=2 * LOOK_SECONDS)


class Clock:
    """Each reading takes some time, and a pause comes before the one with its number."""

    def __init__(self, paused_before: float = math.inf) -> None:
        self.now = 1000.0
        self.readings = 0
        self.paused_before = paused_before

    def __call__(self) -> float:
        self.readings += 1
        self.now += 0.001
        if self.readings == self.paused_before:
            self.now += PAUSE
        return self.now


def seconds_until_over(clock: Clock, countdown: Countdown) -> float:
    began = clock.now
    while not countdown.over():
        clock.now += LOOK_SECONDS
    return clock.now - began


def test_it_is_over_when_the_time_is() -> None:
    clock = Clock()
    countdown = Countdown(clock)
    countdown.end_within(BOUND)

    assert seconds_until_over(clock, countdown) == about(BOUND)


@pytest.mark.parametrize("reading", range(2, 28))
def test_a_pause_is_left_out_whenever_it_comes(reading: int) -> None:
    clock = Clock(paused_before=reading)
    countdown = Countdown(clock)
    countdown.end_within(BOUND)

    assert seconds_until_over(clock, countdown) == about(PAUSE + BOUND)


def test_a_pause_before_it_is_told_how_long_does_not_matter() -> None:
    clock = Clock(paused_before=1)
    countdown = Countdown(clock)
    countdown.end_within(BOUND)

    assert seconds_until_over(clock, countdown) == about(BOUND)


def test_only_one_pause_is_left_out() -> None:
    """Code that keeps Python's lock again and again is to be bounded."""
    clock = Clock(paused_before=5)
    countdown = Countdown(clock)
    countdown.end_within(2 * PAUSE)
    assert not countdown.over()
    clock.now += PAUSE

    assert seconds_until_over(clock, countdown) == about(2 * PAUSE)


def test_a_wait_on_a_busy_machine_is_no_pause() -> None:
    clock = Clock()
    countdown = Countdown(clock)
    countdown.end_within(BOUND)
    for _ in range(2):
        assert not countdown.over()
        clock.now += LOOK_SECONDS + 0.9

    assert seconds_until_over(clock, countdown) == about(BOUND - 2)


def test_more_time_never_lengthens_it_and_less_shortens_it() -> None:
    clock = Clock()
    countdown = Countdown(clock)
    countdown.end_within(BOUND)
    countdown.end_within(BOUND + 1)
    countdown.end_within(0.5)

    assert seconds_until_over(clock, countdown) == about(0.5)
