"""HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112) without I/O: one codec per connection, one writer per response.

How a request is read:

    bytes → buffer → scan (where the head ends) → head (may it pass?) ─┬─ ORDINARY → body ────────┬→ events
                                                                       └─ H11 → h11_path ─────────┘

`head` is the only place that refuses a head, and it looks at every one of them. What it calls ordinary is
thereby read; the rest (`Expect`, `Upgrade`, …) is read by h11. Both ways give the
same events.

All responses, of both ways, are written by `response`. The drivers in `connection/` import the names below
and nothing else.
"""

from __future__ import annotations

from asgiserve.protocols.http1.codec import Http1Codec
from asgiserve.protocols.http1.messages import error_response, informational
from asgiserve.protocols.http1.request_line import begins_like_request
from asgiserve.protocols.http1.response import ResponseWriter, whole_response
from asgiserve.protocols.http1.response_fields import DefaultFields
from asgiserve.protocols.http1.response_head import RenderedHead, known_head, rendered_head

__all__ = [
    "DefaultFields",
    "Http1Codec",
    "RenderedHead",
    "ResponseWriter",
    "begins_like_request",
    "error_response",
    "informational",
    "known_head",
    "rendered_head",
    "whole_response",
]
