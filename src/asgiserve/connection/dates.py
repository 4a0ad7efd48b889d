"""The lines that the server adds to responses, the date among them, made once a second."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from asgiserve.protocols.http1 import DefaultFields

__all__ = ["DefaultBlock", "HttpDate"]


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
