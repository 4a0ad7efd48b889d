"""Virtual time, by which all tests but the live ones run."""

from __future__ import annotations

from asgiserve.testing.clock import JumpingLoop, virtual_time

__all__ = ["JumpingLoop", "virtual_time"]
