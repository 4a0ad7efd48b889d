"""A response's head as the application gave it: checked and rendered, and remembered where heads repeat.

What lives here: what an application's status and fields say, whichever request they answer. What depends on the
request, how the body is delimited and whether the connection goes on, is the response writer's, who calls this.

Applications send the same few heads without end. A head whose fields all repeat and carry no secret is rendered
once and then found by its value, within fixed bounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from asgiserve.errors import LocalProtocolError
from asgiserve.protocols.http1.grammar import OWS
from asgiserve.protocols.http1.response_fields import RENDERED, ResponseFieldKind, kind_of, render_field
from asgiserve.protocols.http1.status import NO_BODY, status_line

if TYPE_CHECKING:
    from asgiserve.types import Header

__all__ = ["RenderedHead", "known_head", "rendered_head"]

_MAX_REMEMBERED: Final = 512
_MAX_REMEMBERED_LENGTH: Final = 512
"""Heads, and bytes of each: a quarter of a megabyte at the most."""


class RenderedHead:
    """The status line and the application's own fields, and what the fields mean to the server."""

    __slots__ = ("_plain", "close", "date", "fields", "length", "lines", "ordinary", "server", "upgrade")

    def __init__(self, fields: tuple[Header, ...]) -> None:
        self.fields = fields
        """The application's, as they were given."""
        self.lines = b""
        self.ordinary = False
        """A body of `length` bytes follows, and the default lines complete the head."""
        self.length: int | None = None
        """What Content-Length says; None without one."""
        self.close = False
        """`Connection: close` is among the fields."""
        self.upgrade = False
        """An `Upgrade` is, which only a 426 may have."""
        self.server = False
        self.date = False
        """The field is the application's own, and takes the place of the server's."""
        self._plain: tuple[bytes | None, bytes] = (None, b"")
        """Default lines, and the head with them: one value, since servers in other threads share this head."""

    def plain(self, defaults: bytes) -> bytes:
        """The whole head, with these default lines and nothing else. Joined when the defaults change: once a
        second, for they contain the date."""
        known, plain = self._plain
        if defaults is not known:
            plain = self.whole(defaults)
            self._plain = (defaults, plain)
        return plain

    def whole(self, defaults: bytes, more: bytes = b"") -> bytes:
        """The whole head, with these default lines and `more` lines, which are about the connection and framing."""
        return b"".join((self.lines, defaults, more, b"\r\n"))


def rendered_head(status: int, fields: tuple[Header, ...]) -> RenderedHead:
    """The head, rendered. Raises LocalProtocolError, whose text says what is wrong with which field or status."""
    return _remembered.get((status, fields)) or _render(status, fields)


_remembered: Final[dict[tuple[int, tuple[Any, ...]], RenderedHead]] = {}

known_head: Final = _remembered.get
"""The rendered head by (status, fields), if an equal one is remembered: what the fields are made of need not be looked
at. None if not, and TypeError if something in them has no hash. (Not a function of Python: it is asked each time.)"""


def _render(status: int, fields: tuple[Header, ...]) -> RenderedHead:
    # Above 599 nothing is registered, but three digits are well formed and clients take them for a 5xx (RFC
    # 9110 15), so that whoever uses them elsewhere may go on. Informational responses are not final.
    if not 200 <= status <= 999:
        raise LocalProtocolError(f"response status {status}: must be from 200 to 999")
    rendered = RenderedHead(fields)
    lines = [status_line(status)]
    repeats = True
    for field in fields:
        kind = kind_of(field[0])
        if kind is ResponseFieldKind.CONTENT_LENGTH:
            known, rendered.length = rendered.length, _read_length(field, rendered.length)
            if status != 204 and known is None:  # RFC 9110 8.6: a 204 has none
                lines.append(b"content-length: %d\r\n" % rendered.length)
        elif kind is ResponseFieldKind.PLAIN or kind is ResponseFieldKind.REPEATING:
            repeats = repeats and kind is ResponseFieldKind.REPEATING
            lines.append(RENDERED.get(field) or render_field(field, kind))
        else:
            repeats = False
            lines.append(_render_and_note(field, kind, status, rendered))
    rendered.lines = b"".join(lines)
    own = rendered.close or rendered.upgrade or rendered.server or rendered.date
    rendered.ordinary = rendered.length is not None and status not in NO_BODY and not own
    if repeats and len(rendered.lines) <= _MAX_REMEMBERED_LENGTH:
        if len(_remembered) >= _MAX_REMEMBERED:
            _remembered.clear()  # lengths vary: what repeats is soon here again
        _remembered[status, fields] = rendered
    return rendered


def _render_and_note(field: Header, kind: ResponseFieldKind, status: int, rendered: RenderedHead) -> bytes:
    """The line of a field that concerns the server; empty if it is not sent as it is."""
    match kind:
        case ResponseFieldKind.SERVER:
            rendered.server = True
            return render_field(field, kind)
        case ResponseFieldKind.DATE:
            rendered.date = True
            return render_field(field, kind)
        case ResponseFieldKind.UPGRADE if status == 426:
            rendered.upgrade = True
            return render_field(field, kind)
        case ResponseFieldKind.CONNECTION:
            options = field[1].lower().split(b",")
            rendered.close = rendered.close or any(option.strip(OWS) == b"close" for option in options)
            return b""
        case _:
            return b""


def _read_length(field: Header, known: int | None) -> int:
    name, value = field
    if not value.isdigit() or len(value) > 19:
        raise LocalProtocolError(f"response field {name!r}: must be a number of 1 to 19 digits")
    length = int(value)
    if known is not None and known != length:  # the same again is one (RFC 9110 8.6), as middleware adds it
        raise LocalProtocolError(f"response field {name!r}: is there twice, with {known} and {length}")
    return length
