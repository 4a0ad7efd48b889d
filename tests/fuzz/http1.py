"""Fuzzing the HTTP/1 codec: what it says of any bytes, however they come, by whichever of its ways, and what h11 says.

What lives here: cases of one stream of requests each, and `check`. What does not: the strategies of requests, which
are those of the property tests, and how cases are run (`run.py`, `test_fuzz.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11
from hypothesis import strategies as st

from asgiserve.config import Limits
from tests.support.wire import ENGINES, bytewise, read_wire, the_steps
from tests.unit.protocols import bad_requests, good_requests
from tests.unit.protocols.test_http1_property import PLACES, changed, heads, split, wires

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.fuzz.corpus import Case
    from tests.support.wire import Outcome, Reading

__all__ = ["LIMITS", "cases", "check", "streams"]

LIMITS = {
    "default": Limits(),
    "small": Limits(request_line=60, request_head=200, request_fields=6, request_body=100),
}

_KNOWN = st.sampled_from([*good_requests.HEADS, *good_requests.BODIES])
_BAD = st.sampled_from(
    [
        *[line + b"\r\nHost: h\r\n\r\n" for line in bad_requests.REQUEST_LINES],
        *[b"POST / HTTP/1.1\r\nHost: h\r\n" + field + b"\r\n\r\n" for field in bad_requests.FIELDS],
        *[b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + body for body in bad_requests.CHUNKS],
    ]
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Requests one behind the other: good ones, changed ones, known mistakes, and noise."""
    parts = draw(st.lists(st.one_of(wires(), heads(), _KNOWN, _KNOWN, _BAD, st.binary(max_size=60)), max_size=4))
    return draw(changed(b"".join(parts)))


def cases() -> st.SearchStrategy[Case]:
    return st.fixed_dictionaries(
        {
            "wire": streams().map(lambda wire: wire.decode("latin-1")),
            "cuts": PLACES,
            "limits": st.sampled_from(sorted(LIMITS)),
        }
    )


def check(case: Case) -> None:
    """Every way and every split says the same, nothing but a refusal is raised, and h11 reads what we have read."""
    wire, limits = case["wire"].encode("latin-1"), LIMITS[case["limits"]]
    pieces = split(wire, case["cuts"])
    expected = read_wire([wire], limits=limits)
    for engine in ENGINES:
        assert read_wire([wire], engine=engine, limits=limits) == expected
        assert read_wire(pieces, engine=engine, limits=limits) == expected
        assert read_wire(bytewise(wire), engine=engine, limits=limits) == expected
    the_steps([wire], limits=limits)
    the_steps(pieces, limits=limits)
    _compare_with_h11(wire, expected)


def _compare_with_h11(wire: bytes, outcome: Outcome) -> None:
    """Whatever passes our check, h11 alone reads in the same way: where one request ends is no matter of opinion."""
    rest = wire
    for reading in outcome.readings:
        if not reading.complete:
            return
        # Empty lines before a request line may be skipped (RFC 9112 2.2); h11 does not.
        rest = _compare_one(rest.lstrip(b"\r\n"), reading)


def _compare_one(wire: bytes, reading: Reading) -> bytes:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(wire)
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    assert request.method.decode().upper() == reading.head.method
    assert request.http_version.decode() == reading.head.http_version
    assert _comparable(request.headers) == _comparable(reading.head.headers)
    body = b""
    while isinstance(event := connection.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    assert body == reading.body
    return connection.trailing_data[0]


def _comparable(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    # An absolute target replaces the host, and names that only look like a proxy's are dropped.
    return [(name, value) for name, value in headers if name != b"host" and b"_" not in name]
