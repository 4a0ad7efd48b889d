"""The PROXY protocol's header, versions 1 and 2 (haproxy's doc/proxy-protocol.txt): whom a connection comes from.

A proxy that passes on bytes writes it in front of them. It is all or nothing: what is not exactly such a header is
refused, and nothing behind it is read. TLVs (version 2, 2.2) are skipped. Called by `connection/` for the first bytes
of a connection, with all that has come so far.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final

from asgiserve.errors import RemoteProtocolError
from asgiserve.events import NEED_DATA
from asgiserve.trusted import address_of

if TYPE_CHECKING:
    from asgiserve.events import NeedData

__all__ = ["MAX_PREFACE", "Preface", "read_preface"]


@dataclass(frozen=True, slots=True)
class Preface:
    """A complete header."""

    length: int
    """Bytes of it; what is behind them is the connection's."""
    known: bool
    """Whether the two ends are told; if not, they are those of the connection itself."""
    client: tuple[str, int] | None = None
    """None if the client came through a Unix socket."""
    server: tuple[str, int | None] | None = None


_V1: Final = b"PROXY "
_V2: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V1_LENGTH: Final = 107
"""The longest line of version 1, CRLF included (2.1)."""
_V2_LENGTH: Final = 16
"""Signature, command, family and the length of what follows (2.2)."""
_V2_MAX_REST: Final = 2048
"""Addresses take 216 bytes at most; the rest is for TLVs, which are skipped. The format itself allows 64 KiB."""
MAX_PREFACE: Final = _V2_LENGTH + _V2_MAX_REST
"""With so many bytes each header is complete, or refused."""

_V1_LINE: Final = re.compile(
    rb"PROXY (?P<family>TCP4|TCP6) (?P<client>[0-9A-Fa-f:.]+) (?P<server>[0-9A-Fa-f:.]+)"
    rb" (?P<client_port>0|[1-9][0-9]{0,4}) (?P<server_port>0|[1-9][0-9]{0,4})"
)
_V1_UNKNOWN: Final = re.compile(rb"PROXY UNKNOWN(?: .*)?", re.DOTALL)
_V1_FAMILIES: Final = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}

_LOCAL, _PROXIED = 0x20, 0x21
_UNIX_STREAM: Final = 0x31
_UNIX_LENGTH: Final = 108
_ADDRESS_LENGTHS: Final = {0x11: 4, 0x21: 16}
"""TCP over IPv4 and IPv6, and how long an address is."""
_MAX_FAMILY, _MAX_TRANSPORT = 3, 2


def read_preface(data: bytes) -> Preface | NeedData:
    """The header that `data` begins with. Raises RemoteProtocolError as soon as it can be none."""
    if data.startswith(_V1):
        return _read_v1(data)
    if data.startswith(_V2):
        return _read_v2(data)
    if _V1.startswith(data) or _V2.startswith(data):
        return NEED_DATA
    raise RemoteProtocolError("the connection does not begin with a PROXY header")


# --- version 1 --------------------------------------------------------------------------------


def _read_v1(data: bytes) -> Preface | NeedData:
    end = data.find(b"\r\n", 0, _V1_LENGTH)
    if end < 0:
        if len(data) >= _V1_LENGTH:
            raise RemoteProtocolError("the PROXY header is longer than 107 bytes")
        return NEED_DATA
    line, length = data[:end], end + 2
    if _V1_UNKNOWN.fullmatch(line):
        return Preface(length, known=False)
    match = _V1_LINE.fullmatch(line)
    if match is None:
        raise RemoteProtocolError("the PROXY header is malformed")
    family = match["family"]
    return Preface(
        length,
        known=True,
        client=_end_of_v1(family, match["client"], match["client_port"]),
        server=_end_of_v1(family, match["server"], match["server_port"]),
    )


def _end_of_v1(family: bytes, address: bytes, port: bytes) -> tuple[str, int]:
    text = address.decode("ascii")
    try:
        _V1_FAMILIES[family](text)
    except ValueError:
        raise RemoteProtocolError("the PROXY header has an address that is none of its family") from None
    if int(port) > 65535:
        raise RemoteProtocolError("the PROXY header has a port beyond 65535")
    return str(address_of(text)), int(port)


# --- version 2 --------------------------------------------------------------------------------


def _read_v2(data: bytes) -> Preface | NeedData:
    if len(data) < _V2_LENGTH:
        return NEED_DATA
    command, family, rest = data[12], data[13], int.from_bytes(data[14:16], "big")
    if command not in (_LOCAL, _PROXIED):
        raise RemoteProtocolError("the PROXY header has a version or a command that is not known")
    if family >> 4 > _MAX_FAMILY or family & 0xF > _MAX_TRANSPORT:
        raise RemoteProtocolError("the PROXY header has a family or a transport that is not known")
    if rest > _V2_MAX_REST:
        raise RemoteProtocolError("the PROXY header is too long")
    length = _V2_LENGTH + rest
    if len(data) < length:
        return NEED_DATA
    if command == _LOCAL:
        return Preface(length, known=False)  # the proxy speaks for itself: a health check
    return _ends_of_v2(length, family, data[_V2_LENGTH:length])


def _ends_of_v2(length: int, family: int, block: bytes) -> Preface:
    if family == _UNIX_STREAM:
        _check_length(block, 2 * _UNIX_LENGTH)
        path = block[_UNIX_LENGTH : 2 * _UNIX_LENGTH].partition(b"\0")[0].decode("utf-8", "replace")
        return Preface(length, known=True, client=None, server=(path, None))
    size = _ADDRESS_LENGTHS.get(family)
    if size is None:
        return Preface(length, known=False)  # unspecified, or datagrams: no such client can have a connection
    _check_length(block, 2 * size + 4)
    ports = 2 * size
    return Preface(
        length,
        known=True,
        client=_end_of_v2(block[:size], block[ports : ports + 2]),
        server=_end_of_v2(block[size:ports], block[ports + 2 : ports + 4]),
    )


def _check_length(block: bytes, least: int) -> None:
    if len(block) < least:
        raise RemoteProtocolError("the PROXY header is too short for its addresses")


def _end_of_v2(packed: bytes, port: bytes) -> tuple[str, int]:
    address = IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)
    return str(address_of(str(address))), int.from_bytes(port, "big")
