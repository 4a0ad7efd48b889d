"""The reference page of settings says what the declarations say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from asgiserve.config import OPTIONS
from tests.support.settings_page import page

PAGE = Path(__file__).parent.parent / "docs/reference/settings.md"


def test_the_page_is_what_the_generator_writes() -> None:
    assert PAGE.read_text() == page(), "python -m tests.support.settings_page > docs/reference/settings.md"


@pytest.mark.parametrize("name", OPTIONS)
def test_the_page_has_a_row_for_every_setting(name: str) -> None:
    flag = re.escape(OPTIONS[name].flag)
    assert len(re.findall(rf"^\| `{flag}[ `]", PAGE.read_text(), re.MULTILINE)) == 1
