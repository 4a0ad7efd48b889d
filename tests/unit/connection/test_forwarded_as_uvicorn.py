"""uvicorn's reading of the same fields beside ours: the same where both are sure, and each difference on purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from tests.unit.connection.applications import reply, serving_http

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

TRUSTED = "127.0.0.1,::1,10.0.0.0/8"
PEER = ("127.0.0.1", 50000)
FOR, PROTO = "X-Forwarded-For", "X-Forwarded-Proto"

SAME = [
    [],
    [(FOR, "203.0.113.7"), (PROTO, "https")],
    [(FOR, "203.0.113.7:5678")],
    [(FOR, "2001:db8::7")],
    [(FOR, "[2001:db8::7]")],
    [(FOR, "[2001:db8::7]:5678")],
    [(FOR, "198.51.100.66, 203.0.113.7")],
    [(FOR, "198.51.100.66"), (FOR, "203.0.113.7, 10.0.0.1")],
    [(FOR, "10.0.0.2, 10.0.0.1")],
    [(FOR, "")],
    [(FOR, " , ")],
    [(FOR, "203.0.113.7,")],
    [(PROTO, "http")],
    [(PROTO, "http"), (PROTO, "https")],
    [(PROTO, "https"), (PROTO, "ftp")],
    [(PROTO, "https,http")],
    [(PROTO, "")],
]

NOBODY = (PEER, "http")
DIFFERENT: list[tuple[str, list[tuple[str, str]], Any, Any]] = [
    # What is no address becomes no client.
    (TRUSTED, [(FOR, "unknown")], (("unknown", 0), "http"), NOBODY),
    (TRUSTED, [(FOR, "_hidden")], (("_hidden", 0), "http"), NOBODY),
    (TRUSTED, [(FOR, "localhost")], (("localhost", 0), "http"), NOBODY),
    (TRUSTED, [(FOR, "203.0.113.7:x")], (("203.0.113.7:x", 0), "http"), NOBODY),
    (TRUSTED, [(FOR, "203.0.113.7:99999")], (("203.0.113.7", 99999), "http"), NOBODY),
    # One address has one text, and an IPv4 address in IPv6's clothes is the same proxy.
    (TRUSTED, [(FOR, "2001:DB8::7")], (("2001:DB8::7", 0), "http"), (("2001:db8::7", 0), "http")),
    (TRUSTED, [(FOR, "::ffff:203.0.113.7")], (("::ffff:203.0.113.7", 0), "http"), (("203.0.113.7", 0), "http")),
    (TRUSTED, [(FOR, "203.0.113.7, ::ffff:10.0.0.1")], (("::ffff:10.0.0.1", 0), "http"), (("203.0.113.7", 0), "http")),
    # `*` trusts whoever connects, and not whoever they name: the first of a list is the client's own word.
    ("*", [(FOR, "198.51.100.66, 203.0.113.7")], (("198.51.100.66", 0), "http"), (("203.0.113.7", 0), "http")),
    # Two fields and one with a comma are the same (RFC 9110 5.3), and schemes know no case (RFC 3986 3.1).
    (TRUSTED, [(PROTO, "http, https")], NOBODY, (PEER, "https")),
    (TRUSTED, [(PROTO, "HTTPS")], NOBODY, (PEER, "https")),
    # A scope of type http has one of HTTP's schemes.
    (TRUSTED, [(PROTO, "wss")], (PEER, "wss"), (PEER, "https")),
]


async def uvicorns(fields: list[tuple[str, str]], names: str) -> tuple[Any, str]:
    seen: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope)

    headers = [(name.lower().encode(), value.strip().encode()) for name, value in fields]
    scope: Any = {"type": "http", "scheme": "http", "client": PEER, "headers": headers}
    nothing: Any = None
    await ProxyHeadersMiddleware(app, names)(scope, nothing, nothing)
    return seen["client"], seen["scheme"]


async def ours(fields: list[tuple[str, str]], names: str) -> tuple[Any, str]:
    seen: list[tuple[Any, str]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope["client"], scope["scheme"]))
        await reply(send)

    async with serving_http(app, forwarded_allow_ips=names) as served:
        await served.connect().get("/", "".join(f"{name}: {value}\r\n" for name, value in fields))
    return seen[0]


@pytest.mark.parametrize("fields", SAME, ids=str)
async def test_fields_are_read_as_uvicorn_reads_them(fields: list[tuple[str, str]]) -> None:
    assert await ours(fields, TRUSTED) == await uvicorns(fields, TRUSTED)


@pytest.mark.parametrize(("names", "fields", "theirs", "mine"), DIFFERENT, ids=str)
async def test_where_uvicorn_guesses_nothing_is_guessed(
    names: str, fields: list[tuple[str, str]], theirs: Any, mine: Any
) -> None:
    assert (await uvicorns(fields, names), await ours(fields, names)) == (theirs, mine)
