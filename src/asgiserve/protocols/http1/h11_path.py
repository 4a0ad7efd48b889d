"""What is not ordinary, read by h11: one h11 connection for one request, fed exactly that request's bytes.

The head check has passed the head, and ChunkLexer passes the framing of a chunked body, before h11 sees
them. h11's limits are above ours. So it has nothing left to refuse; if it does refuse, two readers disagree
about the message, which is reason enough to refuse it (RFC 9112 11.2). Nothing behind the request's last
byte is ever given to h11: it stays in the codec's buffer. Used by the codec only.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import h11

from asgiserve.errors import RemoteProtocolError
from asgiserve.events import NEED_DATA, BodyChunk
from asgiserve.protocols.http1.body import ChunkedBody
from asgiserve.protocols.http1.chunks import Piece
from asgiserve.protocols.http1.fields import is_look_alike

if TYPE_CHECKING:
    from asgiserve.config import Limits
    from asgiserve.events import NeedData, RequestHead
    from asgiserve.protocols.http1.buffer import WireBuffer
    from asgiserve.protocols.http1.fields import FieldLines

__all__ = ["H11ChunkedBody", "H11CountedBody", "H11Request"]

_KEPT = frozenset({b"host", b"transfer-encoding"})
"""Fields whose value is the head check's: there is one of each at most."""

_Event = TypeVar("_Event", bound=h11.Event)


class H11Request:
    """One request in the eyes of h11."""

    __slots__ = ("_connection",)

    def __init__(self, limits: Limits) -> None:
        # Twice the limit: h11's must never be the one that is met first.
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=2 * limits.request_head)

    def read_head(self, head: bytes, checked: RequestHead) -> RequestHead:
        """The checked head with the fields as h11 reads them. A host that is the target's stays that, and a coding is
        written as the peer wrote it."""
        self.feed(head)
        request = self.expect(h11.Request)
        kept = {name: value for name, value in checked.headers if name in _KEPT}
        headers = [(name, kept.pop(name, value)) for name, value in request.headers if not is_look_alike(name)]
        headers[:0] = kept.items()  # a host that only the target has
        return replace(checked, headers=headers)

    def feed(self, data: bytes) -> None:
        self._connection.receive_data(data)

    def expect(self, kind: type[_Event]) -> _Event:
        """h11's next event, which must be of this type."""
        try:
            event = self._connection.next_event()
        except h11.RemoteProtocolError:
            event = None
        if not isinstance(event, kind):
            raise RemoteProtocolError("the request can be read in more than one way")
        return event


class H11CountedBody:
    """A body whose length is known, through h11."""

    __slots__ = ("_request", "left")

    def __init__(self, request: H11Request, length: int) -> None:
        self._request = request
        self.left = length

    def read(self, buffer: WireBuffer) -> BodyChunk | NeedData:
        wire = buffer.take(self.left)
        if not wire:
            return NEED_DATA
        self._request.feed(wire)
        data = bytes(self._request.expect(h11.Data).data)
        self.left -= len(data)
        if not self.left:
            self._request.expect(h11.EndOfMessage)
        return BodyChunk(data, self.left > 0)


class H11ChunkedBody(ChunkedBody):
    """A chunked body, through h11."""

    __slots__ = ("_request",)

    def __init__(self, request: H11Request, limits: Limits, field_lines: FieldLines) -> None:
        super().__init__(limits, field_lines)
        self._request = request

    def whole_chunks(self, buffer: WireBuffer) -> list[bytes]:
        return []  # h11 sees every piece

    def check(self, kind: Piece, wire: bytes) -> None:
        self._request.feed(wire)
        if kind is Piece.DATA:
            if self._request.expect(h11.Data).data != wire:
                raise RemoteProtocolError("the request can be read in more than one way")
        elif kind is Piece.LAST:
            self._request.expect(h11.EndOfMessage)
