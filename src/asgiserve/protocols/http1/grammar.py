"""The grammar of HTTP/1, once: every regular expression and character set of this package, and the rule for
a host.

What follows from a match or a mismatch is not decided here. All patterns are for `bytes`, so that `[0-9]` can
only mean ASCII digits, and are used with `fullmatch` unless said otherwise.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Final

__all__ = [
    "BARE_LF",
    "CHUNK_LINE",
    "CRLF",
    "DIGITS",
    "FIELD_VALUE",
    "HEAD_END",
    "HTTP_VERSION",
    "OWS",
    "PLAIN_CHUNK_LINE",
    "TARGET",
    "TCHARS",
    "TOKEN",
    "is_host",
]

CRLF: Final = b"\r\n"
HEAD_END: Final = b"\r\n\r\n"
OWS: Final = b" \t"
"""Optional white space (RFC 9110 5.6.3): what may stand around a value and is no part of it."""

TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
TCHARS: Final = frozenset(byte for byte in range(128) if TOKEN.fullmatch(bytes([byte])))

TARGET: Final = re.compile(rb"[\x21\x22\x24-\x7e]+")
"""Visible ASCII without `#`: a fragment is never sent (RFC 9112 3.2), and readers disagree about what it
would mean. Other characters that a URI must escape are let through, since clients do send them raw."""

HTTP_VERSION: Final = re.compile(rb"HTTP/[0-9]\.[0-9]")

FIELD_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
"""No control character but the tab, nothing that any recipient takes for a line end. Bytes from 0x80 on are
obs-text (RFC 9110 5.5)."""

DIGITS: Final = re.compile(rb"[0-9]{1,19}")
"""A length. Nineteen digits hold every number below 2^63."""

BARE_LF: Final = re.compile(rb"(?<!\r)\n")
"""Searched for: a line end that only some recipients would see (RFC 9112 2.2)."""

CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e\x80-\xff]*)?")
"""A chunk's size and its extensions (RFC 9112 7.1.1), which are not looked into. No white space around the
size."""

PLAIN_CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n")
"""What most of these lines are, with their end."""

_HOST: Final = re.compile(
    rb"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?:[0-9A-Za-z\-._~!$&'()*+;=]|%[0-9A-Fa-f]{2})+)"
    rb"(?::(?P<port>[0-9]{0,5}))?"
)


def is_host(value: bytes) -> bool:
    """Whether this is `uri-host [":" port]` (RFC 9110 7.2), not empty.

    A comma is refused although a registered name may contain one: elsewhere it joins the values of two
    fields. Addresses and ports are checked by value, because URL parsers raise for `[::g]` and for port
    99999, and applications rarely expect that of a `Host`."""
    match = _HOST.fullmatch(value)
    if match is None:
        return False
    address, port = match["ipv6"], match["port"]
    if port and int(port) > 65535:
        return False
    if address is None:
        return True
    try:
        IPv6Address(address.decode("ascii"))
    except AddressValueError:
        return False
    return True
