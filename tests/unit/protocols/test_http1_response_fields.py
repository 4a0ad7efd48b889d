"""Which fields of a response are written, which are added, and which are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asgiserve.errors import LocalProtocolError
from asgiserve.protocols.http1 import DefaultFields
from tests.unit.protocols.responses import GET, LENGTH_2, begun, lines_of, write

if TYPE_CHECKING:
    from tests.unit.protocols.responses import Fields

DEFAULTS = DefaultFields(b"asgiserve", [("X-Extra", "1"), ("x-cafe", "\u00e9")])
DATE = b"Tue, 15 Nov 1994 08:12:31 GMT"


def test_defaults_are_added() -> None:
    wire = write(begun(GET, [], status=204, defaults=DEFAULTS, date=DATE))
    assert sorted(lines_of(wire)) == [b"X-Extra: 1", b"date: " + DATE, b"server: asgiserve", b"x-cafe: \xe9"]


@pytest.mark.parametrize("fields", [[], LENGTH_2, [(b"x-plain", b"a"), *LENGTH_2]])
def test_the_date_is_the_one_that_was_handed_in_last(fields: Fields) -> None:
    dates = [b"Tue, 15 Nov 1994 08:12:31 GMT", b"Tue, 15 Nov 1994 08:12:32 GMT", None, b"now", b"now"]
    defaults = DefaultFields(b"asgiserve", [])
    for date in dates:
        lines = lines_of(begun(GET, fields, defaults=defaults, date=date).head(close=False))
        assert [line for line in lines if line.startswith(b"date: ")] == ([b"date: " + date] if date else [])
        assert b"server: asgiserve" in lines


def test_the_server_and_date_of_the_application_replace_the_defaults() -> None:
    own = [(b"Server", b"mine"), (b"DATE", b"never")]
    wire = write(begun(GET, own, status=204, defaults=DEFAULTS, date=DATE))
    assert sorted(lines_of(wire)) == [b"DATE: never", b"Server: mine", b"X-Extra: 1", b"x-cafe: \xe9"]


def test_configured_server_and_date_replace_the_defaults() -> None:
    defaults = DefaultFields(b"asgiserve", [("Server", "theirs"), ("Date", "fixed")])
    wire = write(begun(GET, [], status=204, defaults=defaults, date=DATE))
    assert sorted(lines_of(wire)) == [b"Date: fixed", b"Server: theirs"]
    own = [(b"server", b"app"), (b"date", b"app")]
    wire = write(begun(GET, own, status=204, defaults=defaults, date=DATE))
    assert sorted(lines_of(wire)) == [b"date: app", b"server: app"]


@pytest.mark.parametrize(
    "extra",
    [("a b", "c"), ("", "c"), ("a", "b\r\nc: d"), ("a", "\x00"), ("a", "\u20ac"), ("\u00e9", "a")]
    + [(name, "1") for name in ("Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "TE")],
)
def test_an_illegal_default_field_is_refused_by_name(extra: tuple[str, str]) -> None:
    with pytest.raises(LocalProtocolError, match="response field") as caught:
        DefaultFields(None, [extra])
    assert repr(extra[0]) in str(caught.value)


CONTROLS = [bytes([value]) for value in [*range(0x09), *range(0x0A, 0x20), 0x7F]]
BAD_FIELDS: Fields = [
    *((b"x", b"a%bb" % control) for control in CONTROLS),
    *((b"content-type", b"a\r\n%bb" % control) for control in CONTROLS),
    *((b"a%bb" % control, b"v") for control in [*CONTROLS, b" ", b"\t", b":", b"\x80", b"(", b'"']),
    (b"", b"v"),
    (b"x", b"v\r\n"),
    (b"x", b"\nset-cookie: a=b"),
    (b"server", b"a\r\nb: c"),
    (b"date", b"a\nb"),
    (b"content-length", b""),
    (b"content-length", b"+1"),
    (b"content-length", b"-1"),
    (b"content-length", b" 1"),
    (b"content-length", b"1, 1"),
    (b"content-length", b"0x1"),
    (b"content-length", b"1\r\na: b"),
    (b"content-length", b"1" * 20),
]


@pytest.mark.parametrize("field", BAD_FIELDS)
def test_an_illegal_field_is_refused_with_nothing_written(field: tuple[bytes, bytes]) -> None:
    for _ in range(2):  # a refused field is not remembered as a good one
        with pytest.raises(LocalProtocolError, match="response field") as caught:
            begun(GET, [(b"content-type", b"a"), field], trailers=True, defaults=DEFAULTS, date=DATE)
        assert repr(field[0]) in str(caught.value)
    another = begun(GET, [(b"content-length", b"0")], status=500, defaults=DEFAULTS, date=DATE)
    wire = write(another)
    assert wire.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert len(lines_of(wire)) == 5


def test_an_ignored_field_is_not_checked_onto_the_wire() -> None:
    fields: Fields = [(b"connection", b"x\r\ny: z"), (b"upgrade", b"\n"), (b"te", b"\x00"), *LENGTH_2]
    wire = write(begun(GET, fields), b"hi")
    assert lines_of(wire) == [b"content-length: 2"]


def test_a_second_content_length_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="twice, with 2 and 3"):
        begun(GET, [*LENGTH_2, (b"Content-Length", b"3")])


def test_a_content_length_that_is_repeated_is_sent_once() -> None:
    wire = write(begun(GET, [*LENGTH_2, (b"Content-Length", b"2")]), b"hi")
    assert lines_of(wire) == [b"content-length: 2"]
