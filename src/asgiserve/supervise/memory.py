"""How much memory a process has, from outside it: a worker that is stuck cannot say."""

from __future__ import annotations

import os
import subprocess
from typing import Final

__all__ = ["resident_bytes", "size_text"]

_HAS_PROC: Final = os.path.exists("/proc/self/statm")


def resident_bytes(pid: int) -> int | None:
    """Resident memory of this process, its children not included; None if it has ended."""
    try:
        if _HAS_PROC:
            with open(f"/proc/{pid}/statm", "rb") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        told = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, timeout=2, check=True)
        return int(told.stdout) * 1024
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return None


def size_text(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"
