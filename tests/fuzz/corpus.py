"""Cases as text: each target's cases are JSON, and bytes in them are strings of Latin-1.

A file `corpus/<target>-<what it showed>.json` is a case that has failed once; `test_fuzz.py` plays all of them. The
runner writes what it finds as `found-…`, and whoever mends it gives it a name.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CORPUS", "Case", "cases_of", "load", "save"]

Case: TypeAlias = dict[str, Any]

CORPUS = Path(__file__).parent / "corpus"


def cases_of(target: str) -> Iterator[Path]:
    yield from sorted(CORPUS.glob(f"{target}-*.json"))


def load(file: Path) -> Case:
    case: Case = json.loads(file.read_text(encoding="utf-8"))
    return case


def save(target: str, case: Case, directory: Path = CORPUS) -> Path:
    text = json.dumps(case, indent=1, sort_keys=True) + "\n"
    file = directory / f"{target}-found-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    file.write_text(text, encoding="utf-8")
    return file
