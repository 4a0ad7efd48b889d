"""The samples of one scenario as a Markdown table: medians over the rounds, with the lowest and highest CPU.

Nothing is judged and nothing is left out here: a server that failed has a row that says how.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

from servers import REFERENCES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from servers import Server

__all__ = ["Failure", "Sample", "table"]

_COLUMNS: Final = (
    "server",
    "CPU µs per {unit}",
    "lowest to highest",
    "of it system",
    "CPU to uvicorn[standard]",
    "{unit}s/s",
    "p99 ms",
    "RSS MiB",
    "errors",
)
_NOTHING: Final = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one server did in one round; microseconds of CPU are those per request or message."""

    user_us: float
    system_us: float
    rate: float
    """Requests or messages per second."""
    p99_ms: float | None
    """None where wrk cannot tell."""
    rss_mib: float
    errors: Mapping[str, int]

    @property
    def cpu_us(self) -> float:
        return self.user_us + self.system_us


@dataclass(frozen=True, slots=True)
class Failure:
    """A server that did not run, or did not answer as it should, in one round."""

    text: str


def table(servers: Sequence[Server], rounds: Sequence[Mapping[str, Sample | Failure]], unit: str) -> str:
    """One row per server. Each of `rounds` has what every server did in it, by the server's name."""
    columns = [column.format(unit=unit) for column in _COLUMNS]
    rows: list[Sequence[str]] = [columns, ["---", *["--:"] * (len(_COLUMNS) - 2), "---"]]
    for server in servers:
        results = [one[server.name] for one in rounds]
        samples = [one for one in results if isinstance(one, Sample)]
        cost = _cost(samples) if samples else [_NOTHING] * 3
        load = _load(samples) if samples else [_NOTHING] * 3
        rows.append([server.title, *cost, _ratio(server, rounds), *load, _errors(results)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cost(samples: Sequence[Sample]) -> list[str]:
    costs = [one.cpu_us for one in samples]
    return [
        _number(median(costs)),
        f"{_number(min(costs))} to {_number(max(costs))}",
        _number(median(one.system_us for one in samples)),
    ]


def _load(samples: Sequence[Sample]) -> list[str]:
    delays = [one.p99_ms for one in samples if one.p99_ms is not None]
    return [
        f"{median(one.rate for one in samples):,.0f}",
        f"{median(delays):.1f}" if delays else _NOTHING,
        f"{median(one.rss_mib for one in samples):.1f}",
    ]


def _ratio(server: Server, rounds: Sequence[Mapping[str, Sample | Failure]]) -> str:
    """The median of the rounds' ratios: what disturbs a round as a whole disturbs both alike."""
    ratios: list[float] = []
    for one in rounds:
        ours, reference = one[server.name], next((one[name] for name in REFERENCES if name in one), None)
        if isinstance(ours, Sample) and isinstance(reference, Sample):
            ratios.append(ours.cpu_us / reference.cpu_us)
    return f"{median(ratios):.2f}" if ratios else _NOTHING


def _errors(results: Sequence[Sample | Failure]) -> str:
    counts: Counter[str] = Counter()
    for one in results:
        counts.update(one.errors if isinstance(one, Sample) else {one.text.replace("|", "/"): 1})
    return ", ".join(f"{count} x {what}" for what, count in counts.items()) or "none"


def _number(microseconds: float) -> str:
    return f"{microseconds:.1f}" if microseconds < 1000 else f"{microseconds:,.0f}"
