"""The watcher of deadlines: when it looks, how often, and what it reports."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import anyio
import pytest

from asgiserve.backend import clock
from asgiserve.connection.deadlines import TICK, Deadlines, Reason, Watcher
from tests.unit.connection.applications import errors_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio


class Watched:
    """Something with deadlines, that notes what passes and when."""

    def __init__(self, watcher: Watcher) -> None:
        self.deadlines = Deadlines(watcher)
        self.passed: list[tuple[Reason, float]] = []
        self.fails = False

    def deadline_passed(self, reason: Reason) -> None:
        self.passed.append((reason, anyio.current_time()))
        if self.fails:
            raise ValueError("in a deadline")


class Watching:
    def __init__(self) -> None:
        self.all: list[Watched] = []
        self.now = clock()
        self.watcher = Watcher(self.all, self.now)

    def watched(self) -> Watched:
        one = Watched(self.watcher)
        self.all.append(one)
        return one


@pytest.fixture
async def watching() -> AsyncIterator[Watching]:
    watching = Watching()
    async with anyio.create_task_group() as group:
        group.start_soon(watching.watcher.run)
        await anyio.sleep(1)
        yield watching
        group.cancel_scope.cancel()


async def test_a_deadline_is_reported_once_and_at_most_a_tick_late(watching: Watching) -> None:
    one = watching.watched()
    began = watching.now()
    one.deadlines.arm(Reason.BODY, began + 30)
    await anyio.sleep(100)
    ((reason, when),) = one.passed
    assert reason is Reason.BODY
    assert began + 30 <= when <= began + 30 + TICK


async def test_an_earlier_deadline_wakes_a_watcher_that_sleeps_until_a_later_one(watching: Watching) -> None:
    one, other = watching.watched(), watching.watched()
    began = watching.now()
    one.deadlines.arm(Reason.IDLE, began + 1000)
    await anyio.sleep(10)
    other.deadlines.arm(Reason.FLUSH, began + 11)
    await anyio.sleep(5)
    assert [reason for reason, _ in other.passed] == [Reason.FLUSH]
    assert one.passed == []
    await anyio.sleep(1000)
    assert [reason for reason, _ in one.passed] == [Reason.IDLE]


async def test_a_deadline_that_moves_away_is_not_reported_before_it_is_due(watching: Watching) -> None:
    one = watching.watched()
    for _ in range(20):
        one.deadlines.arm(Reason.IDLE, watching.now() + 75)
        await anyio.sleep(50)
        assert one.passed == []
    await anyio.sleep(50)
    assert len(one.passed) == 1


async def test_a_disarmed_deadline_is_not_reported(watching: Watching) -> None:
    one = watching.watched()
    now = watching.now()
    one.deadlines.arm(Reason.HEAD, now + 5)
    one.deadlines.arm(Reason.WRITE, now + 5)
    one.deadlines.arm(Reason.POLL, now + 5)
    one.deadlines.disarm(Reason.HEAD)
    await anyio.sleep(10)
    assert [reason for reason, _ in one.passed] == [Reason.WRITE, Reason.POLL]
    one.deadlines.arm(Reason.WRITE, watching.now() + 5)
    one.deadlines.disarm_all()
    await anyio.sleep(10)
    assert len(one.passed) == 2


async def test_many_deadlines_at_short_distances_are_looked_at_once_a_tick() -> None:
    looks = 0

    class Counting(list[Watched]):
        def __iter__(self):  # type: ignore[no-untyped-def]
            nonlocal looks
            looks += 1
            return super().__iter__()

    everything = Counting()
    now = clock()
    watcher = Watcher(everything, now)
    everything.extend(Watched(watcher) for _ in range(100))
    async with anyio.create_task_group() as group:
        group.start_soon(watcher.run)
        began = now()
        for number, one in enumerate(everything):
            one.deadlines.arm(Reason.BODY, began + 5 + number / 100)
        looks = 0
        await anyio.sleep(20)
        group.cancel_scope.cancel()
    # A second of deadlines is four ticks, and two scans for each: what is due, and what comes next.
    assert looks <= 12
    assert all(len(one.passed) == 1 for one in everything)


async def test_a_deadline_that_was_reported_may_be_armed_again_from_the_report(watching: Watching) -> None:
    class Polling(Watched):
        def deadline_passed(self, reason: Reason) -> None:
            super().deadline_passed(reason)
            if len(self.passed) < 4:
                self.deadlines.arm(reason, anyio.current_time() + 0.01)

    one = Polling(watching.watcher)
    watching.all.append(one)
    one.deadlines.arm(Reason.POLL, watching.now() + 1)
    await anyio.sleep(10)
    times = [when for _, when in one.passed]
    assert len(times) == 4
    assert all(later - earlier <= 2 * TICK for earlier, later in pairwise(times))


async def test_one_that_fails_does_not_keep_the_others_from_their_deadlines(
    watching: Watching, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = watching.watched(), watching.watched()
    one.fails = True
    for each in (one, other):
        each.deadlines.arm(Reason.BODY, watching.now() + 5)
    await anyio.sleep(10)
    assert len(one.passed) == len(other.passed) == 1
    assert errors_in(caplog) == ["Unexpected error in a deadline"]
    other.deadlines.arm(Reason.BODY, watching.now() + 5)
    await anyio.sleep(10)
    assert len(other.passed) == 2
