"""Where a request head ends, in bytes that come in pieces, and what can be refused before it has ended.

Theory of operation. The verdict on a head must depend on its bytes and never on how they were split. So
there is one order of refusals, that of the bytes: each of these is refused at the byte that makes it
certain.

1. a first byte that begins no method;
2. a request line that is too long, or complete and bad;
3. a bare LF (a peer that ends lines so would never send the CRLF CRLF that we wait for);
4. a head that has not ended within its limit.

Only a head that passes all of these is judged as a whole (head.py). A head that comes in one piece takes
the short way: its end is found, it is judged, and only if that fails does `advance` tell whether something
earlier was wrong. Used by the codec only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgiserve.errors import RemoteProtocolError
from asgiserve.protocols.http1.grammar import BARE_LF, HEAD_END, TCHARS
from asgiserve.protocols.http1.request_line import read_request_line

if TYPE_CHECKING:
    from asgiserve.config import Limits

__all__ = ["HeadScan"]


class HeadScan:
    """The search for one head's end. All offsets are relative to the head's first byte."""

    __slots__ = ("_head_limit", "_line_limit", "_request_line_end", "_searched")

    def __init__(self, limits: Limits) -> None:
        self._head_limit = limits.request_head
        self._line_limit = limits.request_line
        self._request_line_end = 0
        self._searched = 0

    def find_end(self, data: bytes | bytearray, start: int) -> int:
        """The index behind the head that begins at `start`, or -1 while it is not complete."""
        if not self._searched:
            end = data.find(HEAD_END, start, start + self._head_limit)
            if end >= 0:
                return end + 4
        return self.advance(data, start)

    def advance(self, data: bytes | bytearray, start: int) -> int:
        """As `find_end`, byte for byte: refuses what a peer that sends slowly would be refused for first."""
        if not self._request_line_end:
            self._request_line_end = self._check_request_line(data, start)
            if not self._request_line_end:
                self._searched = len(data) - start
                return -1
        limit = start + self._head_limit
        # The CRLF that ends the request line may be the first half of the head's end.
        resume = max(self._request_line_end - 2, self._searched - 3)
        end = data.find(HEAD_END, start + resume, limit)
        seen = end + 4 if end >= 0 else min(len(data), limit)
        if BARE_LF.search(data, start + resume, seen):
            raise _bare_lf()
        if end >= 0:
            self._request_line_end = self._searched = 0  # ready for the next head
            return end + 4
        if len(data) >= limit:
            raise _head_too_large()
        self._searched = len(data) - start
        return -1

    def _check_request_line(self, data: bytes | bytearray, start: int) -> int:
        """The offset behind the request line, 0 while it is not complete."""
        if start < len(data) and data[start] not in TCHARS:
            raise RemoteProtocolError("the first byte begins no method")
        held = min(len(data) - start, self._head_limit)
        end = data.find(b"\n", start + min(self._searched, held), start + held) - start
        if end < 0:
            # A line as long as its limit is followed by CR and LF: with one byte more it is too long.
            if held >= self._line_limit + 2:
                raise _request_line_too_long()
            if held == self._head_limit:
                raise _head_too_large()
            return 0
        if end >= self._line_limit + 2:
            raise _request_line_too_long()
        if data[start + end - 1] != 0x0D:
            raise _bare_lf()
        read_request_line(bytes(data[start : start + end - 1]))
        return end + 1


def _bare_lf() -> RemoteProtocolError:
    return RemoteProtocolError("a line of the head ends with LF instead of CR LF")


def _request_line_too_long() -> RemoteProtocolError:
    return RemoteProtocolError("the request line is too long", status=414)


def _head_too_large() -> RemoteProtocolError:
    return RemoteProtocolError("the request head is too large", status=431)
