"""The id of a request (`--request-id-header`): the client's own if it can be used, or else a new one.

The application finds it among the request's headers whoever made it, the client in the response, and log records in
`logs.request_id`, which is set in the request's context. Nobody trusts an id for anything but finding lines. Exchanges
of a server with such a header are `IdentifiedExchange`s; those of any other know nothing of all this.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

from asgiserve import logs
from asgiserve.connection.exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from asgiserve.connection.http1 import Http1Connection
    from asgiserve.events import RequestHead
    from asgiserve.types import Header

__all__ = ["IdentifiedExchange", "identify", "with_id"]

_SANE: Final = re.compile(rb"[!#-\[\]-~]{1,128}")
"""Visible ASCII, but for the quotation mark and the backslash: it must not change what a line around it means."""


def identify(head: RequestHead, name: bytes) -> bytes:
    """The request's id, which is then the only value of that header in its head."""
    values = [value for field, value in head.headers if field == name]
    if len(values) == 1 and _SANE.fullmatch(values[0]) is not None:
        return values[0]
    made = os.urandom(16).hex().encode("ascii")
    head.headers = [*(field for field in head.headers if field[0] != name), (name, made)]
    return made


def with_id(fields: Iterable[Header], added: Header | None) -> tuple[Header, ...]:
    """A response's fields with the id, unless the application has set that header itself."""
    given = tuple(fields)
    if added is None or any(name.lower() == added[0] for name, _ in given):
        return given
    return (*given, added)


class IdentifiedExchange(Exchange):
    """An exchange whose request has an id."""

    __slots__ = ("_id_field",)

    def __init__(self, connection: Http1Connection, head: RequestHead) -> None:
        Exchange.__init__(self, connection, head)
        name = connection.service.request_id_header
        assert name is not None
        self._id_field: Header = (name, identify(head, name))
        self.context.run(logs.request_id.set, self._id_field[1].decode("ascii"))

    def came_before(self, status: int, given: tuple[Any, ...]) -> bool:
        return False  # not with this id

    def begin(self, status: int, headers: tuple[Header, ...]) -> Awaitable[None] | None:
        return Exchange.begin(self, status, with_id(headers, self._id_field))

    @property
    def added_fields(self) -> tuple[Header, ...]:
        return (self._id_field,)
