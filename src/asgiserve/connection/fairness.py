"""Fairness: how much one connection may do in a row before others get their turn.

A loop that finds everything ready never suspends by itself: a peer that pipelines or floods, an application that only
ever sends. Such loops pass a checkpoint now and then. One for each step would cost 3 µs on asyncio and 4 on trio, as
much as reading a small WebSocket frame, and a peer that wants more turns only needs more connections.
"""

from __future__ import annotations

from typing import Final

__all__ = ["BURST"]

BURST: Final = 8
"""Requests, frames or parts of a body in a row, without a checkpoint."""
