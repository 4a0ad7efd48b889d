"""Ctrl+C in an embedding trio program reaches that program, and never a task of ours: each body is protected.

A task does not inherit that from whoever has made it. Read from the source, so that no body is forgotten: where it does
not say whose method one is, all of that name are to be protected. What that is good for shows
`unit/server/test_ctrl_c_on_trio.py`.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE: Final = Path(__file__).parent.parent / "src" / "asgiserve"

ELSEWHERE: Final = {
    "demo.py": "an application: what it starts is its own",
    "signals.py": "the command line's processes take Ctrl+C themselves: nothing is interrupted there",
    "supervise": "the same",
    "testing": "tests' own",
}

PASSED_ON: Final = {"body"}
"""Who starts the guards' tasks has it from `spawn()`."""


def parsed() -> Iterator[tuple[str, ast.AST]]:
    for path in SOURCE.rglob("*.py"):
        file = path.relative_to(SOURCE)
        if file.parts[0] not in ELSEWHERE:
            for node in ast.walk(ast.parse(path.read_text())):
                yield str(file), node


def test_whatever_the_server_starts_is_protected() -> None:
    protected: dict[str, dict[str, bool]] = defaultdict(dict)
    """By the name of a body, and by the file it is in."""
    started: set[tuple[str, str]] = set()
    for file, node in parsed():
        match node:
            case ast.AsyncFunctionDef(name=name, decorator_list=decorators) if not file.startswith("streams"):
                # Streams have a flush() as well, and start nothing.
                is_protected = any(isinstance(one, ast.Name) and one.id == "ki_protected" for one in decorators)
                protected[name][file] = protected[name].get(file, True) and is_protected
            case ast.Call(func=ast.Attribute(attr="spawn" | "start_soon"), args=[ast.Name(id=name), *_]):
                started.add((name, file))
            case ast.Call(
                func=ast.Attribute(attr="spawn" | "start_soon"),
                args=[ast.Attribute(value=ast.Name(id="self"), attr=name), *_],
            ):
                started.add((name, file))
            case ast.Call(func=ast.Attribute(attr="spawn" | "start_soon"), args=[ast.Attribute(attr=name), *_]):
                started.add((name, "another's"))
            case ast.Call(func=ast.Attribute(attr="spawn" | "start_soon" as how)):
                raise AssertionError(f"{file}:{node.lineno}: {how}() of what has no name")

    assert len(started) >= 15
    assert {name for name, _ in started} - set(protected) == PASSED_ON
    for name, file in started:
        here = protected[name]
        assert all([here[file]] if file in here else here.values()), (name, file, here)
