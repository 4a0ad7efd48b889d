"""Ctrl+C in an embedding trio program reaches that program, and never a task of ours: each body is protected.

A task does not inherit that from whoever has made it. Read from the source, so that no body is forgotten.
"""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src" / "asgiserve"


def test_whatever_is_spawned_for_a_connection_is_protected() -> None:
    protected: set[str] = set()
    spawned: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.AsyncFunctionDef(name=name, decorator_list=[*_, ast.Name("ki_protected")]):
                    protected.add(name)
                case ast.Call(
                    func=ast.Attribute(attr="spawn"), args=[ast.Attribute(attr=name) | ast.Name(id=name), *_]
                ):
                    spawned.add(name)

    assert len(spawned) >= 8
    assert spawned - protected == set()
