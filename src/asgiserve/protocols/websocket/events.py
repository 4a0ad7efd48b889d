"""What the codec says about a peer's frames, but for messages: those are plain `str` and `bytes`.

A text message is the `str` itself and a binary message the `bytes`, so that nothing is made for a message but
the message. No rule lives here. Made by the codec, read by the WebSocket driver in `connection/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from asgiserve.events import NeedData

__all__ = ["MORE", "Close", "Event", "More", "Ping", "Pong"]


@dataclass(slots=True)
class Ping:
    """The peer wants a pong with the same payload, of at most 125 bytes."""

    payload: bytes


@dataclass(slots=True)
class Pong:
    """An answer to a ping, or a sign of life that nobody asked for."""

    payload: bytes


@dataclass(slots=True)
class Close:
    """The peer's Close frame: the last event there is."""

    code: int
    """The peer's code; 1005 if the frame has none (RFC 6455 7.1.5)."""
    reason: str


class More(Enum):
    """The type of `MORE`."""

    MORE = "there was much to read, and there may be more"

    def __repr__(self) -> str:
        return self.name


MORE: Final = More.MORE
"""Nothing yet, although much has been read: others should run before the codec is asked again. No data is needed."""

Event: TypeAlias = str | bytes | Ping | Pong | Close | NeedData | More
"""`str`: a text message. `bytes`: a binary one. `NEED_DATA`: nothing yet."""
