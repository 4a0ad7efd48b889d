"""Chunked framing (RFC 9112 7.1), taken apart strictly: which bytes are lines, which are data, where the
body ends.

Theory of operation. The framing is taken apart piece by piece:

    SIZE ──"5"──► DATA ──5 bytes──► DATA_END ──CRLF──► SIZE
      └──"0"──► TRAILERS ──empty line──► END

A piece is a line with its CRLF or a run of data. Each refusal comes at the byte that makes it certain, whatever the
split.

Where h11 reads the request it is given exactly the pieces that passed, so that the two readings of the framing must
agree, and no byte behind the body ever reaches it. By itself it would not do: it accepts what others read differently
(a bare LF or a folded line among the trailers, any byte in a chunk's extensions), it bounds neither extensions nor
trailers, and its limit for incomplete events depends on how the bytes were split. It also costs 10 to 20 µs a chunk.
Used by body.py.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from asgiserve.errors import RemoteProtocolError
from asgiserve.protocols.http1.grammar import CHUNK_LINE, CRLF, PLAIN_CHUNK_LINE

if TYPE_CHECKING:
    from collections.abc import Callable

    from asgiserve.config import Limits
    from asgiserve.protocols.http1.buffer import WireBuffer
    from asgiserve.protocols.http1.fields import FieldLines

__all__ = ["ChunkLexer", "Piece"]

_MAX_SIZE_LINE: Final = 4096
"""Sixteen digits are enough for a size; the rest is extensions, which nobody is known to use."""

_OVERHEAD_BUDGET: Final = 16 * 1024
"""What the framing of one body may cost beyond its data: as in Go's net/http, each chunk may cost 16 bytes
and twice its data, and what it costs above that draws on this budget. Else a peer makes us read 4 KiB for
every byte of body."""

_FRAMING_NAMES: Final = frozenset({b"content-length", b"transfer-encoding", b"host"})
"""What no trailer may be (RFC 9110 6.5.1): it would change, too late, where the message ends or goes."""


class Piece(Enum):
    """What a piece of a chunked body is."""

    FRAMING = "framing"
    DATA = "data"
    LAST = "last"
    """The empty line that ends the body."""


class _State(Enum):
    SIZE = "size"
    DATA = "data"
    DATA_END = "data end"
    TRAILERS = "trailers"


# Names of this module: until py3.12, reading a member of an Enum class costs ten times as much.
_SIZE, _DATA, _DATA_END, _TRAILERS = _State.SIZE, _State.DATA, _State.DATA_END, _State.TRAILERS
_FRAMING_PIECE, _DATA_PIECE, _LAST_PIECE = Piece.FRAMING, Piece.DATA, Piece.LAST
_match_size_line: Final = CHUNK_LINE.fullmatch
_match_plain_line: Final = PLAIN_CHUNK_LINE.match


class ChunkLexer:
    """Takes a chunked body out of a buffer, one piece at a time."""

    __slots__ = (
        "_body_left",
        "_chunk_left",
        "_field_lines",
        "_overhead",
        "_state",
        "_trailer_bytes_left",
        "_trailers_left",
    )

    def __init__(self, limits: Limits, field_lines: FieldLines) -> None:
        self._field_lines = field_lines
        self._state = _SIZE
        self._chunk_left = 0
        self._body_left = limits.request_body
        self._overhead = 0
        self._trailer_bytes_left = limits.request_head
        self._trailers_left = limits.request_fields

    def whole_chunks(self, buffer: WireBuffer) -> list[bytes]:
        """The short way for what most chunks are: the data of those that have come as a whole, without extensions.

        `next_piece` would take the same bytes alike. What is not there, unusual or wrong is left to it."""
        chunks: list[bytes] = []
        if self._state is not _SIZE:
            return chunks
        wire, at, left, overhead = buffer.data, buffer.start, self._body_left, self._overhead
        view = memoryview(wire)
        while (line := _match_plain_line(wire, at)) is not None:
            begin, size = line.end(), int(line[1], 16)
            end = begin + size
            cost = overhead + _cost_of(begin - at, size)
            if not size or wire[end : end + 2] != CRLF or cost > _OVERHEAD_BUDGET:
                break
            if left is not None:
                if size > left:
                    break
                left -= size
            chunks.append(bytes(view[begin:end]))
            overhead = cost if cost > 0 else 0
            at = end + 2
        buffer.take_to(at)
        self._body_left, self._overhead = left, overhead
        return chunks

    def next_piece(self, buffer: WireBuffer) -> tuple[Piece, bytes] | None:
        """The next piece, or None until more bytes come. Raises RemoteProtocolError."""
        state = self._state
        if state is _DATA:
            return self._data(buffer)
        if state is _SIZE:
            return self._size_line(buffer)
        if state is _DATA_END:
            return self._data_end(buffer)
        return self._trailer_line(buffer)

    def _size_line(self, buffer: WireBuffer) -> tuple[Piece, bytes] | None:
        line = _take_line(buffer, _MAX_SIZE_LINE, _size_line_too_long)
        if line is None:
            return None
        match = _match_size_line(line)
        if match is None:
            raise RemoteProtocolError("a chunk's size line is malformed")
        size = int(match[1], 16)
        if not size:
            self._state = _TRAILERS
        else:
            if self._body_left is not None:
                self._body_left -= size
                if self._body_left < 0:
                    raise RemoteProtocolError("the request body is too large", status=413)
            self._state = _DATA
            self._chunk_left = size
        overhead = self._overhead + _cost_of(len(line) + 2, size)
        if overhead > _OVERHEAD_BUDGET:
            raise RemoteProtocolError("the chunks carry too little data for their framing")
        self._overhead = max(overhead, 0)
        return _FRAMING_PIECE, line + CRLF

    def _data(self, buffer: WireBuffer) -> tuple[Piece, bytes] | None:
        data = buffer.take(self._chunk_left)
        if not data:
            return None
        self._chunk_left -= len(data)
        if not self._chunk_left:
            self._state = _DATA_END
        return _DATA_PIECE, data

    def _data_end(self, buffer: WireBuffer) -> tuple[Piece, bytes] | None:
        held = buffer.peek(2)
        if held == CRLF:
            self._state = _SIZE
            return _FRAMING_PIECE, buffer.take(2)
        if not CRLF.startswith(held):
            raise RemoteProtocolError("a chunk's data does not end where its size says")
        return None

    def _trailer_line(self, buffer: WireBuffer) -> tuple[Piece, bytes] | None:
        line = _take_line(buffer, self._trailer_bytes_left - 2, _trailers_too_large)
        if line is None:
            return None
        self._trailer_bytes_left -= len(line) + 2
        if not line:
            return _LAST_PIECE, CRLF
        if not self._trailers_left:
            raise RemoteProtocolError("the request has too many trailer fields", status=431)
        self._trailers_left -= 1
        field = self._field_lines.plain.get(line) or self._field_lines.read(line, [], [])
        if field[0] in _FRAMING_NAMES:
            raise RemoteProtocolError("a trailer field concerns the framing or routing of the message")
        return _FRAMING_PIECE, line + CRLF


def _cost_of(line: int, size: int) -> int:
    """What a chunk costs beyond what it may, from the length of its line with its end; less than 0 if it is cheap."""
    return line + 2 - 16 - 2 * size


def _take_line(buffer: WireBuffer, limit: int, too_long: Callable[[], RemoteProtocolError]) -> bytes | None:
    """A line of at most `limit` bytes, without its CRLF; None while it is not complete."""
    end = buffer.find(b"\n", limit + 2)
    if end < 0:
        if len(buffer) >= limit + 2:
            raise too_long()
        return None
    line = buffer.take(end + 1)
    if not line.endswith(CRLF):
        raise RemoteProtocolError("a line of the chunked framing ends with LF instead of CR LF")
    return line[:-2]


def _size_line_too_long() -> RemoteProtocolError:
    return RemoteProtocolError("a chunk's size line is too long")


def _trailers_too_large() -> RemoteProtocolError:
    return RemoteProtocolError("the trailer section is too large", status=431)
