"""The lines that the server adds to responses, the date among them, made once a second."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from asgiserve.protocols.http1 import DefaultFields

__all__ = ["DefaultBlock", "HttpDate"]


_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
"""strftime would take the locale's."""


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
            year, month, day, hour, minute, of_minute, weekday, *_ = time.gmtime(second)
            written = f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year} {hour:02}:{minute:02}:{of_minute:02} GMT"
            self._value = written.encode("ascii")
        return self._value


class DefaultBlock:
    """All the lines, for a response that brings none of them itself."""

    __slots__ = ("_block", "_date", "_fields", "_second")

    def __init__(self, fields: DefaultFields, date: Callable[[], bytes | None]) -> None:
        self._fields = fields
        self._date = date
        self._second = -1
        self._block = b""

    def now(self) -> bytes:
        """The same object for a second. (A `__call__` would cost five times as much to call.)"""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._block = self._fields.block(self._date())
        return self._block
