"""For test suites, ours and yours: connections without sockets.

Public: what is listed here keeps its name and meaning between releases.
"""

from __future__ import annotations

from asgiserve.testing.listener import MemoryListener
from asgiserve.testing.streams import MemoryStream, memory_stream_pair

__all__ = ["MemoryListener", "MemoryStream", "memory_stream_pair"]
