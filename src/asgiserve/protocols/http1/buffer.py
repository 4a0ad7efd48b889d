"""The bytes of a connection that have come and are not consumed. Knows nothing of HTTP; used by the codec
only.

In the common case one read is one request: the bytes object that was received is looked at where it is, and
nothing is copied. Only when bytes are left over and more come do they move into a `bytearray`, whose end
grows and whose front is cut off in amortised constant time: receiving is linear however the bytes are
split.
"""

from __future__ import annotations

__all__ = ["WireBuffer"]


class WireBuffer:
    """Unread bytes: `data` from the index `start` on. The head's path reads both attributes directly, for
    speed."""

    __slots__ = ("data", "start")

    def __init__(self) -> None:
        self.data: bytes | bytearray = b""
        self.start = 0

    def __len__(self) -> int:
        return len(self.data) - self.start

    def append(self, data: bytes) -> None:
        rest = self.data
        if self.start == len(rest):
            self.data = data
        elif isinstance(rest, bytearray):
            del rest[: self.start]
            rest += data
        else:
            self.data = bytearray(memoryview(rest)[self.start :])
            self.data += data
        self.start = 0

    def peek(self, count: int) -> bytes:
        """At most that many bytes, which stay unread."""
        return bytes(self.data[self.start : self.start + count])

    def find(self, byte: bytes, within: int) -> int:
        """Where that byte is first, counted from the first unread one; -1 if not among the next `within`."""
        found = self.data.find(byte, self.start, self.start + within)
        return found - self.start if found >= 0 else -1

    def take(self, count: int) -> bytes:
        """Consume at most that many bytes. An undivided bytes object is handed on as it is."""
        data, start = self.data, self.start
        if count >= len(data) - start:
            self.data, self.start = b"", 0
            return data[start:] if isinstance(data, bytes) else bytes(memoryview(data)[start:])
        self.start = start + count
        return bytes(memoryview(data)[start : self.start])

    def take_to(self, end: int) -> None:
        """Consume what is in front of this index of `data`."""
        if end == len(self.data):
            self.clear()
        else:
            self.start = end

    def clear(self) -> None:
        """Forget everything: an idle connection must not keep the last request's bytes alive."""
        self.data = b""
        self.start = 0
