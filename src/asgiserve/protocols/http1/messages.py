"""Whole messages that the server writes by itself: informational responses, and answers that no application
gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgiserve.errors import LocalProtocolError
from asgiserve.events import ResponseHead
from asgiserve.protocols.http1.response import ResponseWriter
from asgiserve.protocols.http1.response_fields import render_plain_fields
from asgiserve.protocols.http1.status import REASONS, status_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asgiserve.protocols.http1.response_fields import DefaultFields
    from asgiserve.types import Header

__all__ = ["error_response", "informational"]


def informational(status: int, fields: Iterable[Header]) -> bytes:
    """An interim response: 100 Continue, 103 Early Hints. Raises LocalProtocolError for what may not be in
    one."""
    # After 101 the connection speaks another protocol: that is the matter of who speaks it.
    if not 100 <= status <= 199 or status == 101:
        raise LocalProtocolError(f"response status {status}: is not informational")
    return status_line(status) + render_plain_fields(fields, "an informational response") + b"\r\n"


def error_response(
    status: int,
    defaults: DefaultFields,
    date: bytes | None,
    *,
    head_only: bool = False,
    retry_after: int | None = None,
    fields: tuple[Header, ...] = (),
    close: bool = True,
    text: bytes | None = None,
) -> bytes:
    """A complete response that says no more than its status, but for `fields` and `text`. `head_only` answers a
    HEAD request."""
    text = REASONS.get(status, "Error").encode() if text is None else text
    headers: tuple[Header, ...] = (
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(text)),
        *fields,
    )
    if retry_after is not None:
        headers += ((b"retry-after", b"%d" % retry_after),)
    writer = ResponseWriter(None, ResponseHead(status, headers, trailers=False), defaults, date)
    head = writer.head(close=close)
    if head_only:
        return head
    return head + b"".join(writer.body(text, more=False))
