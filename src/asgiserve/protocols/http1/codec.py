"""`Http1Codec`: the bytes of one connection in, the events of its requests out, one at a time and when asked.

    HEAD ──next_head──► BODY ──next_body, discard_body──► COMPLETE ──next_request──► HEAD
      └── a request without body ─────────────────────────────┘
    any ──a rule is broken──► POISONED

The codec decides nothing about the grammar; it holds the buffer, knows whose turn it is and picks the
reader of the body. After an error nothing more is parsed: what follows a request that could not be read has
no known beginning. Called by the HTTP/1 driver in `connection/`.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from asgiserve.errors import RemoteProtocolError
from asgiserve.events import NEED_DATA, BodyChunk
from asgiserve.protocols.http1.body import ChunkedBody, CountedBody
from asgiserve.protocols.http1.buffer import WireBuffer
from asgiserve.protocols.http1.fields import SHARED_LINES
from asgiserve.protocols.http1.grammar import CRLF, HEAD_END
from asgiserve.protocols.http1.h11_path import H11ChunkedBody, H11CountedBody, H11Request
from asgiserve.protocols.http1.head import HeadCheck, Verdict
from asgiserve.protocols.http1.scan import HeadScan

if TYPE_CHECKING:
    from asgiserve.config import Limits
    from asgiserve.events import NeedData, RequestHead
    from asgiserve.protocols.http1.fields import FieldLines

__all__ = ["Http1Codec"]

_MAX_EMPTY_LINES: Final = 4
"""RFC 9112 2.2: a server should ignore at least one empty line before a request line; old clients send one
after a POST's body. A few are a habit, more are noise."""


class _State(Enum):
    HEAD = "head"
    BODY = "body"
    COMPLETE = "complete"
    POISONED = "poisoned"


_HEAD: Final = _State.HEAD
_BODY: Final = _State.BODY
_COMPLETE: Final = _State.COMPLETE
_ORDINARY: Final = Verdict.ORDINARY


class _Body(Protocol):
    @property
    def left(self) -> int | None:
        """How many bytes are to come; None where only the body itself tells."""

    def read(self, buffer: WireBuffer) -> BodyChunk | NeedData: ...


