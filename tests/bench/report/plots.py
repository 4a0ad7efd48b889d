"""Which plots there are, and what each shows. How they are drawn lives in `svg`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from . import svg
from .summary import cpu, ratio, spread

if TYPE_CHECKING:
    from collections.abc import Callable

    from .results import Measured, Results
    from .summary import Spread

__all__ = ["plots"]

_COLOURS: Final = {"asgiserve-asyncio": 0, "asgiserve-uvloop": 1, "asgiserve-trio": 2}
_PEER: Final = 3
_OVERVIEW: Final = {
    "asgiserve-asyncio": "asgiserve, asyncio",
    "asgiserve-uvloop": "asgiserve, uvloop",
    "asgiserve-trio": "asgiserve, trio",
    "uvicorn-h11": "uvicorn, h11, asyncio",
    "granian": "granian, uvloop",
}


def plots(results: Results) -> dict[str, str]:
    """The text of each SVG that these results have the numbers for, by its name."""
    by_name = {one.name: one for one in results.scenarios}
    drawn = {"overview": _overview(results), "growth": _growth(results)}
    if "bare" in by_name:
        drawn["bare"] = _bars(by_name["bare"], "Bare GET", "µs of server CPU per request; less is better", cpu)
    if "idle" in by_name:
        idle = by_name["idle"]
        drawn["idle"] = _bars(idle, "An idle connection", "KiB of resident memory each, of 10,000", _connection)
    if "start" in by_name:
        drawn["start"] = _bars(
            by_name["start"], "Start-up", "ms from the command to the end of the first answer", _first
        )
    return {name: text for name, text in drawn.items() if text is not None}


def _overview(results: Results) -> str | None:
    rows: list[tuple[str, dict[str, float]]] = []
    for one in results.scenarios:
        if one.kind != "load" or one.family:
            continue
        found = {title: seen.median for name, title in _OVERVIEW.items() if (seen := ratio(one, name)) is not None}
        if found:
            rows.append((one.title, found))
    if not rows:
        return None
    subtitle = "ratio to uvicorn[standard] (httptools and uvloop), the dashed line; further left is cheaper"
    shown = [title for title in _OVERVIEW.values() if any(title in found for _, found in rows)]
    return svg.dots("Server CPU per request or message", subtitle, shown, rows)


def _growth(results: Results) -> str | None:
    members = sorted((one for one in results.scenarios if one.family == "growth"), key=lambda one: one.size)
    if len(members) < 2:
        return None
    titles = {name: title for one in members for name, title in one.titles.items()}
    series = [(title, [cpu(one, name) for one in members]) for name, title in titles.items()]
    series = [(title, found) for title, found in series if any(found)]
    if not series:
        return None
    subtitle = "µs of server CPU per request, by open connections, all of them busy; a flat line is the aim"
    return svg.lines("Growth", subtitle, [one.size for one in members], series)


def _bars(scenario: Measured, title: str, subtitle: str, of: Callable[[Measured, str], Spread | None]) -> str | None:
    """From the least to the most."""
    found = [(label, seen, name) for name, label in scenario.titles.items() if (seen := of(scenario, name))]
    found.sort(key=lambda one: one[1].median)
    rows = [(label, seen, _COLOURS.get(name, _PEER)) for label, seen, name in found]
    return svg.bars(title, subtitle, rows) if rows else None


def _connection(scenario: Measured, server: str) -> Spread | None:
    return spread(one.connection_kib for one in scenario.samples(server))


def _first(scenario: Measured, server: str) -> Spread | None:
    return spread(one.first_ms for one in scenario.samples(server))
