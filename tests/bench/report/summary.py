"""Medians and ranges of samples, and the ratio to the reference: the only arithmetic of the report."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from .results import Sample

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .results import Measured

__all__ = ["REFERENCES", "Spread", "cpu", "ratio", "spread"]

REFERENCES: Final = ("uvicorn", "uvicorn-sansio")
"""What the ratios refer to, for HTTP and for WebSocket: uvicorn as `uvicorn[standard]` runs, which most people take."""


class Spread(NamedTuple):
    """The middle of the rounds, and how far they are apart."""

    median: float
    low: float
    high: float


def spread(values: Iterable[float | None]) -> Spread | None:
    """None if there is no value at all."""
    known = [one for one in values if one is not None]
    return Spread(median(known), min(known), max(known)) if known else None


def cpu(scenario: Measured, server: str) -> Spread | None:
    return spread(one.cpu_us for one in scenario.samples(server))


def ratio(scenario: Measured, server: str) -> Spread | None:
    """Of CPU to the reference's, round by round: what disturbs a round as a whole disturbs both alike."""
    ratios: list[float] = []
    for one in scenario.rounds:
        reference = next((one[name] for name in REFERENCES if name in one), None)
        ours = one.get(server)
        if isinstance(ours, Sample) and isinstance(reference, Sample) and reference.cpu_us:
            ratios.append(ours.cpu_us / reference.cpu_us)
    return spread(ratios)