class Http1Codec:
    """One connection's requests. `engine="h11"` has every request read by h11; the events are the same."""

    __slots__ = (
        "_body",
        "_buffer",
        "_check",
        "_empty_lines",
        "_error",
        "_field_lines",
        "_h11_only",
        "_limits",
        "_refused_head",
        "_scan",
        "_state",
    )

    def __init__(self, limits: Limits, *, engine: str = "auto", field_lines: FieldLines = SHARED_LINES) -> None:
        self._limits = limits
        self._h11_only = engine == "h11"
        self._field_lines = field_lines
        self._check = HeadCheck(limits, field_lines, short_way=not self._h11_only)
        self._scan = HeadScan(limits)
        self._buffer = WireBuffer()
        self._empty_lines = 0
        self._state = _HEAD
        self._body: _Body | None = None
        self._error: tuple[str, int] | None = None
        """Text and status of the refusal. Not the error itself: its traceback holds us, and what we are part of."""
        self._refused_head = False

    def receive_data(self, data: bytes) -> None:
        """Add bytes from the peer. Linear in their number, however they are split; nothing is parsed here."""
        if self._error is None:
            self._buffer.append(data)

    def receive_head(self, data: bytes) -> RequestHead | NeedData:
        """`receive_data` and `next_head` in one, with a short way for a request whose fields are known and that
        comes in one piece, as most do. The result is the same either way."""
        buffer = self._buffer
        looked_up = 0
        if self._state is _HEAD and not buffer.data:
            if data.endswith(HEAD_END):
                looked_up = len(data)
                head = self._check.known(data)
            else:
                looked_up = data.find(HEAD_END) + 4
                head = self._check.known(data[:looked_up])
                if head is not None:
                    buffer.data, buffer.start = data, looked_up
            if head is not None:
                if head.content_length:
                    self._begin_body(head.content_length)
                else:
                    self._state = _COMPLETE
                return head
        self.receive_data(data)
        return self.next_head(looked_up)

    def next_head(self, looked_up: int = 0) -> RequestHead | NeedData:
        """The next request's head, when it is complete. Raises RemoteProtocolError, and then for ever.

        A head of `looked_up` bytes is none that is known."""
        if self._state is not _HEAD:
            self._refuse_turn("head")
        try:
            buffer = self._buffer
            if buffer.data.startswith(b"\r", buffer.start) and not self._skip_empty_lines():
                return NEED_DATA
            end = self._scan.find_end(buffer.data, buffer.start)
            return NEED_DATA if end < 0 else self._read_head(end, looked_up)
        except RemoteProtocolError as error:
            self._poison(error)
            raise

    def next_body(self) -> BodyChunk | NeedData:
        """What has come of the body. Raises RemoteProtocolError, and then for ever."""
        body = self._body
        if body is None:
            self._refuse_turn("body")
        try:
            chunk = body.read(self._buffer)
        except RemoteProtocolError as error:
            self._poison(error)
            raise
        if isinstance(chunk, BodyChunk) and not chunk.more:
            self._body = None
            self._state = _COMPLETE
        return chunk

    def rest_of_body(self) -> bytes | None:
        """The short way for most bodies: all that is left of one with a length, which is then complete. None if it has
        not come yet, or has to be read otherwise: `next_body` tells."""
        body = self._body
        if type(body) is not CountedBody or body.left > len(self._buffer.data) - self._buffer.start:
            return None
        self._body = None
        self._state = _COMPLETE
        return self._buffer.take(body.left)

    def discard_body(self) -> bool:
        """Drop what has come of the body. True if its end is reached. Raises RemoteProtocolError."""
        while not self.body_complete:
            if self.next_body() is NEED_DATA:
                return False
        return True

    @property
    def body_complete(self) -> bool:
        """Whether the last event of the request's body was handed out, or it has no body."""
        return self._state is _COMPLETE

    def body_arrived(self) -> bool:
        """Whether the rest of the body is here, so that the next request can follow without a wait."""
        body = self._body
        return body is None or (body.left is not None and body.left <= len(self._buffer))

    def next_request(self) -> None:
        """Get ready for the next head. Only when the body is complete."""
        if not self.finish_request():
            raise RuntimeError(f"next_request() in state {self._state.name}")

    def finish_request(self) -> bool:
        """Whether the body is complete; then the codec is ready for the next head, as by `next_request`."""
        if self._state is not _COMPLETE:
            return False
        self._state = _HEAD
        self._empty_lines = 0
        return True

    def empty(self) -> bool:
        """Whether nothing is held: the same as `buffered == 0`, for less. No property: until py3.12 these are slow."""
        return not self._buffer.data

    def more_follows(self) -> bool:
        """Whether bytes behind the request are here: the driver will look at them when it is answered."""
        return self._state is _COMPLETE and bool(self._buffer.data)

    @property
    def buffered(self) -> int:
        """How many bytes are held that no event has consumed."""
        return len(self._buffer)

    @property
    def head_begun(self) -> bool:
        """Whether bytes of a head that is not complete have come; empty lines before it do not count."""
        if self._state is not _HEAD or not self._buffer:
            return False
        return bool(self._buffer.peek(2 * _MAX_EMPTY_LINES + 1).lstrip(CRLF))

    def asks_for_head(self) -> bool:
        """Whether the request whose head is being read, or was refused, is a HEAD: its answer has no content
        (RFC 9110 9.3.2)."""
        return self._refused_head or self._buffer.data.startswith(b"HEAD ", self._buffer.start)

    def unread(self) -> bytes:
        """The bytes that no event has consumed, for the protocol that the connection is switched to."""
        return self._buffer.peek(len(self._buffer))

    def _read_head(self, end: int, looked_up: int) -> RequestHead:
        buffer = self._buffer
        data, start = buffer.data, buffer.start
        wire = data[start:end]
        if isinstance(wire, bytearray):
            wire = bytes(wire)
        known = None if end - start == looked_up else self._check.known(wire)
        try:
            head, verdict = (known, _ORDINARY) if known is not None else self._check.check(wire[:-4].split(CRLF))
        except RemoteProtocolError:
            self._scan.advance(data, start)
            raise
        if end == len(data):
            buffer.data, buffer.start = b"", 0
        else:
            buffer.start = end
        if self._h11_only or verdict is not _ORDINARY:
            return self._read_by_h11(wire, head)
        if head.content_length != 0:
            self._begin_body(head.content_length)
        else:
            self._state = _COMPLETE
        return head

    def _begin_body(self, length: int | None) -> None:
        self._state = _BODY
        self._body = ChunkedBody(self._limits, self._field_lines) if length is None else CountedBody(length)

    def _skip_empty_lines(self) -> bool:
        """Skip empty lines; False if half a one is left."""
        while self._buffer.peek(2) == CRLF:
            if self._empty_lines == _MAX_EMPTY_LINES:
                raise RemoteProtocolError("too many empty lines before a request line")
            self._buffer.take(2)
            self._empty_lines += 1
        return self._buffer.peek(2) != b"\r"

    def _read_by_h11(self, wire: bytes, checked: RequestHead) -> RequestHead:
        request = H11Request(self._limits)
        head = request.read_head(wire, checked)
        length = head.content_length
        if length == 0:
            self._state = _COMPLETE
            return head
        self._state = _BODY
        if length is None:
            self._body = H11ChunkedBody(request, self._limits, self._field_lines)
        else:
            self._body = H11CountedBody(request, length)
        return head

    def _poison(self, error: RemoteProtocolError) -> None:
        self._refused_head = self._state is _HEAD and self.asks_for_head()
        self._state = _State.POISONED
        self._body = None
        self._error = str(error), error.status
        self._buffer.clear()

    def _refuse_turn(self, wanted: str) -> NoReturn:
        if self._error is not None:
            raise RemoteProtocolError(self._error[0], status=self._error[1])
        raise RuntimeError(f"next_{wanted}() in state {self._state.name}")
