"""`ResponseWriter`: the only place that writes responses of HTTP/1, for requests of both paths.

    BEGUN ──head──► BODY ──body(more=False)──┬──────────────► COMPLETE
                     │                       └► TRAILERS ──────▲
                     └──a broken length──► BROKEN

Theory of operation. Making a writer checks the application's head as a whole and renders it; if that fails
there is no writer, nothing has happened, and the caller can begin another response. What it leaves open is
the connection field: the driver may hold a head back, and only when it is sent is it known whether the
connection goes on. How the body is delimited (RFC 9112 6.3) is decided here too, from the request and the
head alone:

- NONE: HEAD, 204 and 304 have no body, whatever the application sends of one;
- LENGTH: the application named a Content-Length, and is held to it;
- CHUNKED: HTTP/1.1 without a length;
- CLOSE: HTTP/1.0 without a length; the end of the connection is the end of the body.

Called by the HTTP/1 driver in `connection/` and by messages.py. No clock here: the date is handed in.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, NoReturn

from asgiserve.errors import LocalProtocolError
from asgiserve.protocols.http1.response_fields import render_trailers
from asgiserve.protocols.http1.response_head import rendered_head
from asgiserve.protocols.http1.status import NO_BODY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asgiserve.events import RequestHead, ResponseHead
    from asgiserve.protocols.http1.response_fields import DefaultFields
    from asgiserve.protocols.http1.response_head import RenderedHead
    from asgiserve.types import Header

__all__ = ["ResponseWriter", "whole_response"]

_CHUNK_END: Final = b"\r\n"
_LAST_CHUNK: Final = b"0\r\n\r\n"
_LAST_CHUNK_END: Final = _CHUNK_END + _LAST_CHUNK
_CONNECTION_KEEP_ALIVE: Final = b"connection: keep-alive\r\n"
_CONNECTION_CLOSE: Final = b"connection: close\r\n"

_JOIN_UP_TO: Final = 65_536
"""Chunks up to this size are joined with their framing into one buffer: the copy costs less than two more
system calls."""


class _State(Enum):
    BEGUN = "begun"
    BODY = "body"
    TRAILERS = "trailers"
    COMPLETE = "complete"
    BROKEN = "broken"
    """The application broke its own Content-Length: the peer must be told by the end of the connection."""


class _Framing(Enum):
    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"


# Names of this module: until py3.12, reading a member of an Enum class costs ten times as much.
_BEGUN, _BODY, _COMPLETE = _State.BEGUN, _State.BODY, _State.COMPLETE
_NONE, _LENGTH, _CHUNKED, _CLOSE = _Framing.NONE, _Framing.LENGTH, _Framing.CHUNKED, _Framing.CLOSE


class ResponseWriter:
    """Writes one response. `request` is None where no request could be read; it is then answered as
    HTTP/1.1."""

    __slots__ = (
        "_defaults",
        "_framing",
        "_known",
        "_left",
        "_state",
        "_trailers_follow",
        "_version",
        "keep_alive",
    )

    def __init__(
        self,
        request: RequestHead | None,
        head: ResponseHead,
        defaults: DefaultFields,
        date: bytes | None,
        known: RenderedHead | None = None,
    ) -> None:
        """Check and render the head, but for its connection field. Raises LocalProtocolError.

        `known` is the head, where it is rendered already."""
        known = known or rendered_head(head.status, head.headers)
        self._known = known
        self._framing = framing = _frame(request, head.status, known.length)
        self._defaults = _defaults_but(defaults, known, date) if known.server or known.date else defaults.block(date)
        self._left = known.length or 0
        self._trailers_follow = head.trailers and framing is _CHUNKED
        self._state = _BEGUN
        self._version = "1.1" if request is None else request.http_version
        self.keep_alive = (request is None or request.keep_alive) and framing is not _CLOSE and not known.close
        """Whether the connection may go on when this response is complete."""

    def head(self, *, close: bool) -> bytes:
        """The rendered head. `close` asks for the end of the connection after this response."""
        if self._state is not _BEGUN:
            self._refuse("head")
        self._state = _BODY
        if close:
            self.keep_alive = False
        known = self._known
        if self.keep_alive and self._framing is _LENGTH and self._version == "1.1" and not known.upgrade:
            return known.plain(self._defaults)
        more = b"transfer-encoding: chunked\r\n" if self._framing is _CHUNKED else b""
        if not self.keep_alive or known.upgrade or self._version == "1.0":
            more += self._connection_line()
        return known.whole(self._defaults, more)

    def _connection_line(self) -> bytes:
        """The connection field, where there is anything to say: HTTP/1.1 goes on by itself."""
        if self._known.upgrade:
            return b"connection: upgrade\r\n" if self.keep_alive else b"connection: upgrade, close\r\n"
        return _CONNECTION_KEEP_ALIVE if self.keep_alive else _CONNECTION_CLOSE

    def body(self, data: bytes, more: bool) -> tuple[bytes, ...]:
        """The buffers to send for this part of the body. Raises LocalProtocolError for a broken
        Content-Length."""
        if self._state is not _BODY:
            self._refuse("body")
        framing = self._framing
        if framing is _LENGTH:
            self._left = left = self._left - len(data)
            if left < 0 or (left and not more):
                self._break_off()
            if not more:
                self._state = _COMPLETE
            return (data,) if data else ()
        end = _CHUNK_END
        if not more:
            if self._trailers_follow:
                self._state = _State.TRAILERS
            else:
                self._state = _COMPLETE
                end = _LAST_CHUNK_END
        if framing is _CHUNKED:
            # RFC 9112 7.1. An empty chunk would be the end of the body.
            if not data:
                return () if more or self._trailers_follow else (_LAST_CHUNK,)
            if len(data) <= _JOIN_UP_TO:
                return (b"%x\r\n%b%b" % (len(data), data, end),)
            return b"%x\r\n" % len(data), data, end
        return (data,) if data and framing is _CLOSE else ()

    def around(self, size: int, more: bool) -> tuple[bytes, bytes] | None:
        """What to send before and behind a part of the body that comes from elsewhere, `size` bytes and at least one
        of them; None where the response has no body. Otherwise as `body`."""
        if self._state is not _BODY:
            self._refuse("around")
        if self._framing is _LENGTH:
            self._left -= size
            if self._left < 0 or (self._left and not more):
                self._break_off()
        if not more:
            self._state = _State.TRAILERS if self._trailers_follow else _COMPLETE
        if self._framing is _NONE:
            return None
        if self._framing is _CHUNKED:
            return b"%x\r\n" % size, _CHUNK_END if self._state is not _COMPLETE else _LAST_CHUNK_END
        return b"", b""

    def trailers(self, headers: Sequence[Header]) -> bytes:
        """The end of a body whose head announced trailers; empty where the framing cannot carry any."""
        if self._state is _COMPLETE and not self._trailers_follow:
            return b""
        if self._state is not _State.TRAILERS:
            self._refuse("trailers")
        section = render_trailers(headers)
        self._state = _COMPLETE
        return b"0\r\n" + section + b"\r\n"

    @property
    def complete(self) -> bool:
        """Whether everything was written, trailers included."""
        return self._state is _COMPLETE

    @property
    def length_known(self) -> bool:
        """Whether the head says how long the body is: then it can wait for the body, and go out with it."""
        return self._framing is _LENGTH or self._framing is _NONE

    @property
    def ends_with_connection(self) -> bool:
        """Whether nothing but the end of the connection tells the peer where the body ends."""
        return self._framing is _CLOSE

    def _break_off(self) -> NoReturn:
        """The application does not keep its own Content-Length."""
        self._state = _State.BROKEN
        self.keep_alive = False
        if self._left < 0:
            raise LocalProtocolError("response body: longer than its Content-Length")
        raise LocalProtocolError(f"response body: {self._left} bytes shorter than its Content-Length")

    def _refuse(self, verb: str) -> NoReturn:
        raise LocalProtocolError(f"response: {verb}() in state {self._state.name}")


def whole_response(
    request: RequestHead, known: RenderedHead, body: bytes, default_block: bytes, *, keep_alive: bool
) -> bytes | None:
    """The short way for what most responses are: a head with a length and all of its body, in one buffer. The writer
    would write the same bytes; None where it has to be asked.

    `keep_alive` says whether the connection goes on, which the request must have allowed."""
    size = len(body)
    if not known.ordinary or known.length != size or size > _JOIN_UP_TO or request.method == "HEAD":
        return None
    if keep_alive and request.http_version == "1.1":
        return known.plain(default_block) + body
    return known.whole(default_block, _CONNECTION_KEEP_ALIVE if keep_alive else _CONNECTION_CLOSE) + body


def _frame(request: RequestHead | None, status: int, length: int | None) -> _Framing:
    if status in NO_BODY or (request is not None and request.method == "HEAD"):
        return _NONE
    if length is not None:
        return _LENGTH
    if request is not None and request.http_version == "1.0":
        return _CLOSE
    return _CHUNKED


def _defaults_but(defaults: DefaultFields, known: RenderedHead, date: bytes | None) -> bytes:
    """The default lines, without those that the application sends itself."""
    server = b"" if known.server else defaults.server
    return server + (b"" if known.date else defaults.date_line(date)) + defaults.plain
