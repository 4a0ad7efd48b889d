"""The short part of the fuzzing, which is the same in every run: what has failed once, and some hundred cases.

`python -m tests.fuzz.run` is the long one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz import connection, http1, websocket
from tests.fuzz.corpus import cases_of, load
from tests.fuzz.run import TARGETS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fuzz.corpus import Case

KEPT = [pytest.param(target, file, id=file.stem) for target in sorted(TARGETS) for file in cases_of(target)]

quick = settings(
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.parametrize(("target", "file"), KEPT)
def test_what_has_failed_once_does_not_fail_again(target: str, file: Path) -> None:
    TARGETS[target].check(load(file))


@settings(quick, max_examples=150)
@given(http1.cases())
def test_requests_are_read_alike_by_every_way_and_by_h11(case: Case) -> None:
    http1.check(case)


@settings(quick, max_examples=150)
@given(websocket.cases())
def test_frames_and_handshakes_are_read_alike_by_every_way(case: Case) -> None:
    websocket.check(case)


@settings(quick, max_examples=150)
@given(connection.cases())
def test_every_connection_ends_well_and_alike_on_both_backends(case: Case) -> None:
    connection.check(case)
