"""Whatever happens to the workers, in whatever order: there are as many as there should be when it is over."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from asgiserve.supervise.actions import End, Failure, Start
from asgiserve.supervise.fleet import Fleet
from asgiserve.supervise.states import Ended, State, Stop

if TYPE_CHECKING:
    from collections.abc import Callable

    from asgiserve.supervise.actions import Member

EVENTS = (
    *("ready", "ready", "crash", "not started", "leaves", "ends well", "worn", "blocked"),
    *("restart", "changed", "more", "less", "time", "time"),
)


class World:
    """Processes that do as they are told, or what the test makes them do."""

    def __init__(self, workers: int, *, reload: bool) -> None:
        self.fleet = Fleet(workers, reload=reload)
        self.now = 1000.0
        self.started = 0
        self.most = 0
        self.settle()

    def settle(self) -> None:
        """Do all that is decided."""
        for _ in range(100):
            actions = self.fleet.next(self.now)
            for action in actions:
                if isinstance(action, Start):
                    self.started += 1
                    self.fleet.started(action, f"[{self.started}]")
                elif isinstance(action, End):
                    assert action.member.told == action.how
            here = [
                one for one in self.fleet.members if one.told is None and one.state in (State.STARTING, State.READY)
            ]
            self.most = max(self.most, len(here))
            if not actions:
                return
        raise AssertionError("it never comes to rest")

    def happen(self, event: str, which: int) -> None:
        fleet, members = self.fleet, self.fleet.members
        wishes: dict[str, Callable[[], object]] = {
            "restart": fleet.restart,
            "changed": lambda: fleet.changed("Changed: a.py"),
            "more": lambda: fleet.resize(1),
            "less": lambda: fleet.resize(-1),
            "time": lambda: None,
        }
        if event in wishes:
            self.now += 7.0 * (event == "time")
            if event != "changed" or fleet.reload:
                wishes[event]()
        elif members:
            self._befall(event, members[which % len(members)])
        self.settle()
        starting = [one for one in members if one.state is State.STARTING]
        assert starting or not fleet.rolling, "a restart waits for what ends"

    def _befall(self, event: str, member: Member) -> None:
        fleet = self.fleet
        if event == "ready":
            fleet.ready(member, self.now)
        elif event == "leaves":
            fleet.leaving(member, self.now)
        elif event == "worn":
            fleet.wears(member, "is old")
        elif event == "blocked":
            fleet.blocked(member, "is blocked")
        else:
            fleet.gone(member, Ended({"crash": -9, "not started": 3, "ends well": 0}[event]), self.now)

    def calm(self) -> None:
        """Workers become ready, and end as they are told, until nothing is left to do."""
        for _ in range(200):
            self.settle()
            ending = [one for one in self.fleet.members if one.told is not None or one.state is State.DRAINING]
            starting = [one for one in self.fleet.members if one.state is State.STARTING and one.told is None]
            if ending:
                self.fleet.gone(ending[0], Ended(0), self.now)
            elif starting:
                self.fleet.ready(starting[0], self.now)
            elif (wake_at := self.fleet.wake_at(self.now)) < math.inf:
                self.now = wake_at
            else:
                return
        raise AssertionError("it never comes to rest")


HISTORY = st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 7)), max_size=40)


@settings(max_examples=300, derandomize=True)
@given(workers=st.integers(1, 4), history=HISTORY)
def test_when_it_is_over_as_many_serve_as_are_wanted(workers: int, history: list[tuple[str, int]]) -> None:
    world = World(workers, reload=False)
    for event, which in history:
        world.happen(event, which)

    world.calm()

    fleet = world.fleet
    if fleet.failure is None:
        assert [one.state for one in fleet.members] == [State.READY] * fleet.target
        assert not fleet.rolling
        assert not any(one.worn for one in fleet.members)
    else:
        assert fleet.over
    wanted = workers + sum(event == "more" for event, _ in history)
    assert world.most <= wanted + 1  # the one that is to take another's place


@settings(max_examples=300, derandomize=True)
@given(workers=st.integers(1, 4), history=HISTORY)
def test_after_a_restart_none_is_left_of_those_that_were_there(workers: int, history: list[tuple[str, int]]) -> None:
    world = World(workers, reload=False)
    for event, which in history:
        world.happen(event, which)
    before, ever_ready = world.fleet.members[:], world.fleet.ever_ready

    world.happen("restart", 0)
    world.calm()

    assert not ever_ready or not set(before) & set(world.fleet.members)


@settings(max_examples=200, derandomize=True)
@given(history=HISTORY)
def test_with_reload_there_is_one_or_a_change_is_waited_for(history: list[tuple[str, int]]) -> None:
    world = World(1, reload=True)
    for event, which in history:
        world.happen(event, which)
        assert len(world.fleet.members) <= 1 + sum(one.state is State.DRAINING for one in world.fleet.members)

    world.happen("changed", 0)
    world.calm()

    assert [one.state for one in world.fleet.members] == [State.READY]


@settings(max_examples=200, derandomize=True)
@given(workers=st.integers(1, 3), history=HISTORY, how=st.sampled_from([Stop.GRACEFUL, Stop.QUICK]), after=HISTORY)
def test_after_a_stop_nothing_is_started_and_it_comes_to_its_end(
    workers: int, history: list[tuple[str, int]], how: Stop, after: list[tuple[str, int]]
) -> None:
    world = World(workers, reload=False)
    for event, which in history:
        world.happen(event, which)
    if world.fleet.failure is Failure.NOT_STARTED:
        return

    world.fleet.stop(how)
    world.settle()
    started = world.started
    for event, which in after:
        world.happen(event, which)
    world.calm()

    assert world.started == started
    assert world.fleet.over
