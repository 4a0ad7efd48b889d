"""Request field lines (RFC 9112 5): reading one, and the cache of lines that were read before.

What the fields of a head mean together is not decided here but in head.py, which calls this for every line;
chunks.py checks trailer lines with it.

Clients repeat their lines without end, so a line is validated once and then found by its bytes. Only names
that repeat and carry no secret are kept, within fixed bounds: a cookie or a token never outlives its
request here. Lines of plain fields are in `plain`, where finding one is the whole of the work. `Host` and
`Connection` mean something beyond their text and are kept apart: a hit there still says of which kind the
field is.

Most clients repeat all their lines together. So a whole block of them, everything behind the request line, is
remembered too, if every line of it is and head.py has found it ordinary: then one look-up reads a head.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias

from asgiserve.errors import RemoteProtocolError
from asgiserve.protocols.http1.grammar import FIELD_VALUE, OWS, TOKEN, is_host

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asgiserve.types import Header

__all__ = ["MAX_BLOCK_LENGTH", "SHARED_LINES", "Block", "FieldLines", "is_look_alike"]


class _Kind(Enum):
    """What a field's name says about how its line is treated."""

    PLAIN = "plain"
    REPEATING = "repeating"
    """Plain, and worth remembering."""
    ASCII_ONLY = "ASCII only"
    """Plain, but read by parsers that decode: bytes from 0x80 on are refused."""
    SPECIAL = "special"
    """Means something to the server. ASCII only."""
    SPECIAL_REPEATING = "special, repeating"
    """Special, and worth remembering, apart from the plain ones."""
    FORWARDING = "forwarding"
    """Plain, and how a proxy tells of the request."""
    LOOK_ALIKE = "look-alike"
    """Written so that applications would take it for such a field, while proxies let it pass. It is dropped."""


_SPECIAL: Final = {
    b"host": _Kind.SPECIAL_REPEATING,
    b"connection": _Kind.SPECIAL_REPEATING,
    b"content-length": _Kind.SPECIAL,
    b"transfer-encoding": _Kind.SPECIAL,
    b"expect": _Kind.SPECIAL,
    b"upgrade": _Kind.SPECIAL,
}
# What proxies set, and drop from what clients send, so that applications believe it.
_FORWARDING_NAMES: Final = frozenset(
    {b"forwarded", *(b"x-forwarded-" + word for word in (b"for", b"proto", b"host", b"port", b"prefix"))}
)
_PROXIES_NAME: Final = re.compile(
    rb"(x-)?forwarded-.+|x-(real|client|cluster-client)-ip|x-original-(for|forwarded-for|host|proto)|x-(url-)?scheme"
    rb"|(true|fastly)-client-ip|cf-connecting-ip(v6)?|x-envoy-external-address|front-end-https"
)
_REPEATING_NAME: Final = re.compile(
    rb"accept(-[a-z]+)*|cache-control|content-type|dnt|origin|pragma|priority|sec-ch-.+|sec-fetch-.+"
    rb"|upgrade-insecure-requests|user-agent"
)
# Names of this module: reading an attribute of an Enum class costs as much as finding a line.
_PLAIN, _REPEATING, _SPECIAL_REPEATING = _Kind.PLAIN, _Kind.REPEATING, _Kind.SPECIAL_REPEATING
_FORWARDING, _LOOK_ALIKE = _Kind.FORWARDING, _Kind.LOOK_ALIKE

# Room for a few dozen browsers, proxies and API clients; 1,024 entries of 256 bytes are at most half a
# megabyte.
_MAX_LINES: Final = 1024
_MAX_LINE_LENGTH: Final = 256
_MAX_NAMES: Final = 1024
_MAX_NAME_LENGTH: Final = 64

# Half a megabyte again. Lines come in any order and number: what repeats is soon here again after a clearing.
_MAX_BLOCKS: Final = 256
MAX_BLOCK_LENGTH: Final = 2048


Block: TypeAlias = "tuple[bool, tuple[Header, ...]]"
"""Whether the connection goes on, and all fields. A plain tuple: one is taken apart per request."""


