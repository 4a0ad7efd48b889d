"""The opening handshake of RFC 6455 (section 4.2): reading the client's, writing both answers to it.

Whether a request asks for a WebSocket at all is the driver's question, and what the application makes of it
`asgi/`'s. A handshake that breaks a rule is refused here, and no application sees it. Response fields are
judged by the rules of `protocols/http1`, where all responses' are. Called by the drivers in `connection/`.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from asgiserve.errors import LocalProtocolError, RemoteProtocolError
from asgiserve.protocols.http1.grammar import OWS, TOKEN
from asgiserve.protocols.http1.messages import error_response
from asgiserve.protocols.http1.response_fields import ResponseFieldKind, kind_of, render_field
from asgiserve.protocols.http1.status import status_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from asgiserve.events import RequestHead
    from asgiserve.protocols.http1.response_fields import DefaultFields
    from asgiserve.types import Header

__all__ = ["ExtensionOffer", "Handshake", "accept_response", "read_handshake", "refusal"]

_VERSION: Final = b"13"
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{22}==")
"""16 bytes in base64 (RFC 6455 4.1)."""

_TOKEN: Final = TOKEN.pattern
_PARAM: Final = rb"[ \t]*;[ \t]*(" + _TOKEN + rb")(?:[ \t]*=[ \t]*(?:(" + _TOKEN + rb')|"(' + _TOKEN + rb')"))?'
_PARAMS: Final = re.compile(_PARAM)
_EXTENSION: Final = re.compile(rb"(?P<name>" + _TOKEN + rb")(?P<params>(?:" + _PARAM + rb")*)")
"""One element of Sec-WebSocket-Extensions (RFC 6455 9.1). What stands in quotes must be a token as well, so
that a comma is always the end of an element."""


@dataclass(slots=True)
class ExtensionOffer:
    """One extension that the client offers. Names are as received; a parameter without a value has None."""

    name: str
    params: list[tuple[str, str | None]]


@dataclass(slots=True)
class Handshake:
    """A client's handshake that may be accepted."""

    key: bytes
    subprotocols: list[str]
    """What the client would speak, best first; tokens."""
    extensions: list[ExtensionOffer]


def read_handshake(head: RequestHead) -> Handshake:
    """Read the handshake of a request whose `Upgrade` is `websocket`. Raises RemoteProtocolError with status
    400, 405 or 426."""
    if head.method != "GET":
        raise RemoteProtocolError("a WebSocket begins with GET", status=405)
    if head.http_version != "1.1" or head.upgrade != b"websocket":
        raise RemoteProtocolError("a WebSocket begins with an upgrade of HTTP/1.1 to websocket")
    if head.content_length != 0:
        # What follows the head would be a body to one reader and frames to another.
        raise RemoteProtocolError("the request for a WebSocket has a body")
    fields: dict[bytes, list[bytes]] = {}
    for name, value in head.headers:
        if name.startswith(b"sec-websocket-"):
            fields.setdefault(name, []).append(value)
    _check_version(fields.get(b"sec-websocket-version", []))
    key = fields.get(b"sec-websocket-key", [])
    if len(key) != 1 or _KEY.fullmatch(key[0]) is None:
        raise RemoteProtocolError("the request for a WebSocket has no Sec-WebSocket-Key of 16 bytes")
    return Handshake(
        key[0],
        [_read_subprotocol(element) for element in _elements(fields.get(b"sec-websocket-protocol", ()))],
        [_read_extension(element) for element in _elements(fields.get(b"sec-websocket-extensions", ()))],
    )


def accept_response(
    handshake: Handshake,
    *,
    subprotocol: str | None,
    headers: Iterable[Header],
    extension: str | None,
    defaults: DefaultFields,
    date: bytes | None,
) -> bytes:
    """The 101 that opens the WebSocket. Raises LocalProtocolError for what the application may not send.

    Fields that belong to the connection are ignored, as they are in every response.
    """
    lines = [
        status_line(101),
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n" % _accept_key(handshake.key),
    ]
    if subprotocol is not None:
        # RFC 6455 4.1: the client must fail a connection whose subprotocol it did not offer.
        if subprotocol not in handshake.subprotocols:
            raise LocalProtocolError(f"subprotocol {subprotocol!r}: the client did not offer it")
        lines.append(b"Sec-WebSocket-Protocol: %b\r\n" % subprotocol.encode("ascii"))
    if extension is not None:
        lines.append(b"Sec-WebSocket-Extensions: %b\r\n" % extension.encode("ascii"))
    server, date_line = defaults.server, defaults.date_line(date)
    for field in headers:
        name = field[0]
        kind = kind_of(name)
        match kind:
            case ResponseFieldKind.SERVER:
                server = b""
            case ResponseFieldKind.DATE:
                date_line = b""
            case ResponseFieldKind.PLAIN | ResponseFieldKind.REPEATING:
                if name[:14].lower() == b"sec-websocket-":
                    raise LocalProtocolError(f"response field {name!r}: is the server's own")
            case _:
                # Connection, Upgrade and framing; a 101 has no Content-Length (RFC 9110 8.6).
                continue
        lines.append(render_field(field, kind))
    return b"".join([*lines, server, date_line, defaults.plain, b"\r\n"])


def refusal(head: RequestHead, error: RemoteProtocolError, defaults: DefaultFields, date: bytes | None) -> bytes:
    """The whole answer to a handshake that `read_handshake` refused. The connection ends behind it."""
    fields = _REFUSAL_FIELDS.get(error.status, ())
    return error_response(error.status, defaults, date, head_only=head.method == "HEAD", fields=fields)


_REFUSAL_FIELDS: Final[dict[int, tuple[Header, ...]]] = {
    405: ((b"allow", b"GET"),),
    # RFC 9110 15.5.22 and RFC 6455 4.4: what we would speak instead.
    426: ((b"upgrade", b"websocket"), (b"sec-websocket-version", _VERSION)),
}


def _accept_key(key: bytes) -> bytes:
    return b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def _check_version(versions: list[bytes]) -> None:
    if len(versions) != 1:
        raise RemoteProtocolError("the request for a WebSocket has no single Sec-WebSocket-Version")
    if versions[0] != _VERSION:
        raise RemoteProtocolError("the only version of WebSocket known here is 13", status=426)


def _elements(values: Iterable[bytes]) -> Iterator[bytes]:
    """The elements of all fields of a name; empty ones do not count (RFC 9110 5.6.1)."""
    for value in values:
        for element in value.split(b","):
            stripped = element.strip(OWS)
            if stripped:
                yield stripped


def _read_subprotocol(element: bytes) -> str:
    if TOKEN.fullmatch(element) is None:
        raise RemoteProtocolError("a subprotocol is no token")
    return element.decode("ascii")


def _read_extension(element: bytes) -> ExtensionOffer:
    match = _EXTENSION.fullmatch(element)
    if match is None:
        raise RemoteProtocolError("the Sec-WebSocket-Extensions field is malformed")
    params: list[tuple[str, str | None]] = []
    for name, plain, quoted in _PARAMS.findall(match["params"]):
        value = plain or quoted
        params.append((name.decode("ascii"), value.decode("ascii") if value else None))
    return ExtensionOffer(match["name"].decode("ascii"), params)
