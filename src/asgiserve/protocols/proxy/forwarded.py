"""`X-Forwarded-*` and `Forwarded` (RFC 7239): what trusted proxies say of a request's client, scheme, host and path.

Every proxy writes behind what it was sent, so only the end of a list is its own word; the rest may be the client's
invention. A list of clients is walked from its end, over the proxies that are trusted, to the first that is none: that
is the client. Of every other list, the last value counts. Nothing in front of that is ever looked at, so no client can
spoil what a proxy says. A value that is not exactly what it must be says nothing, and nothing else is taken for it:
`unknown` and hidden names (RFC 7239 6) never become clients.

Called by `connection/origin.py`, for peers that are trusted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import unquote_to_bytes

from asgiserve.protocols.http1.grammar import OWS, is_host
from asgiserve.trusted import Address, address_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from asgiserve.trusted import Trusted
    from asgiserve.types import Header

__all__ = ["Forwarding", "read_forwarding", "split_host"]

_Hop: TypeAlias = tuple[Address, int]
"""Address and port; the port is 0 where it is not told."""


@dataclass(slots=True)
class Forwarding:
    """What is told of a request. None: nothing, or nothing that can be read."""

    client: tuple[str, int] | None = None
    scheme: str | None = None
    """"http" or "https"."""
    host: bytes | None = None
    """host [:port], as a `Host` field has it."""
    port: int | None = None
    prefix: str | None = None
    """The path that a proxy has removed, without a slash at its end, decoded; empty for none."""


_SCHEMES: Final = {b"http": "http", b"ws": "http", b"https": "https", b"wss": "https"}


def read_forwarding(fields: Iterable[Header], believed: Collection[str], trusted: Trusted) -> Forwarding:
    """Read the fields of a request that proxies write, as far as the words of `believed` name them."""
    lists: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        lists.setdefault(name, []).append(value)
    told = Forwarding()
    for name, lines in lists.items():
        word = name.removeprefix(b"x-forwarded-").decode("ascii")
        if word not in believed:
            continue
        if word == "for":
            told.client = _told(_walk_addresses(lines, trusted))
        elif word == "proto":
            told.scheme = _SCHEMES.get(_last(lines).lower())
        elif word == "host":
            told.host = _read_host(_last(lines))
        elif word == "port":
            told.port = _read_port(_last(lines))
        elif word == "prefix":
            told.prefix = _read_prefix(_last(lines))
        else:
            element = _walk_elements(lines, trusted)
            told.client = _told(element.client)
            told.scheme = _SCHEMES.get(element.proto.lower())
            told.host = _read_host(element.host)
    return told


def _last(lines: Sequence[bytes]) -> bytes:
    return lines[-1].rpartition(b",")[2].strip(OWS)


def _told(hop: _Hop | None) -> tuple[str, int] | None:
    return None if hop is None else (str(hop[0]), hop[1])


# --- clients ----------------------------------------------------------------------------------


def _walk_addresses(lines: Sequence[bytes], trusted: Trusted) -> _Hop | None:
    """The client of an X-Forwarded-For list; the first of all if only proxies are named."""
    hop: _Hop | None = None
    for line in reversed(lines):
        end = len(line)
        while end >= 0:
            comma = line.rfind(b",", 0, end)
            hop = _read_hop(line[comma + 1 : end].strip(OWS))
            if hop is None or not trusted.names_proxy(hop[0]):
                return hop
            end = comma
    return hop


_BRACKETED: Final = re.compile(r"\[(?P<address>[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*)\](?::(?P<port>[0-9]{1,5}))?")
_DOTTED: Final = re.compile(r"(?P<address>[0-9.]+):(?P<port>[0-9]{1,5})")


def _read_hop(value: bytes) -> _Hop | None:
    """An address of either family, an IPv4 address with a port, an IPv6 address in brackets with or without one."""
    text = value.decode("latin-1")
    match = (_BRACKETED.fullmatch(text) or _DOTTED.fullmatch(text)) if ":" in text else None
    address, port = (address_of(text), 0) if match is None else (address_of(match["address"]), int(match["port"] or 0))
    return None if address is None or port > 65535 else (address, port)


# --- host, port, prefix -----------------------------------------------------------------------


def _read_host(value: bytes) -> bytes | None:
    return value if is_host(value) else None


def split_host(host: bytes) -> tuple[str, int | None]:
    """The name or address, without brackets, and the port of what has passed as host [:port]."""
    name, colon, port = host.rpartition(b":")
    if not colon or host.endswith(b"]"):
        name, port = host, b""
    return name.decode("ascii").strip("[]"), int(port) if port else None


_PORT: Final = re.compile(rb"[0-9]{1,5}")


def _read_port(value: bytes) -> int | None:
    return port if _PORT.fullmatch(value) and 0 < (port := int(value)) <= 65535 else None


_PREFIX: Final = re.compile(rb"/[!$%&'()*+,\-./0-9:;=@A-Z_a-z~]*")
_NO_SEGMENTS: Final = frozenset({"", ".", ".."})


def _read_prefix(value: bytes) -> str | None:
    """A path of plain segments. It goes into links: `//host` in one would lead elsewhere, `..` out of it."""
    if _PREFIX.fullmatch(value) is None:
        return None
    try:
        path = unquote_to_bytes(value).decode("utf-8")
    except UnicodeDecodeError:
        return None
    path = path.removesuffix("/")
    if not path:
        return ""
    if not path.isprintable() or "\\" in path or not _NO_SEGMENTS.isdisjoint(path[1:].split("/")):
        return None
    return path


# --- RFC 7239 ---------------------------------------------------------------------------------

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED: Final = rb'"(?:[\t !\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t -\x7e\x80-\xff])*"'
_PAIR: Final = re.compile(rb"(?P<name>" + _TOKEN + rb")=(?:(?P<token>" + _TOKEN + rb")|(?P<quoted>" + _QUOTED + rb"))")
_ANY_PAIR: Final = rb"(?:" + _TOKEN + rb"=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?"
# Possessive: nothing that has been taken is given back. White space between two semicolons could belong to either, and
# what is refused in the end would be refused once for each way to divide it: for 30 times "; " more than 2^30 times.
_ELEMENT: Final = re.compile(_ANY_PAIR + rb"(?:[ \t]*+;[ \t]*+" + _ANY_PAIR + rb")*+")
_ESCAPE: Final = re.compile(rb"\\(.)", re.DOTALL)
_HIDDEN_PORT: Final = re.compile(rb"(?P<address>.*):_[0-9A-Za-z._\-]+")


@dataclass(frozen=True, slots=True)
class _Element:
    """What one proxy says."""

    client: _Hop | None = None
    proto: bytes = b""
    host: bytes = b""


def _walk_elements(lines: Sequence[bytes], trusted: Trusted) -> _Element:
    """What the outermost of the trusted proxies says: its element names the first client that is none of them."""
    element = _Element()
    for line in reversed(lines):
        for text in _elements_from_the_end(line):
            element = _read_element(text)
            if element.client is None or not trusted.names_proxy(element.client[0]):
                return element
    return element


def _elements_from_the_end(line: bytes) -> Iterator[bytes]:
    """Split at the commas that are in no quoted string, from the end.

    From the beginning, a client could open a quoted string that swallows what proxies write behind it. A quote within
    a string has a backslash before it, one that opens a string never has.
    """
    end, quoted = len(line), False
    quote, comma = line.rfind(b'"'), line.rfind(b",")
    while quote >= 0 or comma >= 0:
        if quote > comma:
            if not quoted or line[quote - 1 : quote] != b"\\":
                quoted = not quoted
            quote = line.rfind(b'"', 0, quote)
        else:
            if not quoted:
                yield line[comma + 1 : end].strip(OWS)
                end = comma
            comma = line.rfind(b",", 0, comma)
    yield line[:end].strip(OWS)


def _read_element(text: bytes) -> _Element:
    """Nothing but what is a whole element, each name in it once (RFC 7239 4)."""
    if not text or _ELEMENT.fullmatch(text) is None:
        return _Element()
    pairs: dict[bytes, bytes] = {}
    for match in _PAIR.finditer(text):
        name = match["name"].lower()
        if name in pairs:
            return _Element()
        pairs[name] = match["token"] or _ESCAPE.sub(rb"\1", match["quoted"][1:-1])
    return _Element(_read_node(pairs.get(b"for", b"")), pairs.get(b"proto", b""), pairs.get(b"host", b""))


def _read_node(node: bytes) -> _Hop | None:
    """An address with or without a port; an IPv6 address is in brackets, and a port may be hidden (RFC 7239 6)."""
    hidden = _HIDDEN_PORT.fullmatch(node)
    if hidden is not None:
        node = hidden["address"]
    if node.count(b":") > 1 and not node.startswith(b"["):
        return None
    return _read_hop(node)
