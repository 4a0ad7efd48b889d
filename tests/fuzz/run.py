"""Fuzz for some minutes: `python -m tests.fuzz.run --target http1 --minutes 10`.

Hypothesis draws cases in batches, each from a seed of its own, until the time is over. A case that fails is made as
small as can be, written to the corpus, and the run ends with code 1.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING, Final, Protocol

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz import connection, http1, websocket
from tests.fuzz.corpus import CORPUS, save

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fuzz.corpus import Case

__all__ = ["TARGETS"]

_BATCH: Final = 300
"""Examples of one seed. Few enough for the time to be kept, enough for hypothesis to vary what it has drawn."""


class Target(Protocol):
    def cases(self) -> st.SearchStrategy[Case]: ...
    def check(self, case: Case) -> None: ...


TARGETS: Mapping[str, Target] = {"http1": http1, "websocket": websocket, "connection": connection}


class _Run:
    """One target, until the time is over or a case fails."""

    def __init__(self, target: Target, minutes: float) -> None:
        self._target = target
        self._end = time.monotonic() + 60 * minutes
        self.examples = 0
        self.failing: Case | None = None
        self.error: Exception | None = None

    def run(self, first_seed: int) -> None:
        number = first_seed
        while time.monotonic() < self._end and self.error is None:
            try:
                self._batch(number)
            except Exception as error:
                self.error = error
                print(f"seed {number}:", file=sys.stderr)
                traceback.print_exc()
            number += 1

    def _batch(self, number: int) -> None:
        @seed(number)
        @settings(
            max_examples=_BATCH,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            phases=[Phase.generate, Phase.target, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        # The second is for whatever is random in an event loop: trio runs the tasks of a turn in either order.
        @given(self._target.cases(), st.random_module())
        def one(case: Case, _: object) -> None:
            self.examples += 1
            if time.monotonic() > self._end and self.failing is None:
                return
            try:
                self._target.check(case)
            except Exception:
                self.failing = case
                raise

        one()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", choices=sorted(TARGETS), required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=None, help="of the first batch; the next has the next number")
    parser.add_argument("--found", type=Path, default=CORPUS, help="where a failing case is written")
    asked = parser.parse_args()
    first = SystemRandom().randrange(1 << 32) if asked.seed is None else asked.seed
    run = _Run(TARGETS[asked.target], asked.minutes)
    run.run(first)
    print(f"{asked.target}: {run.examples} examples from seed {first} on, {0 if run.error is None else 1} failure")
    if run.failing is not None:
        print(f"written to {save(asked.target, run.failing, asked.found)}")
    return 0 if run.error is None else 1


if __name__ == "__main__":
    sys.exit(main())
