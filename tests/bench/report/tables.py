"""Markdown tables. Nothing is judged and nothing is left out: a server that failed has a row that says how."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import TYPE_CHECKING, Final

from .results import Sample
from .summary import cpu, ratio, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .results import Measured, Outcome, Results
    from .summary import Spread

__all__ = ["counts", "environment", "family_table", "number", "overview", "table"]

_NOTHING: Final = "-"
_MILLISECOND: Final = 1000.0

OVERVIEW: Final = ("asgiserve-asyncio", "asgiserve-uvloop", "asgiserve-trio", "uvicorn", "granian")
"""The columns of the first table: us, what most people run, and the fastest of the others."""


def table(scenario: Measured) -> str:
    """One row per server."""
    columns = _COLUMNS[scenario.kind]
    head = ["server", *(title.format(unit=scenario.unit) for title, _ in columns), "errors"]
    rows = [head, ["---", *["--:"] * len(columns), "---"]]
    for server, title in scenario.titles.items():
        cells = [cell(scenario, server) for _, cell in columns]
        rows.append([title, *cells, _errors(scenario.outcomes(server))])
    return _markdown(rows)


def family_table(members: Sequence[Measured]) -> str:
    """One row per server, and a column of CPU for each size; behind them what the largest costs to the cheapest."""
    members = sorted(members, key=lambda one: one.size)
    sizes = [f"{one.size:,}" for one in members]
    rows = [
        ["server", *(f"CPU µs, {size}" for size in sizes), f"{sizes[-1]} to cheapest", *_heads(sizes), "errors"],
        ["---", *["--:"] * (2 * len(members) + 1), "---"],
    ]
    for server, title in _titles(members).items():
        costs = [cpu(one, server) for one in members]
        known = [one.median for one in costs if one]
        growth = f"{costs[-1].median / min(known):.2f}" if costs[-1] and min(known) else _NOTHING
        rates = [_middle(spread(sample.rate for sample in one.samples(server)), "{:,.0f}") for one in members]
        failed = _errors([outcome for one in members for outcome in one.outcomes(server)])
        rows.append([title, *map(_range, costs), growth, *rates, failed])
    return _markdown(rows)


def counts(servers: Sequence[str], rows: Mapping[str, Sequence[float | None]]) -> str:
    """Instructions in thousands, a row per scenario; in parentheses the ratio to the last server."""
    lines: list[Sequence[str]] = [["thousands of instructions", *servers], ["---", *["--:"] * len(servers)]]
    for title, found in rows.items():
        last = found[-1]
        cells = [_NOTHING if one is None else f"{one / 1000:,.1f}" for one in found]
        lines.append([title, *(_with_ratio(cell, one, last) for cell, one in zip(cells, found, strict=True))])
    return _markdown(lines)


def _with_ratio(cell: str, value: float | None, reference: float | None) -> str:
    return f"{cell} ({value / reference:.2f})" if value and reference else cell


def _heads(sizes: Iterable[str]) -> list[str]:
    return [f"per second, {size}" for size in sizes]


def _titles(members: Iterable[Measured]) -> dict[str, str]:
    return {server: title for one in members for server, title in one.titles.items()}


def overview(results: Results) -> str:
    """CPU of every scenario that is a load, by the servers of `OVERVIEW`; empty if there is none."""
    rows: list[list[str]] = []
    for scenario in results.scenarios:
        if scenario.kind != "load" or scenario.family:
            continue
        cells = [_overview_cell(scenario, server) for server in OVERVIEW]
        rows.append([f"{scenario.title}, per {scenario.unit}", *cells])
    head = [["", *(f"`{server}`" for server in OVERVIEW)], ["---", *["--:"] * len(OVERVIEW)]]
    return _markdown([*head, *rows]) if rows else ""


def _overview_cell(scenario: Measured, server: str) -> str:
    names = (server, "uvicorn-sansio") if server == "uvicorn" else (server,)
    for name in names:
        cost, relative = cpu(scenario, name), ratio(scenario, name)
        if cost is not None:
            return number(cost.median) + (f" ({relative.median:.2f})" if relative else "")
    return _NOTHING


def environment(results: Results) -> str:
    """What was measured on, and with."""
    lines = [f"- {name}: {value}" for name, value in {"date": results.taken, **results.machine}.items()]
    lines.append("- versions: " + ", ".join(f"{name} {version}" for name, version in results.versions.items()))
    lines += [f"- {title}: left out, {reason}" for title, reason in results.left_out.items()]
    return "\n".join(lines)


def number(value: float) -> str:
    return f"{value:.1f}" if value < 1000 else f"{value:,.0f}"


def _range(found: Spread | None) -> str:
    return f"{number(found.median)} ({number(found.low)} to {number(found.high)})" if found else _NOTHING


def _middle(found: Spread | None, form: str = "") -> str:
    if found is None:
        return _NOTHING
    return form.format(found.median) if form else number(found.median)


def _errors(outcomes: Sequence[Outcome]) -> str:
    counts: Counter[str] = Counter()
    for one in outcomes:
        counts.update(one.errors if isinstance(one, Sample) else {one.text.replace("|", "/"): 1})
    return ", ".join(f"{count} x {what}" for what, count in counts.items()) or "none"


def _markdown(rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


# --- columns ------------------------------------------------------------------------------------------


def _of(value: Callable[[Sample], float | None], form: str = "") -> Callable[[Measured, str], str]:
    return lambda scenario, server: _middle(spread(map(value, scenario.samples(server))), form)


def _lowest_to_highest(value: Callable[[Sample], float | None]) -> Callable[[Measured, str], str]:
    def cell(scenario: Measured, server: str) -> str:
        found = spread(map(value, scenario.samples(server)))
        return f"{number(found.low)} to {number(found.high)}" if found else _NOTHING

    return cell


def _relative(scenario: Measured, server: str) -> str:
    return _middle(ratio(scenario, server), "{:.2f}")


def _system_share(scenario: Measured, server: str) -> str:
    samples = scenario.samples(server)
    return number(median(one.system_us for one in samples)) if samples else _NOTHING


_CPU: Final = (
    ("CPU µs per {unit}", _of(lambda one: one.cpu_us)),
    ("lowest to highest", _lowest_to_highest(lambda one: one.cpu_us)),
    ("CPU to uvicorn[standard]", _relative),
)

_COLUMNS: Final = {
    "load": (
        *_CPU[:2],
        ("of it system", _system_share),
        _CPU[2],
        ("{unit}s/s", _of(lambda one: one.rate, "{:,.0f}")),
        ("p50 ms", _of(lambda one: one.p50_ms, "{:.2f}")),
        ("p99 ms", _of(lambda one: one.p99_ms, "{:.2f}")),
        ("RSS MiB", _of(lambda one: one.rss_mib)),
    ),
    "idle": (
        ("KiB per idle connection", _of(lambda one: one.connection_kib)),
        ("lowest to highest", _lowest_to_highest(lambda one: one.connection_kib)),
        ("RSS MiB", _of(lambda one: one.rss_mib)),
        *_CPU,
        ("p99 ms", _of(lambda one: one.p99_ms, "{:.2f}")),
    ),
    "start": (
        ("ms to the first answer", _of(lambda one: one.first_ms)),
        ("lowest to highest", _lowest_to_highest(lambda one: one.first_ms)),
        ("CPU ms", _of(lambda one: one.cpu_us / _MILLISECOND)),
        ("RSS MiB", _of(lambda one: one.rss_mib)),
    ),
}
