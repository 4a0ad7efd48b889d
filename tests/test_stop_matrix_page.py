"""The page of behaviour has the table that the stop matrix is tested by."""

from __future__ import annotations

from pathlib import Path

from tests.support.stop_matrix import table

PAGE = Path(__file__).parent.parent / "docs/reference/behaviour.md"


def test_the_page_has_the_table_of_the_stop_matrix() -> None:
    assert f"\n\n{table()}\n" in PAGE.read_text(), "python -m tests.support.stop_matrix"
