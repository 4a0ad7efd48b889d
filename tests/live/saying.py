"""What applications of the live tests say on stderr, for the test that reads it."""

from __future__ import annotations

import sys

__all__ = ["say"]


def say(line: str) -> None:
    # In one write: print() makes two where PYTHONUNBUFFERED is set, and between them comes what another worker, or
    # another thread, writes to the same pipe.
    sys.stderr.write(f"{line}\n")
