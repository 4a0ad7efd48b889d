"""Which workers there should be: the rules of the supervisor, with a clock that the test turns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from asgiserve.supervise.actions import End, Failure, Say, Start
from asgiserve.supervise.fleet import REPLACE_AGAIN_SECONDS, Fleet
from asgiserve.supervise.restarts import STEADY_SECONDS
from asgiserve.supervise.states import GAVE_UP, Ended, State, Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from asgiserve.supervise.actions import Action, Member

KILLED = Ended(-9)
WELL = Ended(0)
NOT_STARTED = Ended(3)


class Run:
    """A fleet, with what is done about its decisions: processes that start and end when the test says so."""

    def __init__(self, workers: int = 2, *, reload: bool = False) -> None:
        self.fleet = Fleet(workers, reload=reload)
        self.now = 100.0
        self.lines: list[str] = []
        self.ended: list[tuple[str, Stop]] = []
        self._started = 0
        self.step()

    def step(self, after: float = 0.0) -> list[Member]:
        """Let time pass, and do what is decided; the members that were started."""
        self.now += after
        new: list[Member] = []
        for action in self.fleet.next(self.now):
            if isinstance(action, Start):
                self._started += 1
                new.append(self.fleet.started(action, f"[{self._started}]"))
            elif isinstance(action, End):
                self.ended.append((action.member.name, action.how))
            else:
                self.lines.append(action.text)
        return new

    def ready(self, *members: Member, after: float = 0.0) -> list[Member]:
        self.now += after
        for member in members:
            self.fleet.ready(member, self.now)
        return self.step()

    def gone(self, member: Member, ended: Ended = WELL, after: float = 0.0) -> list[Member]:
        self.now += after
        if ended.code == 0:
            self.fleet.leaving(member, self.now)
        self.fleet.gone(member, ended, self.now)
        return self.step()

    @property
    def names(self) -> dict[str, State]:
        return {one.name: one.state for one in self.fleet.members}

    @property
    def serving(self) -> list[str]:
        return [one.name for one in self.fleet.members if one.serves and one.state is State.READY]


def all_ready(workers: int = 2) -> Run:
    run = Run(workers)
    rest = run.ready(*run.fleet.members)
    run.ready(*rest)
    run.lines.clear()
    return run


def member(run: Run, name: str) -> Member:
    (found,) = [one for one in run.fleet.members if one.name == name]
    return found


def said(run: Run, *parts: str) -> bool:
    return any(all(part in line for part in parts) for line in run.lines)


# --- the start --------------------------------------------------------------------------------


def test_the_first_worker_starts_alone_and_the_others_when_it_is_ready() -> None:
    run = Run(3)
    assert run.names == {"[1]": State.STARTING}

    run.ready(member(run, "[1]"))

    assert run.names == {"[1]": State.READY, "[2]": State.STARTING, "[3]": State.STARTING}


@pytest.mark.parametrize("ended", [NOT_STARTED, KILLED, WELL], ids=str)
def test_a_first_worker_that_ends_before_it_is_ready_ends_everything(ended: Ended) -> None:
    run = Run(3)

    run.fleet.gone(member(run, "[1]"), ended, run.now)
    run.step()

    assert run.fleet.over
    assert (run.fleet.failure, run.fleet.failed) == (Failure.NOT_STARTED, ended)


def test_a_later_worker_that_does_not_start_is_tried_again() -> None:
    run = Run(2)
    (second,) = run.ready(member(run, "[1]"))

    assert [one.name for one in run.gone(second, NOT_STARTED)] == ["[3]"]
    assert said(run, "[2] ended with exit code 3 before it was ready; another one is started now")


# --- deaths -----------------------------------------------------------------------------------


def test_a_worker_that_was_killed_is_replaced_at_once_and_the_line_says_how_it_ended() -> None:
    run = all_ready()

    new = run.gone(member(run, "[1]"), KILLED)

    assert [one.name for one in new] == ["[3]"]
    assert said(run, "[1] was ended by SIGKILL (by hand, or by the system because memory ran out)", "started now")


def test_one_that_dies_again_is_replaced_after_a_wait() -> None:
    run = all_ready()
    (third,) = run.gone(member(run, "[1]"), KILLED)
    run.ready(third, after=1.5)

    assert run.gone(third, KILLED) == []
    assert run.fleet.wake_at(run.now) == run.now + 0.5
    assert run.step(0.4) == []
    assert len(run.step(0.1)) == 1


def die(run: Run, times: int) -> None:
    """The youngest worker is ready after a second and a half, and dies, so many times."""
    for _ in range(times):
        young = run.fleet.members[-1]
        run.ready(young, after=1.5)
        run.gone(young, Ended(1))
        wake_at = run.fleet.wake_at(run.now)
        run.step(0.0 if wake_at == math.inf else wake_at - run.now)


def test_workers_that_end_as_soon_as_they_start_end_the_supervisor() -> None:
    run = all_ready(1)

    die(run, 5)
    assert run.fleet.failure is None
    die(run, 1)

    assert run.fleet.failure is Failure.CRASHES
    assert run.fleet.over
    assert said(run, "Workers end as soon as they start: giving up.")


def test_they_do_not_while_another_one_serves() -> None:
    run = all_ready(2)
    run.step(STEADY_SECONDS)

    die(run, 20)

    assert run.fleet.failure is None
    assert "[1]" in run.serving


def test_a_worker_that_somebody_else_has_told_to_end_is_replaced_while_it_drains() -> None:
    run = all_ready()

    run.fleet.leaving(member(run, "[1]"), run.now)
    new = run.step()

    assert [one.name for one in new] == ["[3]"]
    assert said(run, "[1] accepts no more, and not by our word")
    assert run.gone(member(run, "[1]"), WELL) == []
    assert run.lines[-1] == "Worker [1] has ended."


def test_one_whose_lifespan_has_failed_counts_as_dead() -> None:
    run = all_ready(1)
    run.fleet.leaving(member(run, "[1]"), run.now)
    run.step()

    run.gone(member(run, "[1]"), Ended(1))

    assert said(run, "[1] ended with exit code 1; another one is started now")
    assert run.names == {"[2]": State.STARTING}


def test_workers_that_leave_by_themselves_again_and_again_are_replaced_after_a_wait() -> None:
    run = all_ready(1)
    waits = []
    for _ in range(4):
        young = run.fleet.members[-1]
        run.ready(young, after=1.5)
        run.gone(young, WELL)
        wake_at = run.fleet.wake_at(run.now)
        waits.append(0.0 if wake_at == math.inf else wake_at - run.now)
        run.step(waits[-1])

    assert waits == [0.0, 0.5, 1.0, 2.0]


# --- rolling ----------------------------------------------------------------------------------


def test_a_restart_replaces_one_by_one_and_each_drains_when_the_new_one_is_ready() -> None:
    run = all_ready(2)

    run.fleet.restart()
    (third,) = run.step()
    assert run.ended == []

    (fourth,) = run.ready(third)
    assert run.ended == [("[1]", Stop.GRACEFUL)]
    assert sorted(run.serving) == ["[2]", "[3]"]

    assert run.ready(fourth) == []
    assert run.ended == [("[1]", Stop.GRACEFUL), ("[2]", Stop.GRACEFUL)]
    assert run.lines[-1] == "All workers have been replaced."


def test_a_new_worker_that_fails_leaves_the_old_ones_in_place() -> None:
    run = all_ready(3)
    run.fleet.restart()
    (new,) = run.step()

    assert run.gone(new, NOT_STARTED) == []

    assert run.ended == []
    assert sorted(run.serving) == ["[1]", "[2]", "[3]"]
    assert said(run, "it says why above. The restart is given up: the old workers stay.")
    assert run.step(3600) == []


def test_an_old_worker_that_dies_while_its_successor_starts_is_not_replaced_twice() -> None:
    run = all_ready(2)
    run.fleet.restart()
    (new,) = run.step()

    assert run.gone(member(run, "[1]"), KILLED) == []
    (last,) = run.ready(new)
    run.ready(last)

    assert sorted(run.serving) == ["[3]", "[4]"]


def test_a_restart_is_not_over_while_the_successor_of_one_that_died_is_starting() -> None:
    run = all_ready(1)
    run.fleet.restart()
    (new,) = run.step()

    run.gone(member(run, "[1]"), KILLED)
    assert run.fleet.rolling
    assert not said(run, "All workers have been replaced.")

    run.ready(new)
    assert run.lines[-1] == "All workers have been replaced."


def test_nor_while_the_one_for_an_old_worker_that_died_before_its_turn_is_starting() -> None:
    run = all_ready(2)
    run.fleet.restart()
    (third,) = run.step()

    (fourth,) = run.gone(member(run, "[2]"), KILLED)
    assert run.ready(third) == []
    assert run.fleet.rolling

    run.ready(fourth)
    assert run.lines[-1] == "All workers have been replaced."
    assert not run.fleet.rolling


DRAINS: dict[str, Callable[[Run, Member], object]] = {
    "SIGTERM": lambda run, one: run.fleet.leaving(one, run.now),
    "SIGTTOU": lambda run, _: run.fleet.resize(-1),
    "blocked": lambda run, one: run.fleet.blocked(one, "has not turned its event loop for 5 s"),
}


@pytest.mark.parametrize("drains", DRAINS.values(), ids=DRAINS)
def test_a_restart_does_not_wait_for_an_old_worker_that_drains_whoever_has_told_it(
    drains: Callable[[Run, Member], object],
) -> None:
    run = all_ready(2)
    run.fleet.restart()
    (third,) = run.step()

    drains(run, member(run, "[2]"))
    run.ready(third, *run.step())

    assert run.lines[-1] == "All workers have been replaced."
    assert not run.fleet.rolling
    assert "[2]" in run.names
    run.fleet.restart()
    assert [one.replaces for one in run.step()] == [third]


def test_a_restart_does_not_wait_until_a_successor_that_failed_is_tried_again() -> None:
    run = all_ready(1)
    run.fleet.restart()
    (new,) = run.step()

    run.gone(member(run, "[1]"), KILLED)
    (third,) = run.gone(new, NOT_STARTED)
    assert run.fleet.rolling
    assert run.gone(third, NOT_STARTED, after=1.5) == []  # another one is started after a wait

    assert not run.fleet.rolling
    assert run.lines[-1] == "The restart is over, but for 1 worker yet to start."


def test_a_second_restart_waits_for_the_first() -> None:
    run = all_ready(1)
    run.fleet.restart()
    (second,) = run.step()

    run.fleet.restart()
    run.fleet.restart()
    (third,) = run.ready(second)

    assert run.ready(third) == []
    assert run.serving == ["[3]"]


def test_a_restart_replaces_also_a_worker_that_is_still_starting() -> None:
    run = Run(2)
    (second,) = run.ready(member(run, "[1]"))

    run.fleet.restart()
    assert run.step() == []
    assert run.lines[-1] == "Replacing 2 workers one by one."

    (third,) = run.ready(second)
    (fourth,) = run.ready(third)
    run.ready(fourth)
    assert run.ended == [("[1]", Stop.GRACEFUL), ("[2]", Stop.GRACEFUL)]
    assert run.lines[-1] == "All workers have been replaced."


def test_also_the_only_one_that_starts_after_a_death() -> None:
    run = all_ready(1)
    (second,) = run.gone(member(run, "[1]"), KILLED)

    run.fleet.restart()
    (third,) = run.ready(second)
    run.ready(third)

    assert run.serving == ["[3]"]


@pytest.mark.parametrize("soon_enough", [True, False])
def test_a_worker_that_starts_in_the_place_of_one_at_its_limit_ends_at_a_restart(soon_enough: bool) -> None:
    run = all_ready(2)
    run.fleet.wears(member(run, "[1]"), "has taken up 500 requests, its limit")
    (third,) = run.step()

    run.fleet.restart()
    assert run.step() == []
    if not soon_enough:
        assert run.ready(third)
    assert run.ended == [("[3]", Stop.GRACEFUL)]

    if soon_enough:
        run.gone(third, Ended(-15))
    run.ready(member(run, "[4]"))
    run.ready(member(run, "[5]"))
    assert run.ended == [("[3]", Stop.GRACEFUL), ("[1]", Stop.GRACEFUL), ("[2]", Stop.GRACEFUL)]
    assert said(run, "Replacing 2 workers one by one.")


def test_a_restart_before_any_worker_is_ready_does_nothing() -> None:
    run = Run(2)

    run.fleet.restart()

    assert run.step() == []
    assert said(run, "No worker is ready yet")


# --- limits -----------------------------------------------------------------------------------


def test_a_worker_that_has_reached_a_limit_drains_when_its_successor_is_ready() -> None:
    run = all_ready(2)

    run.fleet.wears(member(run, "[2]"), "has taken up 500 requests, its limit")
    run.fleet.wears(member(run, "[2]"), "has taken up 501 requests, its limit")
    (new,) = run.step()
    run.ready(new)

    assert run.ended == [("[2]", Stop.GRACEFUL)]
    assert run.lines[0] == "Worker [2] has taken up 500 requests, its limit: to be replaced."
    assert len([line for line in run.lines if "its limit" in line]) == 1


def test_workers_that_reach_it_together_are_replaced_one_by_one() -> None:
    run = all_ready(2)
    for one in run.fleet.members:
        run.fleet.wears(one, "has served for 60 s, its limit")

    (first,) = run.step()
    (second,) = run.ready(first)
    run.ready(second)

    assert [name for name, _ in run.ended] == ["[1]", "[2]"]


def test_when_its_successor_fails_it_stays_and_another_attempt_follows() -> None:
    run = all_ready(1)
    run.fleet.wears(member(run, "[1]"), "has 600 MiB of memory")
    (new,) = run.step()

    assert run.gone(new, NOT_STARTED) == []
    assert run.serving == ["[1]"]
    assert run.fleet.wake_at(run.now) == run.now + REPLACE_AGAIN_SECONDS
    assert len(run.step(REPLACE_AGAIN_SECONDS)) == 1


def test_a_death_is_made_good_at_once_also_while_such_an_attempt_waits() -> None:
    run = all_ready(2)
    run.fleet.wears(member(run, "[1]"), "has 600 MiB of memory")
    (new,) = run.step()
    run.gone(new, NOT_STARTED)

    assert len(run.gone(member(run, "[2]"), KILLED)) == 1


def test_a_worker_whose_loop_is_blocked_is_replaced_at_once() -> None:
    run = all_ready(2)

    assert run.fleet.blocked(member(run, "[1]"), "has not turned its event loop for 5 s")
    assert not run.fleet.blocked(member(run, "[1]"), "again")

    assert len(run.step()) == 1
    assert run.gone(member(run, "[1]"), KILLED) == []


# --- more and less ----------------------------------------------------------------------------


def test_one_more_and_one_less() -> None:
    run = all_ready(1)
    run.fleet.resize(1)
    (second,) = run.step()
    run.ready(second)

    run.fleet.resize(-1)
    run.step()

    assert run.ended == [("[2]", Stop.GRACEFUL)]
    assert [line for line in run.lines if "from now on" in line] == ["2 workers from now on.", "1 worker from now on."]


def test_the_last_one_stays() -> None:
    run = all_ready(1)

    run.fleet.resize(-1)

    assert run.step() == []
    assert run.ended == []
    assert said(run, "The last worker stays")


# --- the stop ---------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [Stop.GRACEFUL, Stop.QUICK])
def test_a_stop_tells_all_and_starts_none(how: Stop) -> None:
    run = all_ready(2)

    run.fleet.stop(how)
    run.step()
    assert run.ended == [("[1]", how), ("[2]", how)]

    assert run.gone(member(run, "[1]"), WELL) == []
    assert not run.fleet.over
    run.gone(member(run, "[2]"), WELL)
    assert run.fleet.over
    assert run.fleet.bad_ends == 0


def test_a_worker_that_gives_up_because_it_was_told_in_the_moment_it_was_ready_has_ended_well() -> None:
    run = all_ready(1)
    run.fleet.stop(Stop.GRACEFUL)
    run.step()
    run.gone(member(run, "[1]"), Ended(GAVE_UP))
    assert run.fleet.over
    assert run.fleet.bad_ends == 0


def test_a_worker_whose_process_is_made_while_the_stop_comes_is_told_too() -> None:
    run = all_ready(1)
    (start,) = [one for one in _decided_after_a_death(run) if isinstance(one, Start)]
    run.fleet.stop(Stop.GRACEFUL)

    late = run.fleet.started(start, "[late]")

    assert End(late, Stop.GRACEFUL) in run.fleet.next(run.now)


def _decided_after_a_death(run: Run) -> list[Action]:
    run.fleet.gone(member(run, "[1]"), KILLED, run.now)
    return run.fleet.next(run.now)


def test_more_is_told_again_and_less_is_not() -> None:
    run = all_ready(1)
    for how in (Stop.QUICK, Stop.GRACEFUL, Stop.ABORT, Stop.ABORT, Stop.KILL):
        run.fleet.stop(how)
    run.step()

    assert [how for _, how in run.ended] == [Stop.QUICK, Stop.ABORT, Stop.KILL]


def test_one_that_drains_already_is_told_more_at_a_quick_stop() -> None:
    run = all_ready(1)
    run.fleet.restart()
    (new,) = run.step()
    run.ready(new)
    run.ended.clear()

    run.fleet.stop(Stop.QUICK)
    run.step()

    assert run.ended == [("[1]", Stop.QUICK), ("[2]", Stop.QUICK)]


@pytest.mark.parametrize("wishes", [1, 2])
def test_a_restart_is_over_when_a_stop_begins_and_nobody_says_that_all_are_replaced(wishes: int) -> None:
    run = all_ready(2)
    for _ in range(wishes):
        run.fleet.restart()
    (new,) = run.step()
    run.lines.clear()

    run.fleet.stop(Stop.GRACEFUL)
    assert not run.fleet.rolling
    run.ready(new)
    for one in ("[1]", "[2]", "[3]"):
        run.gone(member(run, one), WELL)

    assert run.fleet.over
    assert run.lines == ["Worker [3] is ready."]


def test_a_worker_that_ends_badly_at_the_stop_is_counted() -> None:
    run = all_ready(2)
    run.fleet.stop(Stop.GRACEFUL)

    run.gone(member(run, "[1]"), Ended(1))
    run.gone(member(run, "[2]"), KILLED)

    assert run.fleet.bad_ends == 2


def test_a_worker_that_was_starting_is_not_counted() -> None:
    run = Run(2)
    run.fleet.stop(Stop.GRACEFUL)

    run.gone(member(run, "[1]"), Ended(-15))

    assert run.fleet.over
    assert run.fleet.bad_ends == 0


def test_workers_accept_until_the_last_that_is_ready_leaves_or_ends() -> None:
    run = all_ready(2)
    run.fleet.resize(1)
    (starting,) = run.step()
    run.fleet.stop(Stop.GRACEFUL)

    run.gone(starting, Ended(-15))
    run.gone(member(run, "[1]"), KILLED)
    assert run.fleet.accepting

    run.fleet.leaving(member(run, "[2]"), run.now)
    assert not run.fleet.accepting


@pytest.mark.parametrize("wish", ["restart", "changed", "resize", "wears"])
def test_no_wish_is_heard_while_stopping(wish: str) -> None:
    run = all_ready(1)
    run.fleet.stop(Stop.GRACEFUL)
    run.step()
    wishes = {
        "restart": run.fleet.restart,
        "changed": lambda: run.fleet.changed("Changed: a.py"),
        "resize": lambda: run.fleet.resize(1),
        "wears": lambda: run.fleet.wears(run.fleet.members[0], "is old"),
    }

    wishes[wish]()

    assert run.step() == []


# --- reload -----------------------------------------------------------------------------------


def test_with_reload_the_old_worker_ends_before_the_new_one_starts() -> None:
    run = Run(1, reload=True)
    run.ready(member(run, "[1]"))

    run.fleet.changed("Changed: app.py")
    assert run.step() == []
    assert run.ended == [("[1]", Stop.QUICK)]

    assert [one.name for one in run.gone(member(run, "[1]"), WELL)] == ["[2]"]


@pytest.mark.parametrize("ready_first", [True, False])
def test_one_that_fails_waits_for_a_change(ready_first: bool) -> None:
    run = Run(1, reload=True)
    if ready_first:
        run.ready(member(run, "[1]"))

    assert run.gone(member(run, "[1]"), NOT_STARTED) == []
    assert said(run, "[1] ended with exit code 3", "waiting for a change of files.")
    assert run.step(3600) == []

    run.fleet.changed("Changed: app.py")
    assert len(run.step()) == 1


def test_with_reload_limits_do_not_apply() -> None:
    run = Run(1, reload=True)
    run.ready(member(run, "[1]"))

    run.fleet.wears(member(run, "[1]"), "has taken up 500 requests")

    assert not run.fleet.blocked(member(run, "[1]"), "has not turned its event loop")
    assert run.step() == []
    assert run.serving == ["[1]"]


def test_a_change_while_the_new_one_starts_begins_again() -> None:
    run = Run(1, reload=True)

    run.fleet.changed("Changed: app.py")
    run.step()

    assert run.ended == [("[1]", Stop.QUICK)]
    assert len(run.gone(member(run, "[1]"), Ended(GAVE_UP))) == 1


# --- whatever happens -------------------------------------------------------------------------


def lines_of(actions: Iterable[object]) -> list[str]:
    return [one.text for one in actions if isinstance(one, Say)]


@pytest.mark.parametrize("code", [0, 1, 3, -9, -15, -64])
def test_every_end_has_a_sentence(code: int) -> None:
    run = all_ready(2)
    run.fleet.gone(member(run, "[1]"), Ended(code), run.now)

    (line,) = lines_of(run.fleet.next(run.now))

    assert line.startswith("Worker [1] ")
    assert line.endswith((".", "now."))
