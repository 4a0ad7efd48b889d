"""The messages of a WebSocket that were read before its application asked for them, within two bounds.

Filled by the reader on demand, emptied by `receive()`; both in `websocket.py`.
"""

from __future__ import annotations

from collections import deque

__all__ = ["Inbox"]


class Inbox:
    """A queue of messages. One message always fits, so what it holds is less than `max_bytes` and one message."""

    __slots__ = ("_bytes", "_max_bytes", "_max_messages", "_messages")

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._messages: deque[tuple[str | bytes, int]] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def full(self) -> bool:
        """Whether reading has to stop."""
        return len(self._messages) >= self._max_messages or self._bytes >= self._max_bytes

    def put(self, message: str | bytes) -> None:
        size = len(message) if isinstance(message, bytes) or message.isascii() else len(message.encode())
        self._messages.append((message, size))
        self._bytes += size

    def take(self) -> str | bytes:
        message, size = self._messages.popleft()
        self._bytes -= size
        return message
