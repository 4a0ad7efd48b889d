"""Whatever bytes come, however they are split: both engines agree, and so do the short way and the long way;
only RemoteProtocolError comes out.

`read_wire` lets every other exception through, so that each example also shows that there is none.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from asgiserve.config import Limits
from asgiserve.protocols.http1.request_line import ORDINARY_LINE, read_request_line
from tests.support.wire import ENGINES, bytewise, chunked, lines_known_from, read_wire, request, the_steps

if TYPE_CHECKING:
    from collections.abc import Sequence

quick = settings(max_examples=150)

LIMITS = Limits(request_line=60, request_head=200, request_fields=6, request_body=100)

LINES = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"POST /a?b HTTP/1.1",
        b"get http://h/ HTTP/1.1",
        b"PUT / HTTP/1.0",
        b"GET / HTTP/2.0",
    ]
)
FIELDS = st.sampled_from(
    [
        b"Host: h",
        b"Host: a/b",
        b"Connection: close",
        b"Connection: keep-alive, upgrade",
        b"Upgrade: websocket",
        b"Content-Length: 3",
        b"Content-Length: 0",
        b"Transfer-Encoding: chunked",
        b"Expect: 100-continue",
        b"Accept: */*",
        b"Cookie: a=b",
        b"X-Forwarded-For: 1.2.3.4",
        b"X_Forwarded_For: 1.2.3.4",
        b"X: \xff",
        b"A : b",
        b" fold",
        b"X: a\x0bb",
        b"X:",
    ]
)
PARTS = st.sampled_from(
    [
        b"\r\n",
        b"\r",
        b"\n",
        b"\r\n\r\n",
        b" ",
        b":",
        b"0\r\n\r\n",
        b"3\r\nabc\r\n",
        b"1;x\r\n",
        b"5",
        b"\x00",
        b"G",
        b"abc",
    ]
)


@st.composite
def changed(draw: st.DrawFn, wire: bytes) -> bytes:
    """The same with a line end, a separator or another part put in, or put over a byte or two."""
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(wire)))
        wire = wire[:place] + draw(PARTS) + wire[place + draw(st.integers(0, 2)) :]
    return wire


@st.composite
def wires(draw: st.DrawFn) -> bytes:
    """Requests, mostly good, one behind the other, with bytes put in and taken out here and there."""
    wire = b""
    for _ in range(draw(st.integers(1, 3))):
        fields = draw(st.lists(FIELDS, max_size=4))
        host = draw(st.sampled_from([b"h", b"h", None]))
        body = b"".join(draw(st.lists(PARTS, max_size=5)))
        wire += request(*fields, line=draw(LINES), host=host, body=body)
    return draw(changed(wire))


# Lines that the cache remembers, and a few that it must tell apart from them.
TARGETS = st.sampled_from([b"/", b"/a?b", b"//x?y?z", b"/%20?", b"/a#b", b"*", b"http://h/", b"a", b"/\xff"])
METHODS = st.sampled_from([b"GET", b"POST", b"OPTIONS", b"HEAD", b"TRACE", b"get", b"CONNECT"])
VERSIONS = st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2"])
REPEATING = st.sampled_from(
    [
        b"Accept: */*",
        b"User-Agent: \xff",
        b"connection:keep-alive",
        b"Connection: keep-alive",
        b"Connection: keep-alive",
        b"Connection: close",
        b"Host: h",
        b"Content-Length: 0",
        b"Cookie: a=b",
    ]
)
HOSTS = st.sampled_from([b"h", b"h", b"h", b"", b"[::1]:80", b"a b", None])


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Mostly what a browser sends: heads that the short way takes, or nearly takes."""
    line = b" ".join([draw(METHODS), draw(TARGETS), draw(VERSIONS)])
    return request(*draw(st.lists(REPEATING, max_size=4)), line=line, host=draw(HOSTS))


def split(wire: bytes, places: Sequence[int]) -> list[bytes]:
    cuts = [0, *sorted(place % (len(wire) + 1) for place in places), len(wire)]
    return [wire[start:end] for start, end in itertools.pairwise(cuts)]


PLACES = st.lists(st.integers(0, 1000), max_size=5)


@quick
@given(wires(), PLACES, st.sampled_from([LIMITS, Limits()]))
def test_engines_and_splits_give_the_same(wire: bytes, places: list[int], limits: Limits) -> None:
    expected = read_wire([wire], limits=limits)
    for engine in ENGINES:
        assert read_wire(split(wire, places), engine=engine, limits=limits) == expected
        assert read_wire(bytewise(wire), engine=engine, limits=limits) == expected


@quick
@given(st.binary(max_size=300), PLACES)
def test_any_bytes_give_events_or_a_refusal(wire: bytes, places: list[int]) -> None:
    for prefix in (b"", b"GET / HTTP/1.1\r\n", chunked(b""), chunked(b"0\r\n"), chunked(b"5\r\nhello")):
        expected = read_wire([prefix + wire], limits=LIMITS)
        for engine in ENGINES:
            assert read_wire(split(prefix + wire, places), engine=engine, limits=LIMITS) == expected


@quick
@given(st.lists(st.binary(min_size=1, max_size=100), max_size=6), PLACES, st.booleans())
def test_the_body_that_comes_out_is_the_body_that_was_sent(parts: list[bytes], places: list[int], chunks: bool) -> None:
    body = b"".join(parts)
    if chunks:
        wire = chunked(b"".join(b"%X\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n")
    else:
        wire = request(b"Content-Length: %d" % len(body), line=b"POST / HTTP/1.1", body=body)
    for engine in ENGINES:
        outcome = read_wire(split(wire + b"rest", places), engine=engine)
        assert [(reading.body, reading.complete) for reading in outcome.readings] == [(body, True)]
        assert outcome.unread == b"rest"


@quick
@given(st.lists(st.tuples(FIELDS, st.booleans()), max_size=6))
def test_a_prefix_of_a_good_request_is_never_refused(fields: list[tuple[bytes, bool]]) -> None:
    wire = request(*(text for text, wanted in fields if wanted), line=b"POST / HTTP/1.1")
    if read_wire([wire]).refusal is None:
        assert all(read_wire([wire[:end]]).refusal is None for end in range(len(wire)))


@quick
@given(st.data(), st.lists(heads(), min_size=1, max_size=3), PLACES)
def test_the_short_way_and_the_long_way_give_the_same(
    data: st.DataObject, good: list[bytes], places: list[int]
) -> None:
    # The lines of the unchanged heads are known: a changed line must not pass for the one that it was.
    known = lines_known_from(*good)
    wire = data.draw(changed(b"".join(good)))
    for limits in (LIMITS, Limits()):
        the_steps([wire], limits=limits, known=known)
        the_steps(split(wire, places), limits=limits, known=known)
        the_steps([data.draw(changed(head)) for head in good], limits=limits, known=known)
        the_steps([wire[: data.draw(st.integers(0, len(wire)))], *good], limits=limits, known=known)


@quick
@given(wires(), PLACES, st.sampled_from([LIMITS, Limits()]))
def test_the_short_way_and_the_long_way_give_the_same_bodies(wire: bytes, places: list[int], limits: Limits) -> None:
    the_steps([wire], limits=limits)
    the_steps(split(wire, places), limits=limits)


@quick
@given(st.from_regex(ORDINARY_LINE, fullmatch=True))
def test_an_ordinary_request_line_is_read_as_the_long_way_reads_it(line: bytes) -> None:
    match = ORDINARY_LINE.fullmatch(line)
    assert match is not None
    method, path, query = match.groups(b"")
    assert read_request_line(line) == (method.decode(), path, query, "1.1", None)
