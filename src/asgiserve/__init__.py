"""asgiserve: an ASGI server for structured concurrency, on asyncio or trio with the same behaviour."""

from __future__ import annotations

__version__ = "0.1.0"