class FieldLines:
    """Reads field lines, and remembers those that are worth it. When full of lines it forgets nothing and learns
    nothing."""

    __slots__ = ("_apart", "_names", "blocks", "plain")

    def __init__(self) -> None:
        self.plain: dict[bytes, Header] = {}
        """Lines whose field means nothing to the server. Whoever finds a line here is done with it."""
        self.blocks: dict[bytes, Block] = {}
        """Of ordinary heads: whether the connection goes on and the fields but for a length, by all lines but that
        of the length, with the empty one behind them."""
        self._apart: dict[bytes, Header] = {}
        self._names: dict[bytes, tuple[_Kind, bytes]] = {}

    def remember(self, lines: Sequence[bytes], headers: Sequence[Header], keep_alive: bool) -> None:
        """Remember the fields of an ordinary head by its lines, if each of these is remembered by itself, and whether
        the connection goes on behind it.

        All but a length: head.py looks for the others without it.
        """
        for line in lines:
            if line not in self.plain and line not in self._apart and line[:15].lower() != b"content-length:":
                return
        pairs = [(line, field) for line, field in zip(lines, headers, strict=True) if field[0] != b"content-length"]
        block = b"\r\n".join((*(line for line, _ in pairs), b"", b""))
        if len(block) <= MAX_BLOCK_LENGTH:
            if len(self.blocks) >= _MAX_BLOCKS:
                self.blocks.clear()
            self.blocks[block] = keep_alive, tuple(field for _, field in pairs)

    def read(self, line: bytes, special: list[Header], forwarding: list[Header]) -> Header:
        """Read a line, given without its CRLF, that is not in `plain`. Raises RemoteProtocolError.

        A field that means something to the server is added to `special` as well, one that tells of proxies, or looks
        as if it did, to `forwarding`.
        """
        known = self._apart.get(line)
        if known is not None:
            special.append(known)
            return known
        raw_name, colon, value = line.partition(b":")
        if not colon:
            raise RemoteProtocolError("a field line has no colon")
        kind, name = self._names.get(raw_name) or self._learn_name(raw_name)
        field = (name, value.strip(OWS))
        if FIELD_VALUE.fullmatch(field[1]) is None:
            raise RemoteProtocolError("a field value contains a control character")
        if kind is _PLAIN:
            return field
        if kind is _REPEATING:
            self._keep(line, field, self.plain)
            return field
        if kind is _FORWARDING or kind is _LOOK_ALIKE:
            forwarding.append(field)
            return field
        _check_strictly(field)
        if kind is _Kind.ASCII_ONLY:
            return field
        special.append(field)
        if kind is _SPECIAL_REPEATING:
            self._keep(line, field, self._apart)
        return field

    def _learn_name(self, raw_name: bytes) -> tuple[_Kind, bytes]:
        if TOKEN.fullmatch(raw_name) is None:
            raise RemoteProtocolError("a field name is no token")
        name = raw_name.lower()
        known = _kind_of(name), name
        if len(raw_name) <= _MAX_NAME_LENGTH and len(self._names) < _MAX_NAMES:
            self._names[raw_name] = known
        return known

    def _keep(self, line: bytes, field: Header, known: dict[bytes, Header]) -> None:
        if len(line) <= _MAX_LINE_LENGTH and len(self.plain) + len(self._apart) < _MAX_LINES:
            known[line] = field


def _kind_of(name: bytes) -> _Kind:
    special = _SPECIAL.get(name)
    if special is not None:
        return special
    if name.startswith(b"sec-websocket-"):
        return _Kind.ASCII_ONLY
    if name in _FORWARDING_NAMES:
        return _FORWARDING
    if is_look_alike(name):
        return _LOOK_ALIKE
    return _REPEATING if _REPEATING_NAME.fullmatch(name) else _PLAIN


def is_look_alike(name: bytes) -> bool:
    """Whether a lower-case name has underscores in place of the dashes of a field that proxies set.

    CGI's names of variables, which Django and others use, have underscores for both (CVE-2015-0219).
    """
    return b"_" in name and _PROXIES_NAME.fullmatch(name.replace(b"_", b"-")) is not None


def _check_strictly(field: Header) -> None:
    name, value = field
    if not value.isascii():
        raise RemoteProtocolError("a field value that must be ASCII is not")
    # An empty Host is what a client sends whose target has no authority (RFC 9110 7.2).
    if name == b"host" and value and not is_host(value):
        raise RemoteProtocolError("the Host field is not: host [:port]")


SHARED_LINES: Final = FieldLines()
"""One cache for all connections of the process: what one browser sends, the next one sends too. It holds
nothing but lines that may be known to all, and losing or sharing it changes no result."""
