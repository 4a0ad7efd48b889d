"""The request line (RFC 9112 3): method, target and version, and what each of them may be.

Called by the head check, and by the scan as soon as a request line is complete; every refusal here follows
from the line alone. The line's length is the scan's matter.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn, TypeAlias

from asgiserve.errors import RemoteProtocolError
from asgiserve.protocols.http1.grammar import HTTP_VERSION, TARGET, TOKEN, is_host

__all__ = [
    "METHODS",
    "ORDINARY_LINE",
    "ORDINARY_LINE_1_0",
    "RequestLine",
    "begins_like_request",
    "read_request_line",
]

RequestLine: TypeAlias = tuple[str, bytes, bytes, str, bytes | None]
"""Method, path, query, version and, of an absolute-form target, its authority. A plain tuple: one is made
per request."""

METHODS: Final = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")}
_VERSIONS: Final = {b"HTTP/1.1": "1.1", b"HTTP/1.0": "1.0"}

_ORDINARY: Final = rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (/[!-\"$->@-~]*)(?:\?([!-\"$-~]*))? HTTP/"
ORDINARY_LINE: Final = re.compile(_ORDINARY + rb"1\.1")
"""What most request lines are: known method, path and query, in characters of TARGET. `read_request_line` would
say the same of whatever this matches."""

ORDINARY_LINE_1_0: Final = re.compile(_ORDINARY + rb"1\.0")
"""The same of HTTP/1.0, which is what nginx speaks to those behind it unless it is told otherwise."""

_SLASH: Final = ord("/")
_LONGEST_METHOD: Final = 24
"""Of those that HTTP has names for: UPDATEREDIRECTREF has 17 letters."""
_is_target = TARGET.fullmatch


def begins_like_request(data: bytes) -> bool | None:
    """Whether a connection's first bytes begin a request line; None while that is open. TLS never begins so."""
    word, space, _ = data[: _LONGEST_METHOD + 1].partition(b" ")
    if TOKEN.fullmatch(word) is None or len(word) > _LONGEST_METHOD:
        return False
    return True if space else None


def read_request_line(line: bytes) -> RequestLine:
    """Read a request line, given without its CRLF. Raises RemoteProtocolError."""
    parts = line.split(b" ")
    if len(parts) != 3:
        raise RemoteProtocolError("the request line is not: method, target, version")
    method = METHODS.get(parts[0]) or _read_method(parts[0])
    target = parts[1]
    if _is_target(target) is None:
        raise RemoteProtocolError("the request target is empty or contains an illegal character")
    version = _VERSIONS.get(parts[2]) or _refuse_version(parts[2])
    if target[0] == _SLASH:
        path, _, query = target.partition(b"?")
        return method, path, query, version, None
    if target == b"*" and method == "OPTIONS":
        return method, target, b"", version, None
    authority, path, query = _read_absolute_form(method, target)
    return method, path, query, version, authority


def _read_method(method: bytes) -> str:
    """Any token is a method. Applications compare with upper case, so `get` is GET, as elsewhere in ASGI."""
    if TOKEN.fullmatch(method) is None:
        raise RemoteProtocolError("the method is no token")
    name = method.decode("ascii").upper()
    if name == "CONNECT":
        raise RemoteProtocolError("CONNECT is for proxies", status=501)
    if name == "HEAD" and method != b"HEAD":
        # RFC 9110 9.1: methods are case-sensitive, so a proxy waits for a body behind the answer to `head`.
        raise RemoteProtocolError("HEAD is to be in upper case")
    return name


def _refuse_version(version: bytes) -> NoReturn:
    if HTTP_VERSION.fullmatch(version) is None:
        raise RemoteProtocolError("the HTTP version is malformed")
    raise RemoteProtocolError("HTTP versions on this connection: 1.0 and 1.1", status=505)


def _read_absolute_form(method: str, target: bytes) -> tuple[bytes, bytes, bytes]:
    """Authority, path and query of `http://host/path?query`; a server must accept it (RFC 9112 3.2.2)."""
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        raise RemoteProtocolError("the request target has none of the forms that this method allows")
    location, question_mark, query = rest.partition(b"?")
    authority, slash, path = location.partition(b"/")
    if not is_host(authority):
        raise RemoteProtocolError("the request target's authority is not: host [:port]")
    if slash:
        return authority, b"/" + path, query
    # RFC 9112 3.2.4: without path and query, OPTIONS asks about the server as a whole.
    server_wide = method == "OPTIONS" and not question_mark
    return authority, b"*" if server_wide else b"/", query
