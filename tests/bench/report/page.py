"""The measured parts of a page, between markers; the prose around them is written by hand and never touched.

    <!-- measured: get -->
    ...
    <!-- end -->

A part that a run has nothing for stays as it was.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from .plots import plots
from .tables import environment, family_table, overview, table

if TYPE_CHECKING:
    from pathlib import Path

    from .results import Results

__all__ = ["filled", "parts", "write"]

_PART: Final = re.compile(r"(<!-- measured: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

_PLOTS: Final = {
    "overview": ("overview", "CPU per request of every scenario, as a ratio to uvicorn[standard]"),
    "get": ("bare", "CPU per bare GET, by server"),
    "growth": ("growth", "CPU per request, by the number of connections"),
    "idle": ("idle", "Memory per idle connection, by server"),
    "start": ("start", "Time to the first answer, by server"),
}
"""Which part begins with which plot, and what it is to somebody who does not see it."""


def write(results: Results, path: Path) -> None:
    """Fill the page's parts, and write the plots into a folder beside it that has its name."""
    folder = path.with_suffix("")
    drawn = plots(results)
    if drawn:
        folder.mkdir(exist_ok=True)
    for name, text in drawn.items():
        (folder / f"{name}.svg").write_text(text)
    path.write_text(filled(path.read_text(), parts(results, folder.name)))


def filled(page: str, texts: dict[str, str]) -> str:
    """The page with these parts in their places."""

    def part(found: re.Match[str]) -> str:
        text = texts.get(found[2])
        return found[0] if text is None else f"{found[1]}\n{text}\n\n{found[3]}"

    return _PART.sub(part, page)


def parts(results: Results, folder: str) -> dict[str, str]:
    """The text of each part that these results have something for."""
    pieces: dict[str, list[str]] = {"environment": [environment(results)]}
    families: set[str] = set()
    for one in results.scenarios:
        if not one.family:
            pieces.setdefault(one.group, []).append(f"**{one.title}**\n\n{table(one)}")
        elif one.family not in families:
            families.add(one.family)
            members = [other for other in results.scenarios if other.family == one.family]
            pieces.setdefault(one.group, []).append(family_table(members))
    if summary := overview(results):
        pieces["overview"] = [summary]
    drawn = plots(results)
    for part, (plot, alternative) in _PLOTS.items():
        if plot in drawn:
            pieces.setdefault(part, []).insert(0, f"![{alternative}]({folder}/{plot}.svg)")
    return {name: "\n\n".join(texts) for name, texts in pieces.items()}
