"""What was measured, and its form as JSON: every sample of every round, so that all else can be made again from it.

What is made of it lives in `summary`, `tables` and `plots`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Failure", "Measured", "Outcome", "Results", "Sample", "load", "save"]

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one server did in one round. What a kind of measurement does not give is None."""

    user_us: float
    """Microseconds of CPU per request, message or start."""
    system_us: float
    rss_mib: float
    rate: float | None = None
    """Requests or messages per second."""
    p50_ms: float | None = None
    p99_ms: float | None = None
    first_ms: float | None = None
    """From the start of the process to the end of its first answer."""
    connection_kib: float | None = None
    """What each idle connection adds to the resident memory."""
    errors: Mapping[str, int] = field(default_factory=dict)

    @property
    def cpu_us(self) -> float:
        return self.user_us + self.system_us


@dataclass(frozen=True, slots=True)
class Failure:
    """A server that did not run, or did not answer as it should, in one round."""

    text: str


Outcome = Sample | Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One scenario in all rounds."""

    name: str
    title: str
    group: str
    """The part of the page that it is in."""
    unit: str
    """What CPU is counted per: request, message, event, start."""
    kind: str = "load"
    """Which columns its table has: load, idle or start."""
    family: str = ""
    """Scenarios of one family differ in `size` only, and share a table."""
    size: int = 0
    """Of a member of a family: how many connections, or workers."""
    seconds: float = 0.0
    """For how long each sample was taken."""
    titles: Mapping[str, str]
    """The servers, by name, in the order of the tables."""
    rounds: list[Mapping[str, Outcome]]
    """What every server did in each round, by its name."""

    def outcomes(self, server: str) -> list[Outcome]:
        return [one[server] for one in self.rounds if server in one]

    def samples(self, server: str) -> list[Sample]:
        return [one for one in self.outcomes(server) if isinstance(one, Sample)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """A whole run."""

    taken: str
    """The date, in ISO 8601."""
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    left_out: Mapping[str, str]
    """Servers that could not be run, and why."""
    scenarios: list[Measured]


def save(results: Results, path: Path) -> None:
    written = {"format": _FORMAT, **asdict(results)}
    for scenario, one in zip(results.scenarios, written["scenarios"], strict=True):
        one["rounds"] = [{name: _written(each) for name, each in turn.items()} for turn in scenario.rounds]
    # In one step: whoever interrupts a run keeps what the scenarios before have given.
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(written, indent=1) + "\n")
    partial.replace(path)


def _written(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, Failure):
        return {"failure": outcome.text}
    kept = {name: value for name, value in asdict(outcome).items() if value is not None and value != {}}
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in kept.items()}


def load(path: Path) -> Results:
    """Raises OSError; ValueError if the file is of another kind or format."""
    found = json.loads(path.read_text())
    if not isinstance(found, dict) or found.pop("format", None) != _FORMAT:
        raise ValueError(f"{path} is not a file of results of format {_FORMAT}")
    scenarios = [
        Measured(**{**one, "rounds": [{name: _read(each) for name, each in turn.items()} for turn in one["rounds"]]})
        for one in found.pop("scenarios")
    ]
    return Results(**found, scenarios=scenarios)


def _read(written: Mapping[str, Any]) -> Outcome:
    return Failure(written["failure"]) if "failure" in written else Sample(**written)
