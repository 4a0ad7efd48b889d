"""Fuzzing a whole connection: each plan is played on asyncio, on trio and with h11 alone, and all do the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fuzz.judging import judge
from tests.fuzz.plans import plans
from tests.fuzz.playing import play

if TYPE_CHECKING:
    from hypothesis import strategies as st

    from tests.fuzz.corpus import Case

__all__ = ["cases", "check"]


def cases() -> st.SearchStrategy[Case]:
    return plans()


def check(case: Case) -> None:
    """Everything ends, nothing is left, what was written is HTTP; the same on both backends and by both engines."""
    first = play(case, "asyncio")
    judge(case, first)
    second = play(case, "trio")
    judge(case, second)
    assert first.comparable() == second.comparable(), "asyncio and trio differ"
    by_h11 = play(case, "asyncio", http="h11")
    judge(case, by_h11)
    assert first.comparable() == by_h11.comparable(), "the two engines differ"
