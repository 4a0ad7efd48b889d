"""Who is told of a signal, from the first to the last; the moments in between are in `tests/live`."""

from __future__ import annotations

import signal
from signal import SIGINT, SIGTERM, SIGUSR1, SIGUSR2
from typing import TYPE_CHECKING

import anyio
import pytest

from asgiserve.process.taken_signals import TakenSignals, put_back

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asgiserve.process.waiting import Waiting

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def signals_of_the_tests() -> Iterator[None]:
    with put_back():
        yield


async def heard(received: Waiting[signal.Signals], count: int) -> list[signal.Signals]:
    with anyio.fail_after(10):
        return [await anext(received) for _ in range(count)]


async def test_what_came_before_the_loop_listens_is_heard_by_it() -> None:
    taken = TakenSignals(SIGTERM, SIGUSR1)
    signal.raise_signal(SIGUSR1)
    signal.raise_signal(SIGTERM)

    with taken.received() as received:
        assert await heard(received, 2) == [SIGUSR1, SIGTERM]


async def test_each_is_noticed_before_the_loop_turns_and_heard_when_it_does() -> None:
    noticed: list[signal.Signals] = []

    with TakenSignals(SIGTERM).received(noticed.append) as received:
        signal.raise_signal(SIGTERM)
        assert noticed == [SIGTERM]

        signal.raise_signal(SIGTERM)
        assert await heard(received, 2) == [SIGTERM, SIGTERM]


async def test_a_task_that_waits_hears_of_the_next_one() -> None:
    said: list[signal.Signals] = []

    async def hear(received: Waiting[signal.Signals]) -> None:
        async for number in received:
            said.append(number)  # noqa: PERF401 - the list is read meanwhile

    with TakenSignals(SIGUSR1, SIGUSR2).received() as received:
        async with anyio.create_task_group() as group:
            group.start_soon(hear, received)
            for number in (SIGUSR1, SIGUSR2, SIGUSR1):
                await anyio.wait_all_tasks_blocked()
                signal.raise_signal(number)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
    assert said == [SIGUSR1, SIGUSR2, SIGUSR1]


async def test_at_most_sixteen_of_a_number_wait_for_a_blocked_loop_and_leave_room_for_others() -> None:
    with TakenSignals(SIGUSR1, SIGTERM).received() as received:
        for _ in range(50):
            signal.raise_signal(SIGUSR1)
        signal.raise_signal(SIGTERM)

        assert await heard(received, 17) == [*[SIGUSR1] * 16, SIGTERM]


async def test_behind_the_loops_part_somebody_else_is_told_and_nobody_elses_handler_is_there() -> None:
    told: list[signal.Signals] = []
    taken = TakenSignals(SIGINT, SIGTERM)
    ours = signal.getsignal(SIGTERM)

    with taken.received(behind=told.append):
        pass
    signal.raise_signal(SIGTERM)
    signal.raise_signal(SIGINT)

    assert told == [SIGTERM, SIGINT]
    assert signal.getsignal(SIGTERM) == signal.getsignal(SIGINT) == ours


async def test_a_handler_that_the_application_has_put_in_place_goes_with_the_loops_part() -> None:
    told: list[signal.Signals] = []

    with TakenSignals(SIGTERM).received(behind=told.append):
        signal.signal(SIGTERM, signal.SIG_IGN)
    signal.raise_signal(SIGTERM)

    assert told == [SIGTERM]


@pytest.mark.parametrize(("number", "error"), [(SIGINT, KeyboardInterrupt), (SIGTERM, SystemExit)])
async def test_the_first_one_ends_what_is_interruptible_and_the_next_ones_do_not_disturb_its_end(
    number: signal.Signals, error: type[BaseException]
) -> None:
    cleaned_up = False

    def interrupted() -> None:
        nonlocal cleaned_up
        with TakenSignals(SIGINT, SIGTERM).interrupting():
            try:
                signal.raise_signal(number)
            finally:
                for one in (SIGINT, SIGTERM) * 20:
                    signal.raise_signal(one)
                cleaned_up = True

    with pytest.raises(error) as caught:
        interrupted()

    assert cleaned_up
    if isinstance(caught.value, SystemExit):
        assert caught.value.code == 143


@pytest.mark.parametrize(("number", "error"), [(SIGINT, KeyboardInterrupt), (SIGTERM, SystemExit)])
@pytest.mark.parametrize("becomes", [None, RuntimeError("no optional module")])
async def test_who_swallows_the_exception_or_makes_another_one_of_it_is_ended_behind_that(
    number: signal.Signals, error: type[BaseException], becomes: Exception | None
) -> None:
    went_on = False

    def interrupted() -> None:
        nonlocal went_on
        with TakenSignals(SIGINT, SIGTERM).interrupting():
            try:
                signal.raise_signal(number)
            except BaseException:
                went_on = True
                if becomes is not None:
                    raise becomes from None

    with pytest.raises(error) as caught:
        interrupted()

    assert went_on
    if isinstance(caught.value, SystemExit):
        assert caught.value.code == 143


async def test_what_came_before_ends_it_at_its_beginning() -> None:
    taken = TakenSignals(SIGTERM)
    signal.raise_signal(SIGTERM)

    with pytest.raises(SystemExit), taken.interrupting():
        pytest.fail("it has begun")


async def test_what_ends_nothing_is_kept_and_so_is_what_comes_between_the_two() -> None:
    taken = TakenSignals(SIGTERM, SIGUSR1, SIGUSR2)
    signal.raise_signal(SIGUSR2)
    with taken.interrupting():
        signal.raise_signal(SIGUSR1)
    signal.raise_signal(SIGTERM)

    with taken.received() as received:
        assert await heard(received, 3) == [SIGUSR2, SIGUSR1, SIGTERM]


async def test_a_program_that_goes_on_has_its_handlers_again() -> None:
    def own(*_: object) -> None: ...

    signal.signal(SIGUSR1, own)
    before = signal.getsignal(SIGTERM)

    with put_back():
        TakenSignals(SIGUSR1, SIGTERM)
        assert signal.getsignal(SIGUSR1) is not own
        signal.pthread_sigmask(signal.SIG_BLOCK, (SIGUSR1,))

    assert signal.getsignal(SIGUSR1) is own
    assert signal.getsignal(SIGTERM) == before
    assert SIGUSR1 not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
