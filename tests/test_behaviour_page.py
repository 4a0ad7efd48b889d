"""The behaviour page promises nothing that no test checks."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/reference/behaviour.md"
SECTIONS = [
    "Streams",
    "Requests",
    "Refusals",
    "Responses",
    "Disconnects",
    "Timeouts and limits",
    "Lifespan",
    "Stopping",
    "Logs",
    "Command line",
]

NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE.read_text())))


def _tests_in(file: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")
    }


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_named_test_exists(file: str, name: str) -> None:
    assert name in _tests_in(ROOT / file)


def test_the_sections_are_all_there_in_order() -> None:
    assert re.findall(r"^## (.+)$", PAGE.read_text(), re.MULTILINE) == SECTIONS


def test_every_sentence_ends_with_its_test() -> None:
    promises = re.findall(r"^- (.+(?:\n  .+)*)", PAGE.read_text(), re.MULTILINE)

    unproven = [each for each in promises if not re.search(r"`tests/[\w/]+\.py::test_\w+`$", each)]

    assert promises
    assert not unproven
