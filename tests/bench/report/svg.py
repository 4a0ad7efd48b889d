"""Charts as SVG text: bars with ranges, dots on a scale of ratios, lines over a scale of sizes.

A renderer of our own, since a plotting library knows no dark mode: colours are CSS classes here, and the reader's
preference picks between two sets of them. What is drawn is chosen in `plots`.
"""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .summary import Spread

__all__ = ["bars", "dots", "lines"]

_WIDTH: Final = 860
_ROW: Final = 26
_TOP: Final = 62
"""Height of title and subtitle; a legend has a line of its own below."""
_RIGHT: Final = 120
"""Room for the numbers behind the bars, or the names behind the lines."""
_CHARACTER: Final = 7.0
"""Width of one at 13 px: labels are measured in them, since nothing here knows fonts."""

_SERIES: Final = 5
"""How many colours there are: `.s0` to `.s4`."""

_STYLE: Final = """
svg { background: #ffffff; font: 13px system-ui, sans-serif }
.paper { fill: #ffffff } text { fill: #1f2328 } .title { font-size: 16px; font-weight: 600 } .quiet { fill: #59636e }
.grid { stroke: #d1d9e0 } .mark { stroke: #1f2328; stroke-dasharray: 4 3 } .range { stroke: #1f2328; stroke-width: 1.5 }
.line { fill: none; stroke-width: 2 } .dot { stroke: #ffffff; stroke-width: 1 }
.s0 { fill: #0969da; stroke: #0969da } .s1 { fill: #1a7f37; stroke: #1a7f37 } .s2 { fill: #bc4c00; stroke: #bc4c00 }
.s3 { fill: #818b98; stroke: #818b98 } .s4 { fill: #8250df; stroke: #8250df }
@media (prefers-color-scheme: dark) {
svg { background: #0d1117 } .paper { fill: #0d1117 } text { fill: #f0f6fc } .quiet { fill: #9198a1 }
.grid { stroke: #3d444d } .mark { stroke: #f0f6fc } .range { stroke: #f0f6fc } .dot { stroke: #0d1117 }
.s0 { fill: #4493f8; stroke: #4493f8 } .s1 { fill: #3fb950; stroke: #3fb950 } .s2 { fill: #f0883e; stroke: #f0883e }
.s3 { fill: #9198a1; stroke: #9198a1 } .s4 { fill: #ab7df8; stroke: #ab7df8 }
}
path.line { fill: none }
"""


def bars(title: str, subtitle: str, rows: Sequence[tuple[str, Spread, int]]) -> str:
    """A bar to the median with its range over the rounds. A row is its label, what it shows, and its colour."""
    left = _label_width([label for label, _, _ in rows])
    top, bottom = _TOP + 8, _TOP + 8 + _ROW * len(rows)
    ticks = _ticks(max(found.high for _, found, _ in rows))
    place = _linear(0, ticks[-1], left, _WIDTH - _RIGHT)
    drawn = [_vertical(place(tick), top, bottom, _short(tick)) for tick in ticks]
    for number, (label, found, colour) in enumerate(rows):
        middle = top + _ROW * (number + 0.5)
        drawn.append(_text(left - 8, middle + 4, label, anchor="end"))
        width = max(1.0, place(found.median) - left)
        drawn.append(f'<rect class="s{colour}" x="{left}" y="{middle - 8:.1f}" width="{width:.1f}" height="16"/>')
        drawn.append(_horizontal("range", place(found.low), place(found.high), middle))
        drawn.append(_text(place(found.high) + 8, middle + 4, _short(found.median)))
    return _document(bottom + 30, title, subtitle, drawn)


