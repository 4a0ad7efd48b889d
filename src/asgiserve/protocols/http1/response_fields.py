"""The fields of responses: which may be sent, how a line is rendered, and what the server adds by default.

A field of the application is checked as strictly as one of a peer: whoever can put a CR or LF into a value
can write the rest of the response (response splitting). What is illegal raises LocalProtocolError, whose
text names the field and never its value, since values may be secret.

Names are written as the application gave them. White space around a value is dropped: it is no part of the
value (RFC 9110 5.5), and no reader would see it. Used by response.py and messages.py.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Final

from asgiserve.errors import LocalProtocolError
from asgiserve.protocols.http1.grammar import FIELD_VALUE, OWS, TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from asgiserve.types import Header

__all__ = [
    "RENDERED",
    "DefaultFields",
    "ResponseFieldKind",
    "kind_of",
    "render_field",
    "render_plain_fields",
    "render_trailers",
]


class ResponseFieldKind(Enum):
    """What a response field's name says about how it is treated."""

    PLAIN = "plain"
    REPEATING = "repeating"
    """Plain, and its rendered line is worth remembering."""
    CONTENT_LENGTH = "content-length"
    CONNECTION = "connection"
    """The server's own; a `close` in it is honoured."""
    UPGRADE = "upgrade"
    """The server's own, except in a 426, which must say what to upgrade to (RFC 9110 15.5.22)."""
    FRAMING = "framing"
    """The server's own: ignored, as ASGI demands of Transfer-Encoding."""
    SERVER = "server"
    DATE = "date"


_KINDS: Final = {
    b"content-length": ResponseFieldKind.CONTENT_LENGTH,
    b"connection": ResponseFieldKind.CONNECTION,
    b"upgrade": ResponseFieldKind.UPGRADE,
    b"transfer-encoding": ResponseFieldKind.FRAMING,
    b"keep-alive": ResponseFieldKind.FRAMING,
    b"proxy-connection": ResponseFieldKind.FRAMING,
    b"te": ResponseFieldKind.FRAMING,
    b"server": ResponseFieldKind.SERVER,
    b"date": ResponseFieldKind.DATE,
}
_REPEATING_NAME: Final = re.compile(
    rb"accept-ranges|access-control-.+|allow|cache-control|content-encoding|content-language|content-type"
    rb"|cross-origin-.+|permissions-policy|pragma|referrer-policy|strict-transport-security|vary|x-accel-buffering"
    rb"|x-content-type-options|x-frame-options|x-xss-protection"
)
_PLAIN_KINDS: Final = frozenset({ResponseFieldKind.PLAIN, ResponseFieldKind.REPEATING})

# What concerns the framing or routing of a message, or must be known before its content, is no trailer (RFC
# 9110 6.5.1).
_NEVER_TRAILERS: Final = frozenset(
    {
        b"authorization",
        b"cache-control",
        b"content-encoding",
        b"content-range",
        b"content-type",
        b"host",
        b"location",
        b"set-cookie",
        b"trailer",
    }
)

_MAX_RENDERED: Final = 1024
_MAX_RENDERED_LENGTH: Final = 256
_MAX_NAMES: Final = 1024
_MAX_NAME_LENGTH: Final = 64

RENDERED: Final[dict[Header, bytes]] = {}
"""Rendered lines of fields that were checked before, for names that repeat and carry no secret. One for the
process: applications send the same few lines with every response. Bounded; when full it learns nothing
more."""

_known_names: Final[dict[bytes, ResponseFieldKind]] = {}


def kind_of(name: bytes) -> ResponseFieldKind:
    """How a field of that name is treated. Raises LocalProtocolError if it is no name."""
    known = _known_names.get(name)
    if known is not None:
        return known
    if TOKEN.fullmatch(name) is None:
        raise LocalProtocolError(f"response field {name!r}: the name must be a token (RFC 9110 5.6.2)")
    lower = name.lower()
    plain = ResponseFieldKind.REPEATING if _REPEATING_NAME.fullmatch(lower) else ResponseFieldKind.PLAIN
    kind = _KINDS.get(lower, plain)
    if len(name) <= _MAX_NAME_LENGTH and len(_known_names) < _MAX_NAMES:
        _known_names[name] = kind
    return kind


def render_field(field: Header, kind: ResponseFieldKind) -> bytes:
    """The field's line with its CRLF. Raises LocalProtocolError if its value is illegal."""
    name, value = field
    value = value.strip(OWS)
    if FIELD_VALUE.fullmatch(value) is None:
        raise LocalProtocolError(f"response field {name!r}: the value contains a control character")
    line = b"%b: %b\r\n" % (name, value)
    if kind is ResponseFieldKind.REPEATING and len(line) <= _MAX_RENDERED_LENGTH and len(RENDERED) < _MAX_RENDERED:
        RENDERED[field] = line
    return line


def render_plain_fields(fields: Iterable[Header], where: str) -> bytes:
    """The lines of fields among which the server's own are not allowed: trailers, informational responses."""
    lines: list[bytes] = []
    for field in fields:
        kind = kind_of(field[0])
        if kind not in _PLAIN_KINDS:
            raise LocalProtocolError(f"response field {field[0]!r}: is not allowed in {where}")
        lines.append(render_field(field, kind))
    return b"".join(lines)


def render_trailers(fields: Sequence[Header]) -> bytes:
    """The lines of a trailer section. Raises LocalProtocolError for a field that must not be one."""
    for name, _ in fields:
        if name.lower() in _NEVER_TRAILERS:
            raise LocalProtocolError(f"response field {name!r}: is not allowed in trailers")
    return render_plain_fields(fields, "trailers")


class DefaultFields:
    """What the server adds to every response, checked and rendered once.

    `extra` are the fields that the user configured. One named `server` or `date` takes the place of that
    default, and the application's own take the place of both."""

    __slots__ = ("_block", "_block_date", "date", "plain", "server")

    def __init__(self, server: bytes | None, extra: Sequence[tuple[str, str]]) -> None:
        self.server = b"" if server is None else render_field((b"server", server), ResponseFieldKind.SERVER)
        self.date = b""
        """The line of a configured `date`; empty if the date is the time."""
        plain: list[Header] = []
        for name, value in extra:
            field = _encode(name, value)
            kind = kind_of(field[0])
            if kind is ResponseFieldKind.SERVER:
                self.server = render_field(field, kind)
            elif kind is ResponseFieldKind.DATE:
                self.date = render_field(field, kind)
            else:
                plain.append(field)
        self.plain = render_plain_fields(plain, "the fields added to every response")
        self._block_date: object = self  # no date yet
        self._block = b""

    def block(self, date: bytes | None) -> bytes:
        """All the lines, for a response without fields of these names. Rendered when the date changes: once
        a second."""
        if date is not self._block_date:
            self._block_date = date
            self._block = self.server + self.date_line(date) + self.plain
        return self._block

    def date_line(self, date: bytes | None) -> bytes:
        """The Date line; empty without a date."""
        return self.date or (b"" if date is None else b"date: %b\r\n" % date)


def _encode(name: str, value: str) -> Header:
    try:
        return name.encode("ascii"), value.encode("latin-1")
    except UnicodeEncodeError:
        raise LocalProtocolError(f"response field {name!r}: contains what is not Latin-1") from None
