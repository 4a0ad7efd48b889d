"""How far a WebSocket's connection has come; `asgi/websocket.py` has what its application may send meanwhile."""

from __future__ import annotations

import enum
from typing import Final

__all__ = ["CONNECTING", "ENDED", "OPEN", "Phase"]


class Phase(enum.Enum):
    """What the two sides of a WebSocket ask before they touch the stream."""

    CONNECTING = "the handshake has not been answered"
    OPEN = "messages go both ways"
    ENDED = "nothing more comes for the application, and nothing more is sent for it"


# Names of this module: until py3.12, reading a member of an Enum class costs ten times as much.
CONNECTING: Final = Phase.CONNECTING
OPEN: Final = Phase.OPEN
ENDED: Final = Phase.ENDED
