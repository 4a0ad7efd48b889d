"""`receive_head` gives what `receive_data` and `next_head` give, whichever way it goes, and goes the short
way only with what is ordinary. Heads that no table lists: test_http1_property.py.

`the_steps` walks each wire by every way, with the cache of lines cold and warm, and compares all steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asgiserve.config import Limits
from asgiserve.errors import RemoteProtocolError
from asgiserve.events import NEED_DATA, RequestHead
from asgiserve.protocols.http1 import Http1Codec
from tests.support.wire import (
    ENGINES,
    chunked,
    every_split,
    in_one_call,
    in_two_calls,
    lines_known_from,
    request,
    the_steps,
)
from tests.unit.protocols.bad_requests import (
    BODY_LIMITS,
    CHUNKS,
    FIELDS,
    HOSTS,
    LIMITS,
    REQUEST_LINES,
    SMALL,
    TINY,
)
from tests.unit.protocols.good_requests import BODIES, HEADS

if TYPE_CHECKING:
    from asgiserve.protocols.http1.fields import FieldLines
    from tests.support.wire import HeadVerb

BROWSER = request(
    b"Connection: keep-alive",
    b"Cache-Control: max-age=0",
    b'sec-ch-ua: "Chromium";v="130"',
    b"Upgrade-Insecure-Requests: 1",
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64)",
    b"Accept: text/html,*/*;q=0.8",
    b"Sec-Fetch-Mode: navigate",
    b"Accept-Encoding: gzip, deflate",
    b"Accept-Language: en",
    host=b"localhost:8000",
)

ORDINARY = [
    request(),
    request(host=b""),
    request(host=b"[::1]:80"),
    request().replace(b"Host: h", b"host:h"),
    request(line=b"GET /a%20b?x=1?y HTTP/1.1"),
    request(line=b"GET /? HTTP/1.1"),
    request(line=b'OPTIONS //a/../b;c|{}"<> HTTP/1.1'),
    request(line=b"POST / HTTP/1.1"),
    request(b"Connection: keep-alive"),
    request(b"Accept: a", b"Accept: a", b"User-Agent: \xff"),
    request(b"Host: h", host=None).replace(b"Host", b"Accept: a\r\nHost"),
    request(b"Connection: keep-alive", b"Host: h", host=None),
    BROWSER,
    request(b"Content-Length: 0"),
    request(b"Content-Length: 5", line=b"POST / HTTP/1.1"),
    request(b"content-length: 0005", line=b"PUT / HTTP/1.1"),
    request(b"Content-Length: 9999999999999999999", line=b"POST / HTTP/1.1"),
    request(b"Content-Length: 5", b"Host: h", b"Connection: keep-alive", host=None, line=b"POST / HTTP/1.1"),
    request(b"Accept: a", b"Content-Length: 5", b"Accept: b", line=b"POST / HTTP/1.1"),
    request(b"Connection: close"),
    request(b"Connection: close", b"Accept: a"),
    request(b"Connection: close", line=b"GET /?a HTTP/1.0"),
    request(b"Connection: close", b"connection:close", line=b"GET / HTTP/1.0"),
    request(b"Content-Length: 5", b"Connection: close", line=b"POST / HTTP/1.1"),
    request(b"Content-Length: 5", b"Connection: close", line=b"POST / HTTP/1.0"),
]

BODIED = [
    request(b"Content-Length: 5", line=b"POST / HTTP/1.1") + b"12345",
    request(b"Content-Length: 4", line=b"POST / HTTP/1.1") + b"\r\n\r\n",
    request(b"Content-Length: 5", line=b"POST / HTTP/1.1") + b"\r\n\r\n\x00" + request(),
    request(b"Content-Length: 19", line=b"POST / HTTP/1.1") + b"Content-Length: 5\r\n",
    request(b"Content-Length: 21", line=b"POST / HTTP/1.1") + b"Content-Length: 5\r\n\r\n",
    request() + b"Content-Length: 5\r\n\r\n",
]

NOT_ORDINARY = [
    request(line=b"GET / HTTP/1.0"),
    request(b"Connection: keep-alive", line=b"GET / HTTP/1.0"),
    request(b"Connection: Keep-Alive", line=b"GET / HTTP/1.0"),
    request(b"Connection: keep-alive", line=b"GET / HTTP/1.0", host=None),
    request(b"Connection: Keep-Alive"),
    request(b"Connection: Close"),
    request(b"Connection: close", host=None, line=b"GET / HTTP/1.0"),
    request(b"Connection: close", b"Connection: keep-alive", line=b"GET / HTTP/1.0"),
    request(b"Connection: keep-alive, close"),
    request(b"Connection: keep-alive", b"Connection: close"),
    request(b"Connection: keep-alive", b"connection:keep-alive"),
    request(b"Connection: upgrade", b"Upgrade: websocket"),
    request(b"Content-Length:5", line=b"POST / HTTP/1.1"),
    request(b"Content-Length:  5", line=b"POST / HTTP/1.1"),
    request(b"CONTENT-LENGTH: 5", line=b"POST / HTTP/1.1"),
    request(b"Content-Length: 5 ", line=b"POST / HTTP/1.1"),
    request(b"Content-Length: 5", line=b"POST / HTTP/1.0"),
    request(b"Content-Length: 5", b"Cookie: a=b", line=b"POST / HTTP/1.1"),
    request(b"X-Content-Length: 5"),
    request(b"Cookie: Content-Length: 5"),
    chunked(b""),
    request(b"Expect: 100-continue"),
    request(b"Cookie: a=b"),
    request(b"Sec-WebSocket-Key: abc="),
    request(line=b"GET http://h/ HTTP/1.1"),
    request(line=b"OPTIONS * HTTP/1.1"),
    request(line=b"get / HTTP/1.1"),
    request(line=b"TRACE / HTTP/1.1"),
    request(line=b"M-SEARCH / HTTP/1.1"),
]

NOT_ALONE = [b"\r\n" + request(), request() + b"G", request() + request(), request() + b"\r\n\r\n"]

REFUSED = [
    *(request(line=line) for line in REQUEST_LINES),
    *(line + b"\r\n\r\n" for line in REQUEST_LINES),
    *map(request, FIELDS),
    *(request(host=host) for host in HOSTS),
    *map(chunked, CHUNKS),
    request(host=None),
    request(b"Accept: a", host=None),
    request(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0"),
    b"GET / HTTP/1.1\nHost: h\n\n",
    b"GET / HTTP/1.1\r\nHost: h\n\n",
]

BEHIND = [b"\r", b"\r\n", b"\r\n\r\n", b"GE", b"\x00", request(b"Connection: close"), request(b"A : b")]


@pytest.fixture(scope="module")
def known() -> FieldLines:
    """A cache that has seen every request of the tables."""
    return lines_known_from(*ORDINARY, *NOT_ORDINARY, *NOT_ALONE, *BODIED, *HEADS, *BODIES, *REFUSED)


@pytest.mark.parametrize("wire", [*ORDINARY, *NOT_ORDINARY, *NOT_ALONE, *BODIED, *HEADS, *BODIES])
def test_a_good_request_is_read_alike_in_one_call_and_in_two(wire: bytes, known: FieldLines) -> None:
    for pieces in every_split(wire):
        walk = the_steps(pieces, known=known)
        assert any(isinstance(step.gave, RequestHead) for step in walk)


@pytest.mark.parametrize("wire", REFUSED)
def test_a_bad_request_is_refused_alike_in_one_call_and_in_two(wire: bytes, known: FieldLines) -> None:
    for pieces in every_split(wire):
        assert isinstance(the_steps(pieces, known=known)[-1].gave, tuple)


@pytest.mark.parametrize("limits", [TINY, SMALL], ids=["tiny", "small"])
@pytest.mark.parametrize("wire", [*LIMITS, *map(chunked, BODY_LIMITS), *ORDINARY[:9]])
def test_limits_are_met_alike_in_one_call_and_in_two(wire: bytes, limits: Limits, known: FieldLines) -> None:
    pieces = [wire[index : index + 50] for index in range(0, len(wire), 50)]
    whole, divided = (the_steps(given, limits=limits, known=known) for given in ([wire], pieces))
    assert divided[-1].gave == whole[-1].gave


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("wire", [*ORDINARY, *NOT_ORDINARY[:9]])
def test_bytes_behind_a_head_are_read_alike_in_one_call_and_in_two(
    wire: bytes, behind: bytes, known: FieldLines
) -> None:
    data = wire + behind
    for cut in (len(data), len(wire) - 2, len(wire) - 1, len(wire), len(wire) + 1):
        walk = the_steps([data[:cut], data[cut:]], known=known)
        assert any(isinstance(step.gave, RequestHead) for step in walk)


@pytest.mark.parametrize("held", [b"\r", b"G", b"GET /?", BROWSER[:-1], BROWSER[:-2], BROWSER[:-20]])
def test_an_ordinary_head_behind_half_a_head_is_read_alike_in_one_call_and_in_two(
    held: bytes, known: FieldLines
) -> None:
    for wire in ORDINARY:
        walk = the_steps([held, wire], known=known)
        assert walk[0].gave is NEED_DATA
        assert walk[1].gave != the_steps([wire], known=known)[0].gave


@pytest.mark.parametrize("wire", ORDINARY)
def test_an_ordinary_head_behind_an_empty_line_is_read_as_if_it_came_first(wire: bytes, known: FieldLines) -> None:
    assert the_steps([b"\r\n", wire], known=known)[1:] == the_steps([wire], known=known)


@pytest.mark.parametrize("wire", [*ORDINARY[:4], *NOT_ORDINARY[:4], *map(request, [b"A : b", b"Host: h"])])
def test_requests_that_follow_each_other_are_read_alike_in_one_call_and_in_two(wire: bytes, known: FieldLines) -> None:
    # Behind every request of a kind: after a refusal the same refusal, whatever comes.
    walk = the_steps([BROWSER, wire, b"\r\n", wire, BROWSER, BROWSER[:9], BROWSER[9:]], known=known)
    assert isinstance(walk[0].gave, RequestHead)
    assert len({step.gave for step in walk if isinstance(step.gave, tuple)}) <= 1


def way_of(lines: FieldLines, wire: bytes, *, limits: Limits | None = None, engine: str = "auto") -> str:
    """Which way a head goes, with these lines known. Only the short way finds fields in `blocks`."""
    marked = b"host", b"found by the short way"
    for block, (keep_alive, headers) in lines.blocks.items():
        changed = tuple(marked if name == b"host" else (name, value) for name, value in headers)
        lines.blocks[block] = keep_alive, changed
    head = Http1Codec(limits or Limits(), engine=engine, field_lines=lines).receive_head(wire)
    assert isinstance(head, RequestHead)
    return "short" if marked in head.headers else "long"


@pytest.mark.parametrize("wire", ORDINARY)
def test_an_ordinary_head_goes_the_short_way_when_its_lines_are_known(wire: bytes) -> None:
    lines = lines_known_from()
    assert way_of(lines, wire) == "long"
    assert way_of(lines, wire) == "short"
    assert way_of(lines, wire, engine="h11") == "long"


@pytest.mark.parametrize("wire", NOT_ALONE)
def test_an_ordinary_head_among_other_bytes_goes_the_short_way_once_it_is_found(wire: bytes) -> None:
    assert way_of(lines_known_from(request()), wire) == "short"


def test_a_head_goes_the_short_way_when_all_of_it_but_its_length_is_known() -> None:
    lines = lines_known_from(request(b"Accept: a"))
    for line in (b"Content-Length: 7", b"content-length: 123"):
        assert way_of(lines, request(line, b"Accept: a", line=b"POST / HTTP/1.1")) == "short"
        assert way_of(lines, request(b"Accept: a", line, line=b"POST / HTTP/1.1")) == "short"


def test_a_length_above_the_limit_never_goes_the_short_way() -> None:
    lines, limits = lines_known_from(request()), Limits(request_body=5)
    assert way_of(lines, request(b"Content-Length: 5", line=b"POST / HTTP/1.1"), limits=limits) == "short"
    with pytest.raises(RemoteProtocolError) as caught:
        way_of(lines, request(b"Content-Length: 6", line=b"POST / HTTP/1.1"), limits=limits)
    assert caught.value.status == 413


@pytest.mark.parametrize("wire", NOT_ORDINARY)
def test_any_other_head_never_goes_the_short_way(wire: bytes) -> None:
    lines = lines_known_from(wire, BROWSER, request(b"Connection: keep-alive"))
    assert way_of(lines, wire) == "long"
    assert way_of(lines, wire) == "long"


def test_a_known_host_hides_no_second_one() -> None:
    lines = lines_known_from(request(), request(host=b"other"), request(b"Accept: a"))
    for fields in ([b"Host: h"], [b"Host: other"], [b"Accept: a", b"Host: h"], [b"host: h"]):
        (step,) = the_steps([request(*fields)], known=lines)
        assert step.gave == (400, "the request has more than one Host field")


def test_known_lines_without_a_host_are_refused() -> None:
    lines = lines_known_from(BROWSER)
    for wire in (BROWSER.replace(b"Host: localhost:8000\r\n", b""), request(host=None)):
        (step,) = the_steps([wire], known=lines)
        assert step.gave == (400, "the request has no Host field")


def test_a_trailer_teaches_nothing_that_a_head_may_not_have() -> None:
    lines = lines_known_from(chunked(b"0\r\nHost: a\r\n\r\n"), chunked(b"0\r\nAccept: a\r\n\r\n"))
    (step,) = the_steps([request(b"Accept: a", b"Host: a")], known=lines)
    assert step.gave == (400, "the request has more than one Host field")


def exact_limits(wire: bytes) -> dict[str, int]:
    """The limits that this head just keeps."""
    line, *fields = wire[:-4].split(b"\r\n")
    return {"request_line": len(line), "request_head": len(wire), "request_fields": len(fields)}


@pytest.mark.parametrize("wire", ORDINARY)
def test_the_short_way_is_open_up_to_the_limits(wire: bytes) -> None:
    limits = Limits(**exact_limits(wire))
    assert the_steps([wire], limits=limits)[0].gave == the_steps([wire])[0].gave
    assert way_of(lines_known_from(wire), wire, limits=limits) == "short"


BEYOND = [("request_line", 414, wire) for wire in ORDINARY]
BEYOND += [("request_head", 431, wire) for wire in ORDINARY]
BEYOND += [("request_fields", 431, wire) for wire in ORDINARY if exact_limits(wire)["request_fields"] > 1]


@pytest.mark.parametrize(("name", "status", "wire"), BEYOND)
def test_one_beyond_a_limit_is_refused_however_well_its_lines_are_known(
    name: str, status: int, wire: bytes, known: FieldLines
) -> None:
    limits = Limits(**{name: exact_limits(wire)[name] - 1})
    for pieces in every_split(wire):
        gave = the_steps(pieces, limits=limits, known=known)[-1].gave
        assert isinstance(gave, tuple)
        assert gave[0] == status


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"GET / HTTP/1.1"),
        (b"GE", b" / HTTP/1.1"),
        (b"GET", b"/ HTTP/1.1"),
        (b"GET ", b"a HTTP/1.1"),
        (b"GET /", b" HTTP/1.1"),
        (b"GET /?", b" HTTP/1.1"),
        (b"GET /", b"HTTP/1.1"),
        (b"GET / HTTP/1", b"1"),
        (b"GET / HTTP/1.", b""),
        (b"GET / HTTP/1.1", b""),
    ],
)
def test_every_byte_in_a_request_line_is_read_alike_in_one_call_and_in_two(before: bytes, after: bytes) -> None:
    lines = lines_known_from(request())
    wires = [request(line=before + bytes([value]) + after) for value in range(256)]
    gave = [the_steps([wire], known=lines)[0].gave for wire in wires]
    assert any(isinstance(refusal, tuple) for refusal in gave)


@pytest.mark.parametrize("in_turn", [in_one_call, in_two_calls])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_head_out_of_turn_is_a_bug_of_the_caller_and_loses_no_byte(engine: str, in_turn: HeadVerb) -> None:
    codec = Http1Codec(Limits(), engine=engine, field_lines=lines_known_from(request()))
    in_turn(codec, request())
    with pytest.raises(RuntimeError, match="COMPLETE"):
        in_turn(codec, request())
    assert codec.unread() == request()
    codec.next_request()
    assert isinstance(in_turn(codec, b""), RequestHead)
