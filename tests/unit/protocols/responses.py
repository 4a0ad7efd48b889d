"""Requests to answer, and writers that answer them: what the tests of responses share."""

from __future__ import annotations

from dataclasses import replace

from asgiserve.events import RequestHead, ResponseHead
from asgiserve.protocols.http1 import DefaultFields, ResponseWriter

GET = RequestHead("GET", b"/", b"", "1.1", [(b"host", b"h")], 0, True, False, b"")
GET_CLOSE = replace(GET, keep_alive=False)
GET_10 = replace(GET, http_version="1.0", keep_alive=False)
GET_10_KEPT = replace(GET, http_version="1.0")
HEAD = replace(GET, method="HEAD")
NO_DEFAULTS = DefaultFields(None, [])

Fields = list[tuple[bytes, bytes]]

LENGTH_2: Fields = [(b"content-length", b"2")]


def begun(
    request_head: RequestHead | None,
    fields: Fields,
    *,
    status: int = 200,
    trailers: bool = False,
    defaults: DefaultFields = NO_DEFAULTS,
    date: bytes | None = None,
) -> ResponseWriter:
    """A writer whose head is accepted and not yet taken."""
    return ResponseWriter(request_head, ResponseHead(status, tuple(fields), trailers), defaults, date)


def sent(request_head: RequestHead, fields: Fields, *, trailers: bool = False) -> ResponseWriter:
    """A writer whose head is taken."""
    writer = begun(request_head, fields, trailers=trailers)
    writer.head(close=False)
    return writer


def write(writer: ResponseWriter, *parts: bytes, close: bool = False) -> bytes:
    """The whole response, its body in these parts."""
    wire = writer.head(close=close)
    for part in parts:
        wire += b"".join(writer.body(part, more=True))
    return wire + b"".join(writer.body(b"", more=False))


def lines_of(wire: bytes) -> list[bytes]:
    return wire.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
