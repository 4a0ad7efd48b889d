"""What the writer writes, exactly, and what it refuses. What a client reads of it: test_http1_messages.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asgiserve.errors import LocalProtocolError
from asgiserve.events import RequestHead, ResponseHead
from asgiserve.protocols.http1 import DefaultFields, ResponseWriter

GET = RequestHead("GET", b"/", b"", "1.1", [(b"host", b"h")], 0, True, False, b"")
GET_CLOSE = replace(GET, keep_alive=False)
GET_10 = replace(GET, http_version="1.0", keep_alive=False)
GET_10_KEPT = replace(GET, http_version="1.0")
HEAD = replace(GET, method="HEAD")
NO_DEFAULTS = DefaultFields(None, [])

Fields = list[tuple[bytes, bytes]]


def write(
    writer: ResponseWriter,
    status: int,
    fields: Fields,
    *parts: bytes,
    close: bool = False,
    date: bytes | None = None,
) -> bytes:
    """The whole response, its body in these parts."""
    writer.begin(ResponseHead(status, fields, trailers=False), date)
    wire = writer.head(close=close)
    for part in parts:
        wire += b"".join(writer.body(part, more=True))
    return wire + b"".join(writer.body(b"", more=False))


LENGTH_2: Fields = [(b"content-length", b"2")]

WIRES = [
    # request, status, fields, body, wire, whether the connection may go on
    (GET, 200, LENGTH_2, b"hi", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", True),
    (GET, 200, [], b"hi", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", True),
    (GET, 200, [], b"", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", True),
    (
        GET_CLOSE,
        200,
        LENGTH_2,
        b"hi",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi",
        False,
    ),
    (
        GET_10,
        200,
        LENGTH_2,
        b"hi",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi",
        False,
    ),
    (GET_10, 200, [], b"hi", b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhi", False),
    (GET_10_KEPT, 200, [], b"hi", b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhi", False),
    (
        GET_10_KEPT,
        200,
        LENGTH_2,
        b"hi",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nhi",
        True,
    ),
    (HEAD, 200, LENGTH_2, b"dropped", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", True),
    (HEAD, 200, [], b"dropped", b"HTTP/1.1 200 OK\r\n\r\n", True),
    (GET, 304, LENGTH_2, b"dropped", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n", True),
    (GET, 204, LENGTH_2, b"dropped", b"HTTP/1.1 204 No Content\r\n\r\n", True),
    (GET, 299, LENGTH_2, b"hi", b"HTTP/1.1 299 \r\ncontent-length: 2\r\n\r\nhi", True),
    (None, 400, LENGTH_2, b"hi", b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\nhi", True),
    # the application's own hop-by-hop fields are ignored, but for a close
    (
        GET,
        200,
        [
            (b"Transfer-Encoding", b"gzip"),
            (b"Keep-Alive", b"5"),
            (b"TE", b"x"),
            (b"Upgrade", b"h2c"),
            (b"Connection", b"keep-alive"),
            (b"Proxy-Connection", b"close"),
            (b"Content-Length", b"2"),
        ],
        b"hi",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        True,
    ),
    (
        GET,
        200,
        [(b"Connection", b"x, Close"), *LENGTH_2],
        b"hi",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi",
        False,
    ),
    (
        GET,
        426,
        [(b"Upgrade", b"h2c"), *LENGTH_2],
        b"hi",
        b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: h2c\r\n"
        b"content-length: 2\r\nconnection: upgrade\r\n\r\nhi",
        True,
    ),
    (
        GET_CLOSE,
        426,
        [(b"upgrade", b"h2c"), *LENGTH_2],
        b"hi",
        b"HTTP/1.1 426 Upgrade Required\r\nupgrade: h2c\r\n"
        b"content-length: 2\r\nconnection: upgrade, close\r\n\r\nhi",
        False,
    ),
    # names as given, white space around values dropped, obs-text kept
    (
        GET,
        200,
        [(b"X-CamelCase", b"\t a\tb "), (b"x", b"\xff"), (b"x", b""), *LENGTH_2],
        b"hi",
        b"HTTP/1.1 200 OK\r\nX-CamelCase: a\tb\r\nx: \xff\r\nx: \r\ncontent-length: 2\r\n\r\nhi",
        True,
    ),
]


@pytest.mark.parametrize(("request_head", "status", "fields", "body", "wire", "kept"), WIRES)
def test_a_response_is_written_exactly_so(
    request_head: RequestHead | None, status: int, fields: Fields, body: bytes, wire: bytes, kept: bool
) -> None:
    writer = ResponseWriter(request_head, NO_DEFAULTS)
    assert write(writer, status, fields, body) == wire
    assert writer.complete
    assert writer.keep_alive is kept


def test_close_is_decided_when_the_head_is_taken() -> None:
    writer = ResponseWriter(GET, NO_DEFAULTS)
    assert b"\r\nconnection: close\r\n" in write(writer, 200, LENGTH_2, b"hi", close=True)
    assert not writer.keep_alive


DEFAULTS = DefaultFields(b"asgiserve", [("X-Extra", "1"), ("x-caf\u00e9".replace("\u00e9", "e"), "\u00e9")])
DATE = b"Tue, 15 Nov 1994 08:12:31 GMT"


def lines_of(wire: bytes) -> list[bytes]:
    return wire.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]


def test_defaults_are_added() -> None:
    wire = write(ResponseWriter(GET, DEFAULTS), 204, [], date=DATE)
    assert sorted(lines_of(wire)) == [b"X-Extra: 1", b"date: " + DATE, b"server: asgiserve", b"x-cafe: \xe9"]


def test_the_server_and_date_of_the_application_replace_the_defaults() -> None:
    own = [(b"Server", b"mine"), (b"DATE", b"never")]
    wire = write(ResponseWriter(GET, DEFAULTS), 204, own, date=DATE)
    assert sorted(lines_of(wire)) == [b"DATE: never", b"Server: mine", b"X-Extra: 1", b"x-cafe: \xe9"]


def test_configured_server_and_date_replace_the_defaults() -> None:
    defaults = DefaultFields(b"asgiserve", [("Server", "theirs"), ("Date", "fixed")])
    assert sorted(lines_of(write(ResponseWriter(GET, defaults), 204, [], date=DATE))) == [
        b"Date: fixed",
        b"Server: theirs",
    ]
    wire = write(ResponseWriter(GET, defaults), 204, [(b"server", b"app"), (b"date", b"app")], date=DATE)
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
    writer = ResponseWriter(GET, DEFAULTS)
    for _ in range(2):  # a refused field is not remembered as a good one
        with pytest.raises(LocalProtocolError, match="response field") as caught:
            writer.begin(ResponseHead(200, [(b"content-type", b"a"), field], trailers=True), DATE)
        assert repr(field[0]) in str(caught.value)
    assert write(writer, 500, [(b"content-length", b"0")]).startswith(
        b"HTTP/1.1 500 Internal Server Error\r\n"
    )


def test_an_ignored_field_is_not_checked_onto_the_wire() -> None:
    fields: Fields = [(b"connection", b"x\r\ny: z"), (b"upgrade", b"\n"), (b"te", b"\x00"), *LENGTH_2]
    wire = write(ResponseWriter(GET, NO_DEFAULTS), 200, fields, b"hi")
    assert lines_of(wire) == [b"content-length: 2"]


def test_a_second_content_length_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="twice"):
        write(ResponseWriter(GET, NO_DEFAULTS), 200, [*LENGTH_2, (b"Content-Length", b"2")], b"hi")


@pytest.mark.parametrize("status", [-200, 0, 99, 100, 101, 103, 199, 1000, 20000])
def test_a_status_that_is_not_final_is_refused(status: int) -> None:
    with pytest.raises(LocalProtocolError, match=f"status {status}"):
        ResponseWriter(GET, NO_DEFAULTS).begin(ResponseHead(status, [], trailers=False), None)


def begun(request_head: RequestHead, fields: Fields, *, trailers: bool = False) -> ResponseWriter:
    writer = ResponseWriter(request_head, NO_DEFAULTS)
    writer.begin(ResponseHead(200, fields, trailers), None)
    writer.head(close=False)
    return writer


def test_a_body_longer_than_its_content_length_is_refused_before_a_byte_of_the_excess() -> None:
    writer = begun(GET, LENGTH_2)
    assert writer.body(b"h", more=True) == (b"h",)
    with pytest.raises(LocalProtocolError, match="longer"):
        writer.body(b"ij", more=True)
    assert not writer.keep_alive
    assert not writer.complete


def test_a_body_shorter_than_its_content_length_is_refused_at_its_end() -> None:
    writer = begun(GET, LENGTH_2)
    with pytest.raises(LocalProtocolError, match="1 bytes shorter"):
        writer.body(b"h", more=False)
    assert not writer.keep_alive
    with pytest.raises(LocalProtocolError, match="BROKEN"):
        writer.body(b"i", more=False)


def test_the_length_still_to_be_written_is_known_or_none() -> None:
    writer = begun(GET, LENGTH_2)
    assert writer.content_length == 2
    writer.body(b"h", more=True)
    assert writer.content_length == 1
    assert begun(GET, []).content_length is None
    assert begun(GET_10, []).content_length is None
    assert begun(HEAD, LENGTH_2).content_length == 0


def test_large_chunks_are_not_copied_and_small_ones_are_one_buffer() -> None:
    large = b"x" * 100_000
    buffers = begun(GET, []).body(large, more=True)
    assert [buffer is large for buffer in buffers] == [False, True, False]
    assert b"".join(buffers) == b"186a0\r\n" + large + b"\r\n"
    assert begun(GET, []).body(b"abc", more=False) == (b"3\r\nabc\r\n0\r\n\r\n",)
    assert begun(GET, []).body(b"", more=True) == ()
    assert begun(GET_10, []).body(large, more=True)[0] is large


def test_trailers_end_a_chunked_body() -> None:
    writer = begun(GET, [], trailers=True)
    assert writer.body(b"a", more=False) == (b"1\r\na\r\n",)
    assert not writer.complete
    assert writer.trailers([(b"X-Sum", b"1"), (b"etag", b'"a"')]) == b'0\r\nX-Sum: 1\r\netag: "a"\r\n\r\n'
    assert writer.complete


@pytest.mark.parametrize(
    "field",
    [(b"a", b"b\r\nc"), (b"a\r\nb", b"c"), (b"a", b"\x00")]
    + [
        (name, b"1")
        for name in (
            b"Content-Length",
            b"transfer-encoding",
            b"Host",
            b"trailer",
            b"connection",
            b"Set-Cookie",
        )
    ],
)
def test_an_illegal_trailer_is_refused_and_may_be_left_out(field: tuple[bytes, bytes]) -> None:
    writer = begun(GET, [], trailers=True)
    writer.body(b"", more=False)
    with pytest.raises(LocalProtocolError, match="response field"):
        writer.trailers([(b"x", b"y"), field])
    assert writer.trailers([]) == b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("request_head", "fields"), [(GET_10, []), (HEAD, []), (GET, [(b"content-length", b"0")])]
)
def test_trailers_are_dropped_where_the_framing_carries_none(
    request_head: RequestHead, fields: Fields
) -> None:
    writer = begun(request_head, fields, trailers=True)
    assert writer.body(b"", more=False) == ()
    assert writer.complete
    assert writer.trailers([(b"x", b"y")]) == b""


def test_verbs_out_of_turn_are_refused() -> None:
    writer = ResponseWriter(GET, NO_DEFAULTS)
    for verb in (
        lambda: writer.head(close=False),
        lambda: writer.body(b"", more=False),
        lambda: writer.trailers([]),
    ):
        with pytest.raises(LocalProtocolError, match="in state NEW"):
            verb()
    write(writer, 204, [])
    with pytest.raises(LocalProtocolError, match="in state COMPLETE"):
        writer.begin(ResponseHead(200, [], trailers=False), None)
