"""The ordinary path's bodies: so many bytes, as Content-Length said, or chunks. Used by the codec; h11_path.py has h11
look at them too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asgiserve.errors import RemoteProtocolError
from asgiserve.events import NEED_DATA, BodyChunk
from asgiserve.protocols.http1.chunks import ChunkLexer, Piece

if TYPE_CHECKING:
    from asgiserve.config import Limits
    from asgiserve.events import NeedData
    from asgiserve.protocols.http1.buffer import WireBuffer
    from asgiserve.protocols.http1.fields import FieldLines

__all__ = ["ChunkedBody", "CountedBody"]

# Names of this module: until py3.12, reading a member of an Enum class costs ten times as much.
_DATA, _LAST = Piece.DATA, Piece.LAST


_PIECES: Final = 256
"""So many pieces that have to be looked at are read in a row: h11 takes a millisecond or two for them, in which nobody
else runs, and one read of tiny chunks may bring a hundred times as many."""


class CountedBody:
    """Hands out the bytes of a body as they come."""

    __slots__ = ("left",)

    def __init__(self, length: int) -> None:
        self.left = length

    def read(self, buffer: WireBuffer) -> BodyChunk | NeedData:
        data = buffer.take(self.left)
        if not data:
            return NEED_DATA
        self.left -= len(data)
        return BodyChunk(data, self.left > 0)


class ChunkedBody:
    """Hands out the data of chunks, of all that have come in one event: how a peer cuts its body up is no matter of the
    application's. Trailer fields are checked and dropped."""

    __slots__ = ("_error", "_lexer")

    left = None
    """How much is to come is not known."""

    def __init__(self, limits: Limits, field_lines: FieldLines) -> None:
        self._lexer = ChunkLexer(limits, field_lines)
        self._error: tuple[str, int] | None = None
        """Text and status of what is wrong behind the data that was handed out last."""

    def read(self, buffer: WireBuffer) -> BodyChunk | NeedData:
        if self._error is not None:
            raise RemoteProtocolError(self._error[0], status=self._error[1])
        data: list[bytes] = []
        pieces = 0
        try:
            while pieces < _PIECES or not data:
                pieces += 1
                data += self.whole_chunks(buffer)
                piece = self._lexer.next_piece(buffer)
                if piece is None:
                    break
                kind, wire = piece
                self.check(kind, wire)
                if kind is _DATA:
                    data.append(wire)
                elif kind is _LAST:
                    return BodyChunk(b"".join(data), False)
        except RemoteProtocolError as error:
            if not data:
                raise
            self._error = str(error), error.status
        return BodyChunk(b"".join(data), True) if data else NEED_DATA

    def whole_chunks(self, buffer: WireBuffer) -> list[bytes]:
        """What may be taken without looking at its pieces."""
        return self._lexer.whole_chunks(buffer)

    def check(self, kind: Piece, wire: bytes) -> None:
        """Whether somebody else reads this piece alike. Raises RemoteProtocolError."""
