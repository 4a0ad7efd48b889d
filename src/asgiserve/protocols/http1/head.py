"""The head check: the only place that refuses a request head, and the place that says how a request is read.

`HeadCheck.check` is given every complete head, as lines. It makes the `RequestHead` that the application
will see and a verdict: ORDINARY heads are thereby read, H11 means that h11 reads the request too
(h11_path.py). The rules are RFC 9112 and, where that leaves a choice that has led to request smuggling, the
strict one.

What can be refused before a head is complete is in scan.py, the text of single lines in request_line.py and
fields.py. Here is what the fields mean together. Used by the codec only.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias

from asgiserve.errors import RemoteProtocolError
from asgiserve.events import RequestHead
from asgiserve.protocols.http1.fields import MAX_BLOCK_LENGTH, is_look_alike
from asgiserve.protocols.http1.grammar import CRLF, DIGITS, OWS
from asgiserve.protocols.http1.request_line import METHODS, ORDINARY_LINE, ORDINARY_LINE_1_0, read_request_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from asgiserve.config import Limits
    from asgiserve.protocols.http1.fields import Block, FieldLines
    from asgiserve.types import Header, Headers

__all__ = ["HeadCheck", "Verdict"]


class Verdict(Enum):
    """Who reads a request that may pass."""

    ORDINARY = "ordinary"
    H11 = "h11"


_Meaning: TypeAlias = tuple[int | None, bool, bool, bytes, Verdict]
"""Content length, keep-alive, expects 100 Continue, upgrade, verdict: what special fields say together."""

# A name of this module: reading an attribute of an Enum class costs as much as finding a line.
_ORDINARY: Final = Verdict.ORDINARY
_ORDINARY_NAMES: Final = frozenset({b"host", b"connection", b"content-length", b"transfer-encoding"})
_KEEP_ALIVE: Final = (b"connection", b"keep-alive")
"""What browsers send and what HTTP/1.1 does anyway."""
_CLOSE: Final = (b"connection", b"close")
"""What proxies send that open a connection for each request, and clients that want no more than one answer."""
_LENGTH_NAMES: Final = (b"Content-Length: ", b"content-length: ")
"""As clients write it, of one length."""
_LF: Final = 0x0A
_EMPTY_OPTION: Final = frozenset({b""})
_NO_OPTIONS: Final[frozenset[bytes]] = frozenset()
_ORDINARY_OPTIONS: Final = frozenset({b"keep-alive", b"close"})

_match_ordinary_line: Final = ORDINARY_LINE.fullmatch
_match_ordinary_line_1_0: Final = ORDINARY_LINE_1_0.fullmatch

_UNKNOWN: Final[Block] = (False, ())

_MAX_KNOWN: Final = 2 * MAX_BLOCK_LENGTH
"""Bytes of a request that `known` looks at: it would copy a larger one, with its body, for nothing."""

# Codings that a request may honestly have and that we do not decode (RFC 9112 7.2).
_CODINGS: Final = frozenset({b"gzip", b"deflate", b"compress", b"x-gzip", b"x-compress"})


class HeadCheck:
    """Judges complete heads, within the limits of one server."""

    __slots__ = ("_blocks", "_field_lines", "_max_body", "_max_fields", "_max_known", "_max_line")

    def __init__(self, limits: Limits, field_lines: FieldLines, *, short_way: bool = True) -> None:
        self._field_lines = field_lines
        self._blocks = field_lines.blocks
        self._max_known = min(limits.request_head, _MAX_KNOWN) if short_way else 0
        self._max_line = limits.request_line
        self._max_fields = limits.request_fields
        self._max_body = limits.request_body

    def known(self, wire: bytes) -> RequestHead | None:
        """The short way for what most requests are: a head whose fields came before, just so.

        None for everything else, whether it may pass or not: `check` decides. Never refuses, and says of what it
        takes what `check` would say.
        """
        if len(wire) > self._max_known:
            return None
        line, _, block = wire.partition(CRLF)
        keep_alive, fields = self._blocks.get(block, _UNKNOWN)
        headers, length = list(fields), 0
        if not fields:
            keep_alive, headers, length = self._known_but_for_length(block)
        if not headers or len(headers) > self._max_fields or len(line) > self._max_line:
            return None
        match, version = _match_ordinary_line(line), "1.1"
        if match is None and not keep_alive:
            # Fields that say that the connection ends say it in either version.
            match, version = _match_ordinary_line_1_0(line), "1.0"
        if match is None:
            return None
        method, path, query = match.groups(b"")
        return RequestHead(METHODS[method], path, query, version, headers, length, keep_alive, False, b"")

    def _known_but_for_length(self, block: bytes) -> tuple[bool, Headers, int]:
        """The fields of a request with a body, and its length: lengths differ, and all else came before."""
        begin = block.find(_LENGTH_NAMES[0])
        if begin < 0 and (begin := block.find(_LENGTH_NAMES[1])) < 0:
            return False, [], 0
        end = block.find(CRLF, begin)
        digits = block[begin + len(_LENGTH_NAMES[0]) : end]
        if DIGITS.fullmatch(digits) is None or (begin and block[begin - 1] != _LF):
            return False, [], 0
        keep_alive, fields = self._blocks.get(block[:begin] + block[end + 2 :], _UNKNOWN)
        length = int(digits)
        if not fields or (self._max_body is not None and length > self._max_body):
            return False, [], 0
        headers = list(fields)
        headers.insert(block.count(CRLF, 0, begin), (b"content-length", digits))
        return keep_alive, headers, length

    def check(self, lines: list[bytes]) -> tuple[RequestHead, Verdict]:
        """Judge a head, given as the lines before its empty line. Raises RemoteProtocolError."""
        if len(lines[0]) > self._max_line:
            raise RemoteProtocolError("the request line is too long", status=414)
        method, raw_path, query, version, authority = read_request_line(lines[0])
        if len(lines) > self._max_fields + 1:
            raise RemoteProtocolError("the request has too many fields", status=431)
        special: list[Header] = []
        forwarding: list[Header] = []
        headers: Headers = []
        known = self._field_lines.plain.get
        del lines[0]
        for line in lines:
            headers.append(known(line) or self._field_lines.read(line, special, forwarding))
        told: Sequence[Header] = ()
        if forwarding:
            headers, told = _without_look_alikes(headers), _without_look_alikes(forwarding)
        length, keep_alive = _usual_meaning(special, version) if authority is None else (None, False)
        if length is not None:
            self._field_lines.remember(lines, headers, keep_alive)
            expects_continue, upgrade, verdict = False, b"", _ORDINARY
        else:
            length, keep_alive, expects_continue, upgrade, verdict = _read_meaning(special, version)
        if length and self._max_body is not None and length > self._max_body:
            raise RemoteProtocolError("the request body is too large", status=413)
        if authority is not None:
            headers = _with_host(headers, authority)
        return RequestHead(
            method, raw_path, query, version, headers, length, keep_alive, expects_continue, upgrade, told
        ), verdict


def _usual_meaning(special: list[Header], version: str) -> tuple[int | None, bool]:
    """Length of the body, and whether the connection goes on, of what most requests are: nothing special but a host,
    which was checked with its line, and perhaps a length and what is to become of the connection. A length of None for
    all else."""
    keep_alive = True
    if len(special) > 1:
        if version == "1.1" and _KEEP_ALIVE in special:
            special.remove(_KEEP_ALIVE)
        elif _CLOSE in special:
            keep_alive = False
            special = [field for field in special if field != _CLOSE]
    if keep_alive and version != "1.1":
        return None, False
    if len(special) == 1 and special[0][0] == b"host":
        return 0, keep_alive
    if len(special) == 2:
        host, length = special if special[0][0] == b"host" else reversed(special)
        if host[0] == b"host" and length[0] == b"content-length" and DIGITS.fullmatch(length[1]) is not None:
            return int(length[1]), keep_alive
    return None, False


def _read_meaning(special: list[Header], version: str) -> _Meaning:
    """What these fields mean together. Raises RemoteProtocolError where they contradict each other."""
    values: dict[bytes, list[bytes]] = {}
    ordinary = True
    for name, value in special:
        values.setdefault(name, []).append(value)
        ordinary = ordinary and name in _ORDINARY_NAMES
    _check_host_count(len(values.get(b"host", ())), version)
    options = _options(values.get(b"connection", ()))
    length = _read_length(values.get(b"content-length", ()), values.get(b"transfer-encoding", ()), version)
    keep_alive = b"close" not in options and (version == "1.1" or b"keep-alive" in options)
    if ordinary and options <= _ORDINARY_OPTIONS:
        return length, keep_alive, False, b"", _ORDINARY
    expects = version == "1.1" and _expects_continue(values.get(b"expect", ()))
    upgrade = b""
    if b"upgrade" in options:
        # RFC 9110 7.8: an Upgrade that Connection does not name came through a proxy that knew no better.
        upgrade = b", ".join(values.get(b"upgrade", ())).lower()
    return length, keep_alive, expects and length != 0, upgrade, Verdict.H11


def _check_host_count(count: int, version: str) -> None:
    if count > 1:
        raise RemoteProtocolError("the request has more than one Host field")
    if not count and version == "1.1":
        raise RemoteProtocolError("the request has no Host field")


def _options(values: Iterable[bytes]) -> frozenset[bytes]:
    """The options that all Connection fields list, in lower case."""
    if not values:
        return _NO_OPTIONS
    return frozenset(option.strip(OWS) for value in values for option in value.lower().split(b",")) - _EMPTY_OPTION


def _read_length(lengths: Sequence[bytes], codings: Sequence[bytes], version: str) -> int | None:
    """Length of the body (RFC 9112 6.3): 0 without one, None if it is chunked."""
    if codings:
        if version == "1.0":
            raise RemoteProtocolError("HTTP/1.0 knows no Transfer-Encoding")
        if lengths:
            raise RemoteProtocolError("the request has both Content-Length and Transfer-Encoding")
        _check_codings(codings)
        return None
    if not lengths:
        return 0
    # RFC 9110 8.6 lets a recipient take "5, 5" and repeated fields for 5. No client that we know of sends
    # them, and whoever forwards the request may have taken another part for the length: refused.
    if len(lengths) > 1:
        raise RemoteProtocolError("the request has more than one Content-Length field")
    if DIGITS.fullmatch(lengths[0]) is None:
        raise RemoteProtocolError("the Content-Length is not a number of 1 to 19 digits")
    return int(lengths[0])


def _check_codings(codings: Sequence[bytes]) -> None:
    """Exactly `chunked` may pass."""
    if len(codings) > 1:
        raise RemoteProtocolError("the request has more than one Transfer-Encoding field")
    words = [word.strip(OWS) for word in codings[0].lower().split(b",")]
    if words == [b"chunked"]:
        return
    if len(words) > 1 and words[-1] == b"chunked":
        words.pop()
    if _CODINGS.issuperset(words):
        raise RemoteProtocolError("the only transfer coding known here is chunked", status=501)
    raise RemoteProtocolError("the Transfer-Encoding is not: chunked")


def _expects_continue(expectations: Sequence[bytes]) -> bool:
    if any(expectation.lower() != b"100-continue" for expectation in expectations):
        raise RemoteProtocolError("the only expectation known here is 100-continue", status=417)
    return bool(expectations)


def _without_look_alikes(headers: Headers) -> Headers:
    return [field for field in headers if not is_look_alike(field[0])]


def _with_host(headers: Headers, authority: bytes) -> Headers:
    """RFC 9112 3.2.2: the authority of an absolute-form target replaces what the Host field says, and stands for one
    that HTTP/1.0 may do without."""
    headers = [(name, authority if name == b"host" else value) for name, value in headers]
    if not any(name == b"host" for name, _ in headers):
        headers.insert(0, (b"host", authority))
    return headers
