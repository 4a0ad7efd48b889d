"""Processes that end by themselves: `ran()`, what one said. And how long one may take.

Servers, which a test ends, are `tests/live/servers.py`'s.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["START_PATIENCE", "ran"]

START_PATIENCE: Final = 60.0
"""Seconds that a test waits for what processes are to start for. Most of what that costs are imports, of a framework
above all, and other runs of the tests may be doing the same at that moment."""


def ran(words: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
    """What this command said, and its exit code, whatever that is; the options are Popen's.

    Raises:
        TimeoutExpired: it did not end.
    """
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=START_PATIENCE, **options)
