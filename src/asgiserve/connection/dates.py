"""The value of the `Date` field, made once a second."""

from __future__ import annotations

import time
from email.utils import formatdate

__all__ = ["HttpDate"]


class HttpDate:
    """Calling it gives now as an IMF-fixdate (RFC 9110 5.6.7)."""

    __slots__ = ("_second", "_value")

    def __init__(self) -> None:
        self._second = -1
        self._value = b""

    def __call__(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._value = formatdate(second, usegmt=True).encode("ascii")
        return self._value
