"""Which workers there should be, and what is to be done next for it: the rules of the supervisor.

No I/O, no clock, no log: events and moments come in, and `next()` says what to do, sentences for the log included. What
it decides depends on the states as they are, not on the order in which they came about; so an event that comes twice,
or at an awkward moment, changes nothing. supervisor.py does what is decided here.

The rules:
- the first worker starts alone: an application that does not start says so once, not once for each worker
- a replacement is ready before the old worker drains, one at a time; one that fails leaves the old one in its place
- a worker that died is replaced at once, later with a wait (restarts.py)
- with `reload` it is the other way round: the old worker ends first, and one that failed waits for a change
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from asgiserve.supervise.actions import End, Failure, Member, Say, Start
from asgiserve.supervise.restarts import STEADY_SECONDS, Restarts
from asgiserve.supervise.states import GAVE_UP, NOT_STARTED, State, Stop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asgiserve.supervise.actions import Action
    from asgiserve.supervise.states import Ended

__all__ = ["Fleet", "counted"]


REPLACE_AGAIN_SECONDS: Final = 15.0
"""Between two attempts to replace a worker that has reached a limit, when the new one did not start."""

_STARTING, _READY, _DRAINING, _GONE = State.STARTING, State.READY, State.DRAINING, State.GONE


@dataclass(slots=True)
class Fleet:
    """All workers of one supervisor."""

    target: int
    """How many are wanted."""
    reload: bool = False
    members: list[Member] = field(default_factory=list)
    failure: Failure | None = None
    """Why it was given up."""
    failed: Ended | None = None
    """The end that was one too many."""
    bad_ends: int = 0
    """Workers that did not end well at the stop."""
    told: Stop | None = None
    """How everything was told to end."""
    _restarts: Restarts = field(default_factory=Restarts)
    _not_before: float = 0.0
    """No worker is started for one that died before this moment."""
    _not_replaced_before: float = 0.0
    """Nor one for a worn one before this."""
    ever_ready: bool = False
    _awaits_change: bool = False
    _rolling: list[Member] = field(default_factory=list)
    """Members that the rolling restart that is going on replaces, or has replaced."""
    _again: bool = False
    """Another rolling restart was asked for while one is going on."""
    _said: list[Action] = field(default_factory=list)

    # --- events ---

    def ready(self, member: Member, now: float) -> None:
        """It accepts connections."""
        if member.state is not _STARTING:
            return
        member.state, member.ready_at, self.ever_ready = _READY, now, True
        old = member.replaces
        member.replaces = None
        if old is not None and old.serves:
            self._say(f"Worker {member.name} is ready and takes the place of {old.name}, which drains.")
            self._end(old, Stop.GRACEFUL)
        else:
            self._say(f"Worker {member.name} is ready.")

    def leaving(self, member: Member, now: float) -> None:
        """It accepts no more, whoever told it so."""
        if member.state in (_STARTING, _READY):
            member.state = _DRAINING
            if member.told is None and not self.stopping:
                self._wait(member, now)
                self._say(f"Worker {member.name} accepts no more, and not by our word.")

    def gone(self, member: Member, ended: Ended, now: float) -> None:
        """Its process has ended."""
        before, member.state = member.state, _GONE
        self.members.remove(member)
        if self.stopping:
            self._gone_at_stop(member, ended)
        elif member.told is not None or (before is _DRAINING and ended.code == 0):
            self._gone_as_told(member, ended)
        elif before is _STARTING and not self.ever_ready and not self.reload:
            self.failure, self.failed = Failure.NOT_STARTED, ended
            self.stop(Stop.ABORT)
        elif member.replaces is not None:
            self._replacement_failed(member, ended, now)
        else:
            self._died(member, ended, now)

    def wears(self, member: Member, why: str) -> None:
        """It is to be replaced, for a reason that stands in the sentence "Worker [1] {why}"."""
        if self.reload or self.stopping:
            return  # a developer's changes replace it often enough, and the old one would have to end first
        if member.serves and not member.worn and member.state is _READY:
            member.worn = why
            self._say(f"Worker {member.name} {why}: to be replaced.")

    def blocked(self, member: Member, why: str) -> bool:
        """It serves no more, and cannot be told to end: whether it is to be ended by force."""
        if self.reload or member.state is not _READY or member.told is not None:
            return False
        member.told = Stop.GRACEFUL
        self._say(f"Worker {member.name} {why}: ending it and starting another one now.", "error")
        return True

    # --- wishes ---

    def restart(self) -> None:
        """Replace all workers that there are, one by one: also those that still start, with the code of before."""
        if self.stopping or self.reload:
            return
        if self._rolling:
            self._again = True
            self._say("A restart is going on already; another one will follow it.")
        else:
            if self.ever_ready:
                self._end_replacements()
                self._rolling = [one for one in self.members if one.serves]
            if not self._rolling:
                self._say("No worker is ready yet, so there is none to replace.")
                return
            self._say(f"Replacing {counted(len(self._rolling))} one by one.")

    def changed(self, what: str) -> None:
        """Files have changed: what runs is out of date."""
        if self.stopping:
            return
        self._say(f"{what}: reloading.")
        self._awaits_change, self._not_before = False, 0.0
        for member in self.members:
            self._end(member, Stop.QUICK)

    def resize(self, by: int) -> None:
        """One worker more, or one less."""
        if self.stopping or self.reload:
            return
        if self.target + by < 1:
            self._say("The last worker stays: SIGTERM stops the server.")
            return
        self.target += by
        self._say(f"{counted(self.target)} from now on.")

    def stop(self, how: Stop) -> None:
        """End everything. More than what was said before, or nothing."""
        if self.told is None or how > self.told:
            self.told = how
            self._rolling, self._again = [], False
            for member in self.members:
                self._end(member, how)

    @property
    def rolling(self) -> bool:
        """A restart is going on."""
        return bool(self._rolling)

    @property
    def stopping(self) -> bool:
        return self.told is not None

    @property
    def accepting(self) -> bool:
        """Whether any worker accepts connections."""
        return any(one.state is _READY for one in self.members)

    @property
    def over(self) -> bool:
        """Nothing is left, and nothing will be."""
        return self.stopping and not self.members

    # --- decisions ---

    def next(self, now: float) -> list[Action]:
        """What is to be done now. Each `Start` is followed by `started()`."""
        if not self.stopping:
            self._end_surplus()
            missing = [*self._missing(now)]
            if not missing:
                self._end_roll()
            self._said += missing or [*self._replacements(now)]
        said, self._said = self._said, []
        return said

    def started(self, start: Start, name: str) -> Member:
        member = Member(name, replaces=start.replaces)
        self.members.append(member)
        if self.told is not None:  # while its process was made
            self._end(member, self.told)
        return member

    def wake_at(self, now: float) -> float:
        """When `next()` is to be asked again although nothing has happened."""
        moments = [] if self.stopping else [self._not_before, self._not_replaced_before]
        return min((one for one in moments if one > now), default=math.inf)

    def _missing(self, now: float) -> Iterator[Start]:
        if now < self._not_before or self._awaits_change:
            return
        if self.reload and self.members:
            return  # the old one ends first: two of a developer's application would take each other's files and ports
        for _ in range(self._vacancies):
            yield Start()

    @property
    def _vacancies(self) -> int:
        wanted = self.target if self.ever_ready else 1
        return max(wanted - sum(one.serves for one in self.members), 0)

    def _end_surplus(self) -> None:
        serving = [one for one in self.members if one.serves]
        for member in reversed(serving[self.target :]):
            self._end(member, Stop.GRACEFUL)

    def _end_replacements(self) -> None:
        """What still starts in the place of another one would bring the code of before, only to be replaced next."""
        for member in self.members:
            old = member.replaces
            if member.state is _STARTING and old is not None and old.serves:
                self._say(f"Worker {member.name} was to replace {old.name}, and is older than the restart: ending it.")
                member.replaces = None  # it may be ready before it hears of its end
                self._end(member, Stop.GRACEFUL)

    def _replacements(self, now: float) -> Iterator[Start]:
        """At most one at a time, so that neither memory nor start-up costs more than one worker's."""
        if any(one.state is _STARTING for one in self.members):
            return
        due = [one for one in self._rolling if one.serves]
        if not due and now >= self._not_replaced_before:
            due = [one for one in self.members if one.worn and one.serves]
        if due:
            yield Start(replaces=due[0])

    def _end_roll(self) -> None:
        """It waits for old workers that serve, and for what starts in the place of others, which may have died. Not for
        old ones that drain, nor for the wait before another attempt: the next restart may bring the remedy."""
        awaited = any(one.serves and (one.state is _STARTING or one in self._rolling) for one in self.members)
        if awaited or not self._rolling:
            return
        self._rolling = []
        rest = self._vacancies
        self._say(
            f"The restart is over, but for {counted(rest)} yet to start." if rest else "All workers have been replaced."
        )
        if self._again:
            self._again = False
            self.restart()

    # --- ends ---

    def _gone_at_stop(self, member: Member, ended: Ended) -> None:
        if _as_told(member, ended):
            return
        self.bad_ends += 1
        self._say(f"Worker {member.name} {ended}.", "error")

    def _gone_as_told(self, member: Member, ended: Ended) -> None:
        if _as_told(member, ended):
            self._say(f"Worker {member.name} has ended.")
        else:
            self._say(f"Worker {member.name} {ended}.", "error")

    def _replacement_failed(self, member: Member, ended: Ended, now: float) -> None:
        old = member.replaces
        if old is None or not old.serves:
            self._died(member, ended, now)
            return
        why = "; it says why above" if ended.code == NOT_STARTED else ended.hint
        failed = f"Worker {member.name} {ended} before it was ready{why}."
        if old in self._rolling:
            self._rolling, self._again = [], False
            self._say(f"{failed} The restart is given up: the old workers stay.", "error")
            return
        self._not_replaced_before = now + REPLACE_AGAIN_SECONDS
        self._say(f"{failed} Worker {old.name} stays; the next attempt is in {REPLACE_AGAIN_SECONDS:g} s.", "error")

    def _died(self, member: Member, ended: Ended, now: float) -> None:
        fault = ended.hint if member.ready_at is not None else f" before it was ready{ended.hint}"
        if self.reload:
            self._awaits_change = True
            self._say(f"Worker {member.name} {ended}{fault}; waiting for a change of files.", "error")
            return
        delay = self._wait(member, now)
        lasting = any(one.ready_at is not None and now - one.ready_at >= STEADY_SECONDS for one in self.members)
        if self._restarts.too_many(now) and not lasting:
            self._say(f"Worker {member.name} {ended}{fault}. Workers end as soon as they start: giving up.", "error")
            self.failure, self.failed = Failure.CRASHES, ended
            self.stop(Stop.GRACEFUL)
            return
        when = f"in {delay:g} s" if delay else "now"
        self._say(f"Worker {member.name} {ended}{fault}; another one is started {when}.", "error")

    # --- what several use ---

    def _wait(self, member: Member, now: float) -> float:
        """Let the next start wait, if workers end too quickly; for how long."""
        delay = self._restarts.died(now, 0.0 if member.ready_at is None else now - member.ready_at)
        self._not_before = max(self._not_before, now + delay)
        return delay

    def _end(self, member: Member, how: Stop) -> None:
        if member.state is not _GONE and (member.told is None or how > member.told):
            member.told = how
            self._said.append(End(member, how))

    def _say(self, text: str, level: Literal["info", "warning", "error"] = "info") -> None:
        self._said.append(Say(text, level))


def _as_told(member: Member, ended: Ended) -> bool:
    """Before it was ready, SIGTERM ends a worker by its default action. Told in the very moment in which we hear
    that it is, it gives up."""
    return ended.code in (0, GAVE_UP) or member.ready_at is None


def counted(workers: int) -> str:
    return "1 worker" if workers == 1 else f"{workers} workers"
