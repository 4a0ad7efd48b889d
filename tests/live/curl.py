"""curl, as a client that is not ours: `curl()`, and the mark of tests that need it."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import START_PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["curl", "needs_curl"]

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on this machine")


def curl(*arguments: str | Path, data: bytes = b"") -> tuple[bytes, str]:
    """What curl read, and what it says of the way (with `--verbose`). Fails if curl does."""
    words = ["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "20", *arguments]
    done = subprocess.run(words, input=data, capture_output=True, check=False, timeout=START_PATIENCE)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout, done.stderr.decode()
