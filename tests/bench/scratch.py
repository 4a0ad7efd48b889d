"""A folder that lives as long as the benchmark, with the static files of all servers and nginx's configuration."""

from __future__ import annotations

import atexit
import functools
import tempfile
from pathlib import Path
from typing import Final

__all__ = ["FILES", "folder"]

FILES: Final = {"100k.bin": 102_400, "10m.bin": 10_485_760}
"""The static files and their sizes."""

_LINE: Final = b"What a file contains makes no difference to who sends it; but it must be the same everywhere.\n"


@functools.cache
def folder() -> Path:
    made = tempfile.TemporaryDirectory(prefix="asgiserve-bench-")
    atexit.register(made.cleanup)
    path = Path(made.name)
    # Servers that give up root's rights (nginx) read here too.
    path.chmod(0o755)
    for name, size in FILES.items():
        (path / name).write_bytes(content(size))
    return path


def content(size: int) -> bytes:
    return (_LINE * (size // len(_LINE) + 1))[:size]
