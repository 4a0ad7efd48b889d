"""What the writer writes, exactly, and when it refuses to. Which fields may be in it:
test_http1_response_fields.py. What a client reads of it: test_http1_messages.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asgiserve.errors import LocalProtocolError
from tests.unit.protocols.responses import (
    GET,
    GET_10,
    GET_10_KEPT,
    GET_CLOSE,
    HEAD,
    LENGTH_2,
    begun,
    sent,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from asgiserve.events import RequestHead
    from tests.unit.protocols.responses import Fields


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
        b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: h2c\r\ncontent-length: 2\r\nconnection: upgrade\r\n\r\nhi",
        True,
    ),
    (
        GET_CLOSE,
        426,
        [(b"upgrade", b"h2c"), *LENGTH_2],
        b"hi",
        b"HTTP/1.1 426 Upgrade Required\r\nupgrade: h2c\r\ncontent-length: 2\r\nconnection: upgrade, close\r\n\r\nhi",
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
    for _ in range(2):  # the second time, what repeats is remembered
        writer = begun(request_head, fields, status=status)
        assert writer.keep_alive is kept
        assert write(writer, body) == wire
        assert writer.complete
        assert writer.keep_alive is kept


def test_close_is_decided_when_the_head_is_taken() -> None:
    writer = begun(GET, LENGTH_2)
    assert writer.keep_alive
    assert b"\r\nconnection: close\r\n" in write(writer, b"hi", close=True)
    assert not writer.keep_alive


@pytest.mark.parametrize("status", [-200, 0, 99, 100, 101, 103, 199, 1000, 20000])
def test_a_status_that_is_not_final_is_refused(status: int) -> None:
    with pytest.raises(LocalProtocolError, match=f"status {status}"):
        begun(GET, [], status=status)


def test_a_body_longer_than_its_content_length_is_refused_before_a_byte_of_the_excess() -> None:
    writer = sent(GET, LENGTH_2)
    assert writer.body(b"h", more=True) == (b"h",)
    with pytest.raises(LocalProtocolError, match="longer"):
        writer.body(b"ij", more=True)
    assert not writer.keep_alive
    assert not writer.complete


def test_a_body_shorter_than_its_content_length_is_refused_at_its_end() -> None:
    writer = sent(GET, LENGTH_2)
    with pytest.raises(LocalProtocolError, match="1 bytes shorter"):
        writer.body(b"h", more=False)
    assert not writer.keep_alive
    with pytest.raises(LocalProtocolError, match="BROKEN"):
        writer.body(b"i", more=False)


@pytest.mark.parametrize(
    ("request_head", "status", "fields", "known", "ends"),
    [
        (GET, 200, LENGTH_2, True, False),
        (GET_10, 200, LENGTH_2, True, False),
        (HEAD, 200, [], True, False),
        (GET, 204, [], True, False),
        (GET, 304, [], True, False),
        (GET, 200, [], False, False),
        (None, 400, [], False, False),
        (GET_CLOSE, 200, [], False, False),
        (GET_10, 200, [], False, True),
        (GET_10_KEPT, 200, [], False, True),
    ],
)
def test_how_the_body_ends_is_known_from_the_head(
    request_head: RequestHead | None, status: int, fields: Fields, known: bool, ends: bool
) -> None:
    writer = begun(request_head, fields, status=status)
    assert (writer.length_known, writer.ends_with_connection) == (known, ends)
    writer.head(close=True)
    assert (writer.length_known, writer.ends_with_connection) == (known, ends)


@pytest.mark.parametrize("last", [False, True])
def test_chunks_of_up_to_64_kib_are_one_buffer_and_larger_ones_are_not_copied(last: bool) -> None:
    end = b"\r\n0\r\n\r\n" if last else b"\r\n"
    joined = b"x" * 65_536
    assert sent(GET, []).body(joined, more=not last) == (b"10000\r\n" + joined + end,)
    large = b"x" * 65_537
    buffers = sent(GET, []).body(large, more=not last)
    assert [buffer is large for buffer in buffers] == [False, True, False]
    assert b"".join(buffers) == b"10001\r\n" + large + end


def test_small_chunks_are_one_buffer_and_an_empty_one_is_none() -> None:
    assert sent(GET, []).body(b"abc", more=False) == (b"3\r\nabc\r\n0\r\n\r\n",)
    assert sent(GET, []).body(b"abc", more=True) == (b"3\r\nabc\r\n",)
    assert sent(GET, []).body(b"", more=True) == ()


def test_a_body_without_chunks_is_not_copied() -> None:
    for request_head, fields in ((GET_10, []), (GET, LENGTH_2)):
        data = b"hi"
        (buffer,) = sent(request_head, fields).body(data, more=True)
        assert buffer is data


def test_trailers_end_a_chunked_body() -> None:
    writer = sent(GET, [], trailers=True)
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
    writer = sent(GET, [], trailers=True)
    writer.body(b"", more=False)
    with pytest.raises(LocalProtocolError, match="response field"):
        writer.trailers([(b"x", b"y"), field])
    assert writer.trailers([]) == b"0\r\n\r\n"


@pytest.mark.parametrize(("request_head", "fields"), [(GET_10, []), (HEAD, []), (GET, [(b"content-length", b"0")])])
def test_trailers_are_dropped_where_the_framing_carries_none(request_head: RequestHead, fields: Fields) -> None:
    writer = sent(request_head, fields, trailers=True)
    assert writer.body(b"", more=False) == ()
    assert writer.complete
    assert writer.trailers([(b"x", b"y")]) == b""


def test_verbs_out_of_turn_are_refused() -> None:
    writer = begun(GET, LENGTH_2)

    def refused(*verbs: Callable[[], object], state: str) -> None:
        for verb in verbs:
            with pytest.raises(LocalProtocolError, match=f"in state {state}$"):
                verb()

    def head() -> bytes:
        return writer.head(close=False)

    def body() -> tuple[bytes, ...]:
        return writer.body(b"hi", more=False)

    def trailers() -> bytes:
        return writer.trailers([])

    refused(body, trailers, state="BEGUN")
    assert head() == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
    refused(head, trailers, state="BODY")
    assert body() == (b"hi",)
    refused(head, body, state="COMPLETE")
