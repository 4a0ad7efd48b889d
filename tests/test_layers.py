"""Who may import whom. Read from the source, so that nothing is run and a forbidden import names its line.

cli → starting → supervise → program → signals → server
→ {connection | wsgi} → {protocols | asgi} → events → {config | logs} → {errors …}
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).parent.parent / "src" / "asgiserve"

LAYERS = (
    {"cli", "__main__"},
    {"starting"},
    {"supervise"},
    {"program"},
    {"signals"},
    {"server"},
    {"connection"},
    {"protocols", "asgi"},
    {"events"},
    {"config", "from_uvicorn", "logs"},
    {"log_settings"},
    {"access_format", "declaring"},
    {"errors", "types", "setting_values"},
    {"trusted"},
)
"""From the top down. A part imports from its own folder and from the rows below its own."""

BESIDE = {
    "": {"starting", "server", "errors", "config", "types", "logs"},
    "loader": {"errors", "types"},
    "process": {"backend", "errors", "logs"},
    "wsgi": {"backend", "errors", "types"},
    "backend": {"config", "errors"},
    "cancellation": {"backend"},
    "last_resort": {"backend", "logs", "process"},
    "streams": {"errors", "types", "backend"},
    "demo": {"", "backend", "types"},
    "sources": {"config", "errors", "from_uvicorn"},
    "command_words": {"config", "from_uvicorn", "sources"},
    "typer_command": {"", "command_words", "config", "errors", "from_uvicorn"},
    "print_config": {"declaring", "errors", "setting_values", "sources"},
    "log_config": {"errors", "logs"},
    "log_output": {"logs"},
}
"""Parts outside the rows, and all of the package that they import. "" is the package itself."""

USED_BY = {
    "streams": {"server", "connection", "testing"},
    "loader": {"program", "starting", "testing"},
    "process": {"cli", "last_resort", "program", "server", "signals", "starting", "supervise"},
    "wsgi": {"server"},
    "cancellation": {"server", "connection"},
    "starting": {""},
    "last_resort": {"signals", "supervise"},
    "supervise": {"cli", "starting"},
    "program": {"cli", "starting", "supervise"},
    "sources": {"cli", "command_words", "print_config", "program", "starting"},
    "command_words": {"cli", "typer_command"},
    "typer_command": {"cli"},
    "print_config": {"cli"},
    "log_config": {"program", "starting"},
    "log_output": {"program"},
    "cli": {"__main__"},
    "testing": set[str](),
    "demo": set[str](),
}
"""Parts that only these may import."""

PURE = {
    "access_format",
    "asgi",
    "config",
    "declaring",
    "events",
    "from_uvicorn",
    "log_settings",
    "protocols",
    "setting_values",
    "trusted",
    "types",
}
IMPURE_MODULES = {"anyio", "asyncio", "logging", "select", "socket", "ssl", "time", "trio"}

ONLY_IN = {
    "asyncio": {"streams", "backend", "testing"},
    "trio": {"streams", "backend", "testing"},
    "typer": {"typer_command"},
    "uvloop": {"backend"},
    "watchfiles": {"supervise"},
    "dotenv": {"sources"},
    "yaml": {"log_config"},
    "httpx": {"testing"},
    "httpcore": {"testing"},
    "trustme": {"testing"},
}
"""Modules, and the only parts that name them."""


class Import(NamedTuple):
    part: str
    """The folder or file directly below the package that imports: `connection`, `cli`."""
    module: str
    """What is imported, in full: `asgiserve.errors`, `anyio.abc`."""
    where: str

    @property
    def root(self) -> str:
        return self.module.partition(".")[0]

    @property
    def target(self) -> str | None:
        """The part of the package that is imported; None if it is another package."""
        return (self.module + "..").split(".")[1] if self.root == "asgiserve" else None


def _part_of(file: Path) -> str:
    part = file.relative_to(SOURCE).parts[0].removesuffix(".py")
    return "" if part == "__init__" else part


def _imports() -> Iterator[Import]:
    for file in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            for module in _modules(node):
                yield Import(_part_of(file), module, f"{file.relative_to(SOURCE)}:{getattr(node, 'lineno', 0)}")


def _modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        # `from asgiserve import logs` imports a part; `from asgiserve.errors import X` a name of one.
        parts = {path.name.removesuffix(".py") for path in SOURCE.iterdir()}
        if node.module == "asgiserve":
            return [f"asgiserve.{one.name}" if one.name in parts else "asgiserve" for one in node.names]
        return [node.module or ""]
    return []


IMPORTS = list(_imports())
PARTS = sorted({each.part for each in IMPORTS})


def _allowed(part: str) -> set[str]:
    if part in BESIDE:
        return BESIDE[part] | {part}
    row = next((number for number, names in enumerate(LAYERS) if part in names), None)
    if row is None:
        return {"", *PARTS} - {"cli", "__main__"}  # testing: everything but the command line
    below = {name for names in LAYERS[row + 1 :] for name in names}
    return below | {part, "", "backend", *(user for user, users in USED_BY.items() if part in users)}


def test_the_check_sees_imports_of_both_kinds() -> None:
    seen = {(each.part, each.target or each.root) for each in IMPORTS}

    assert {("typer_command", "typer"), ("cli", "logs"), ("config", "errors"), ("backend", "trio")} <= seen


@pytest.mark.parametrize("part", PARTS)
def test_a_part_imports_only_from_the_layers_below(part: str) -> None:
    allowed = _allowed(part)

    wrong = [each for each in IMPORTS if each.part == part and each.target not in {None, *allowed}]

    assert not wrong, [f"{each.where} imports {each.module}" for each in wrong]


@pytest.mark.parametrize("part", USED_BY)
def test_a_part_is_imported_only_by_those_who_may(part: str) -> None:
    wrong = [each for each in IMPORTS if each.target == part and each.part not in USED_BY[part] | {part}]

    assert not wrong, [f"{each.where} imports {each.module}" for each in wrong]


@pytest.mark.parametrize("part", sorted(PURE))
def test_rules_have_no_io_no_clock_and_no_log(part: str) -> None:
    wrong = [each for each in IMPORTS if each.part == part and each.root in IMPURE_MODULES]

    assert not wrong, [f"{each.where} imports {each.module}" for each in wrong]


@pytest.mark.parametrize("module", sorted(ONLY_IN))
def test_a_library_is_named_only_where_it_belongs(module: str) -> None:
    wrong = [each for each in IMPORTS if each.root == module and each.part not in ONLY_IN[module]]

    assert not wrong, [f"{each.where} imports {each.module}" for each in wrong]


def test_httpx_is_imported_by_one_file_of_the_test_tools() -> None:
    files = {each.where.partition(":")[0] for each in IMPORTS if each.root in {"httpx", "httpcore"}}

    assert files == {"testing/transport.py"}


def test_every_other_import_is_the_standard_library_or_a_dependency() -> None:
    known = {
        "asgiserve",
        "anyio",
        "trio",
        "h11",
        "wsproto",
        "typer",
        "uvloop",
        "dotenv",
        "yaml",
        "pytest",
        "httpx",
        "httpcore",
        "trustme",
        "watchfiles",
        *sys.stdlib_module_names,
    }

    assert {each.root for each in IMPORTS} <= known


def test_codecs_and_asgi_rules_never_meet() -> None:
    pairs = {(each.part, each.target) for each in IMPORTS}

    assert not pairs & {("protocols", "asgi"), ("asgi", "protocols")}