def dots(
    title: str, subtitle: str, series: Sequence[str], rows: Sequence[tuple[str, Mapping[str, float]]], mark: float = 1.0
) -> str:
    """A row of dots for each label, one of each series, on a scale where a half is as far from 1 as a double."""
    left = _label_width([label for label, _ in rows])
    top = _TOP + 30
    bottom = top + _ROW * len(rows)
    values = [value for _, found in rows for value in found.values()]
    low = min(0.5, 2.0 ** math.floor(math.log2(min(values, default=1.0))))
    high = max(2.0, 2.0 ** math.ceil(math.log2(max(values, default=1.0))))
    place = _logarithmic(low, high, left, _WIDTH - 40)
    ticks = [low * 2.0**step for step in range(round(math.log2(high / low)) + 1)]
    drawn = [_vertical(place(tick), top, bottom, f"{tick:g}") for tick in ticks]
    drawn.append(f'<line class="mark" x1="{place(mark):.1f}" x2="{place(mark):.1f}" y1="{top}" y2="{bottom}"/>')
    for number, (label, found) in enumerate(rows):
        middle = top + _ROW * (number + 0.5)
        drawn.append(_text(left - 8, middle + 4, label, anchor="end"))
        drawn.append(_horizontal("grid", left, _WIDTH - 40, middle))
        drawn += [
            # Each series a little below the one before, so that none hides another.
            _dot(
                place(found[name]),
                middle + 3 * (colour - len(series) // 2),
                colour,
                f"{label}: {name}, {found[name]:.2f}",
            )
            for colour, name in enumerate(series)
            if name in found
        ]
    return _document(bottom + 30, title, subtitle, [*_legend(series, left), *drawn])


def lines(
    title: str, subtitle: str, sizes: Sequence[int], series: Sequence[tuple[str, Sequence[Spread | None]]]
) -> str:
    """A line for each series over sizes that grow by factors, with the range of each point."""
    left, top, bottom = 60, _TOP + 30, _TOP + 350
    highest = max((one.high for _, found in series for one in found if one), default=1.0)
    ticks = _ticks(highest)
    across = _logarithmic(min(sizes), max(sizes), left + 20, _WIDTH - 60)
    up = _linear(0, ticks[-1], bottom, top)
    drawn = [_horizontal("grid", left, _WIDTH - 40, up(tick)) for tick in ticks]
    drawn += [_text(left - 8, up(tick) + 4, _short(tick), anchor="end", quiet=True) for tick in ticks]
    drawn += [_text(across(size), bottom + 20, f"{size:,}", anchor="middle", quiet=True) for size in sizes]
    for colour, (name, found) in enumerate(series):
        points = [(across(size), one) for size, one in zip(sizes, found, strict=True) if one]
        path = " L".join(f"{x:.1f} {up(one.median):.1f}" for x, one in points)
        drawn.append(f'<path class="s{colour % _SERIES} line" d="M{path}"/>')
        for x, one in points:
            drawn.append(
                f'<line class="s{colour % _SERIES}" x1="{x:.1f}" x2="{x:.1f}" y1="{up(one.low):.1f}"'
                f' y2="{up(one.high):.1f}"/>'
            )
            drawn.append(_dot(x, up(one.median), colour, f"{name}: {_short(one.median)}"))
    return _document(bottom + 36, title, subtitle, [*_legend([name for name, _ in series], left), *drawn])


# --- pieces -------------------------------------------------------------------------------------------


def _document(height: float, title: str, subtitle: str, drawn: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" width="{_WIDTH}"'
        f' height="{height:.0f}" role="img" aria-label="{escape(title)}">'
    )
    # A sheet of its own below the drawing: some viewers ignore an svg element's background.
    sheet = f'<rect class="paper" width="{_WIDTH}" height="{height:.0f}"/>'
    titles = [
        f'<text class="title" x="16" y="26">{escape(title)}</text>',
        f'<text class="quiet" x="16" y="47">{escape(subtitle)}</text>',
    ]
    return "\n".join([head, f"<style>{_STYLE}</style>", sheet, *titles, *drawn, "</svg>"]) + "\n"


def _legend(names: Sequence[str], left: float) -> list[str]:
    """On one line, above the drawing."""
    drawn: list[str] = []
    x = 22.0
    for colour, name in enumerate(names):
        drawn.append(_dot(x, _TOP + 8, colour, name))
        drawn.append(_text(x + 10, _TOP + 12, name))
        x += 34 + _CHARACTER * len(name)
    return drawn


def _text(x: float, y: float, text: str, *, anchor: str = "start", quiet: bool = False) -> str:
    kind = ' class="quiet"' if quiet else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _vertical(x: float, top: float, bottom: float, label: str) -> str:
    line = f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}"/>'
    return line + _text(x, bottom + 18, label, anchor="middle", quiet=True)


def _horizontal(kind: str, left: float, right: float, y: float) -> str:
    return f'<line class="{kind}" x1="{left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _dot(x: float, y: float, colour: int, title: str) -> str:
    circle = f'<circle class="dot s{colour % _SERIES}" cx="{x:.1f}" cy="{y:.1f}" r="5.5">'
    return f"{circle}<title>{escape(title)}</title></circle>"


def _label_width(labels: Sequence[str]) -> float:
    return 28 + _CHARACTER * max(map(len, labels), default=0)


# --- scales -------------------------------------------------------------------------------------------


def _linear(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _logarithmic(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    whole = math.log(high / low) or 1.0
    return lambda value: start + math.log(value / low) / whole * (end - start)


def _ticks(highest: float) -> list[float]:
    """From 0 to something round above the highest, in four to ten steps."""
    rough = max(highest, 1e-9) / 5
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= rough)
    return [step * number for number in range(math.ceil(highest / step) + 1)]


def _short(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value % 1 else f"{value:g}"
