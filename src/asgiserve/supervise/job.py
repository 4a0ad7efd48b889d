"""What a worker process is sent. Made by supervisor.py, unpickled by worker.py, which is a program and not imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asgiserve.program import Plan

__all__ = ["Job"]


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is sent."""

    plan: Plan
    sockets: tuple[tuple[int, bool], ...]
    """Descriptor, and whether plain HTTP is spoken there whatever certificates there are."""
