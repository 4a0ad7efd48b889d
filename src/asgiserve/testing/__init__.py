"""For test suites, ours and yours: live servers in threads or in the test's own loop, and connections in memory.

Public: what is listed here keeps its name and meaning between releases.
"""

from __future__ import annotations

from asgiserve.testing.faults import Faults, memory_stream_pair
from asgiserve.testing.listener import MemoryListener
from asgiserve.testing.live import AsyncLiveServer, LiveServer, ServerHangs, async_live_server, live_server
from asgiserve.testing.memory import MemoryServer, memory_server
from asgiserve.testing.streams import MemoryStream

__all__ = [
    "AsyncLiveServer",
    "Faults",
    "LiveServer",
    "MemoryListener",
    "MemoryServer",
    "MemoryStream",
    "ServerHangs",
    "async_live_server",
    "live_server",
    "memory_server",
    "memory_stream_pair",
]
