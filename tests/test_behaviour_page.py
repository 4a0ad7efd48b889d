"""The behaviour page promises nothing that no test checks."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from asgiserve.config import OPTIONS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/reference/behaviour.md").read_text()
SECTIONS = [
    "Streams",
    "Connections",
    "Requests",
    "Refusals",
    "Responses",
    "Disconnects",
    "WebSocket",
    "WSGI",
    "Behind a proxy",
    "Timeouts and limits",
    "Lifespan",
    "Stopping",
    "What goes on",
    "Errors of applications",
    "Faults",
    "Leaks",
    "Context and tasks",
    "Logs",
    "Command line",
    "Workers",
    "Configuration",
    "In test suites",
    "Differences from uvicorn",
]

TEST = r"`(tests/[\w/]+\.py)::(test_\w+)`"
NAMED = sorted(set(re.findall(TEST, PAGE)))
SENTENCES = re.findall(r"^- (.+(?:\n  .+)*)", PAGE, re.MULTILINE)
ROWS = re.findall(r"^\| (.+) \|$", re.sub(r"^.+\n\|-.+$", "", PAGE, flags=re.MULTILINE), re.MULTILINE)
BOUNDS = [name for name in OPTIONS if name.startswith(("timeout_", "limit_"))]


@cache
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
    assert re.findall(r"^## (.+)$", PAGE, re.MULTILINE) == SECTIONS


@pytest.mark.parametrize("promises", [SENTENCES, ROWS], ids=["sentences", "rows of tables"])
def test_every_promise_ends_with_one_test(promises: list[str]) -> None:
    unproven = [each for each in promises if not re.search(f"{TEST}$", each) or len(re.findall(TEST, each)) > 1]

    assert promises
    assert not unproven


@pytest.mark.parametrize("name", BOUNDS)
def test_every_timeout_and_limit_has_a_row_with_its_default(name: str) -> None:
    (row,) = [each for each in ROWS if each.startswith(f"`{name}` |")]

    assert row.split(" | ")[1] == OPTIONS[name].default_text
