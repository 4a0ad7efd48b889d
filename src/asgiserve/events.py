"""The narrow waist: what the wire side and the ASGI side tell each other.

A codec in `protocols/` makes the request's events and takes the response's; `asgi/` turns the first into ASGI
messages and makes the second from them; a driver in `connection/` carries both across. Neither side
imports the other. No rule lives here, and nothing here assumes a version of HTTP.

Events are immutable by custom: `frozen=True` would double the cost of making one (443 against 209 ns).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asgiserve.types import Header, Headers

__all__ = [
    "NEED_DATA",
    "BodyChunk",
    "NeedData",
    "RequestHead",
    "ResponseHead",
]


@dataclass(slots=True)
class RequestHead:
    """A complete, checked request head. Whoever holds one may trust every part of it."""

    method: str
    """A token, upper-cased, as ASGI wants it."""
    raw_path: bytes
    """The target's path, exactly as received, without query; of an absolute-form target its path."""
    query: bytes
    """What stands behind the first `?` of the target; empty without one."""
    http_version: str
    """"1.0" or "1.1"."""
    headers: Headers
    """Lower-case names, values without surrounding white space, in order, duplicates kept.
    An absolute-form target's authority has replaced the value of `host` (RFC 9112 3.2.2)."""
    content_length: int | None
    """Length of the body in bytes: 0 means that there is none, None that it is chunked."""
    keep_alive: bool
    """Whether the peer allows another request on this connection."""
    expects_continue: bool
    """Whether the peer waits for `100 Continue` before it sends the body."""
    upgrade: bytes
    """The `Upgrade` field, lower case, if `Connection` names it; empty otherwise. In HTTP/1.0 it asks for nothing
    (RFC 9110 7.8), and is here to be told of."""
    forwarding: Sequence[Header] = ()
    """Those of the headers by which proxies tell of a request, in order. Anybody can send them: whether they are
    believed is asked of the peer."""


@dataclass(slots=True)
class BodyChunk:
    """Bytes of the request's body, framing removed. `more` is False with the last one, which may be empty."""

    data: bytes
    more: bool


class NeedData(Enum):
    """The type of `NEED_DATA`: an Enum, so that type checkers know what `is not NEED_DATA` leaves."""

    NEED_DATA = "nothing more can be said"

    def __repr__(self) -> str:
        return self.name


NEED_DATA: Final = NeedData.NEED_DATA
"""The codec can say nothing more until it is given bytes."""


@dataclass(slots=True)
class ResponseHead:
    """A response's head as the application gave it: types are checked, what HTTP says of it is not."""

    status: int
    headers: tuple[Header, ...]
    trailers: bool
    """Whether trailer fields follow the body (extension `http.response.trailers`)."""
