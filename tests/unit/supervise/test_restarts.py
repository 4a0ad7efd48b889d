"""How soon a worker that died is replaced."""

from __future__ import annotations

from asgiserve.supervise.restarts import LONGEST_DELAY_SECONDS, STEADY_SECONDS, WAVES, WINDOW_SECONDS, Restarts


def test_the_first_death_is_made_good_at_once() -> None:
    assert Restarts().died(0.0, 0.0) == 0.0


def test_each_wave_of_deaths_doubles_the_wait() -> None:
    restarts = Restarts()

    assert [restarts.died(second, 0.0) for second in (0.0, 2.0, 4.0, 7.0, 12.0)] == [0.0, 0.5, 1.0, 2.0, 4.0]


def test_the_wait_has_a_longest() -> None:
    restarts = Restarts()

    assert max(restarts.died(2.0 * number, 0.0) for number in range(20)) == LONGEST_DELAY_SECONDS


def test_workers_that_die_together_are_one_wave() -> None:
    restarts = Restarts()

    assert {restarts.died(0.01 * number, 0.0) for number in range(16)} == {0.0}
    assert not restarts.too_many(1.0)


def test_what_had_served_for_a_while_is_replaced_at_once_however_often() -> None:
    restarts = Restarts()

    assert {restarts.died(2.0 * number, STEADY_SECONDS) for number in range(20)} == {0.0}
    assert not restarts.too_many(40.0)


def test_deaths_are_forgotten_after_a_minute() -> None:
    restarts = Restarts()
    for number in range(WAVES + 1):
        restarts.died(2.0 * number, 0.0)
    assert restarts.too_many(12.0)

    assert not restarts.too_many(WINDOW_SECONDS + 0.1)
    assert restarts.died(2 * WINDOW_SECONDS, 0.0) == 0.0
