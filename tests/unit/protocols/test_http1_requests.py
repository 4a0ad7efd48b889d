"""Good requests: what exactly comes out, on both engines, whole, byte by byte and at every split."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asgiserve.config import Limits
from asgiserve.events import NEED_DATA, BodyChunk, RequestHead
from asgiserve.protocols.http1 import Http1Codec
from asgiserve.protocols.http1.fields import FieldLines
from tests.support.wire import ENGINES, Reading, chunked, read_wire, request, the_outcome

PLAIN = RequestHead(
    method="GET",
    raw_path=b"/",
    query=b"",
    http_version="1.1",
    headers=[(b"host", b"h")],
    content_length=0,
    keep_alive=True,
    expects_continue=False,
    upgrade=b"",
)


def with_fields(*fields: tuple[bytes, bytes], **changes: object) -> RequestHead:
    return replace(PLAIN, headers=[(b"host", b"h"), *fields], **changes)  # type: ignore[arg-type]


HEADS = {
    request(): PLAIN,
    request(line=b"get / HTTP/1.1"): PLAIN,
    request(line=b"M-SEARCH /a%20b?x=1?y HTTP/1.1"): replace(
        PLAIN, method="M-SEARCH", raw_path=b"/a%20b", query=b"x=1?y"
    ),
    request(line=b'GET //a/../b;c|{}"<>? HTTP/1.1'): replace(PLAIN, raw_path=b'//a/../b;c|{}"<>'),
    request(line=b"OPTIONS * HTTP/1.1"): replace(PLAIN, method="OPTIONS", raw_path=b"*"),
    request(host=b""): replace(PLAIN, headers=[(b"host", b"")]),
    # absolute-form: its authority replaces the host
    request(line=b"GET HTTP://Other:81/p?q HTTP/1.1"): replace(
        PLAIN, raw_path=b"/p", query=b"q", headers=[(b"host", b"Other:81")]
    ),
    request(line=b"GET https://other HTTP/1.1"): replace(PLAIN, headers=[(b"host", b"other")]),
    request(line=b"OPTIONS http://other HTTP/1.1"): replace(
        PLAIN, method="OPTIONS", raw_path=b"*", headers=[(b"host", b"other")]
    ),
    request(line=b"OPTIONS http://other?q HTTP/1.1"): replace(
        PLAIN, method="OPTIONS", query=b"q", headers=[(b"host", b"other")]
    ),
    request(line=b"GET http://other HTTP/1.0", host=None): replace(
        PLAIN, http_version="1.0", headers=[], keep_alive=False
    ),
    # fields: names in lower case, values without white space around them, order and duplicates kept
    request(b"X-A:\t one \t", b"x_a: two", b"X-A:one", b"Empty:"): with_fields(
        (b"x-a", b"one"), (b"x_a", b"two"), (b"x-a", b"one"), (b"empty", b"")
    ),
    request(b"X: caf\xc3\xa9\x85\xa0", b"User-Agent: \xff"): with_fields(
        (b"x", b"caf\xc3\xa9\x85\xa0"), (b"user-agent", b"\xff")
    ),
    request(b"Sec-WebSocket-Key: abc=", b"X" * 70 + b": long name"): with_fields(
        (b"sec-websocket-key", b"abc="), (b"x" * 70, b"long name")
    ),
    request(b"X: a\tb: c"): with_fields((b"x", b"a\tb: c")),
    # Connection
    request(b"Connection: Close"): with_fields((b"connection", b"Close"), keep_alive=False),
    request(b"Connection: keep-alive"): with_fields((b"connection", b"keep-alive")),
    request(b"Connection: keep-alive", b"Connection: x , cLose,"): with_fields(
        (b"connection", b"keep-alive"), (b"connection", b"x , cLose,"), keep_alive=False
    ),
    request(b"Connection: closed"): with_fields((b"connection", b"closed")),
    request(line=b"GET / HTTP/1.0"): replace(PLAIN, http_version="1.0", keep_alive=False),
    request(line=b"GET / HTTP/1.0", host=None): replace(
        PLAIN, http_version="1.0", keep_alive=False, headers=[]
    ),
    request(b"Connection: x, Keep-Alive", line=b"GET / HTTP/1.0"): with_fields(
        (b"connection", b"x, Keep-Alive"), http_version="1.0"
    ),
    request(b"Connection: keep-alive, close", line=b"GET / HTTP/1.0"): with_fields(
        (b"connection", b"keep-alive, close"), http_version="1.0", keep_alive=False
    ),
    # Expect
    request(b"Expect: 100-Continue"): with_fields((b"expect", b"100-Continue")),
    request(b"Expect: whatever", line=b"GET / HTTP/1.0"): with_fields(
        (b"expect", b"whatever"), http_version="1.0", keep_alive=False
    ),
    # Upgrade
    request(b"Connection: keep-alive, Upgrade", b"Upgrade: WebSocket"): with_fields(
        (b"connection", b"keep-alive, Upgrade"), (b"upgrade", b"WebSocket"), upgrade=b"websocket"
    ),
    request(b"Upgrade: websocket"): with_fields((b"upgrade", b"websocket")),
    request(b"Connection: upgrade"): with_fields((b"connection", b"upgrade")),
    request(b"Connection: upgrade", b"Upgrade: h2c", line=b"GET / HTTP/1.0"): with_fields(
        (b"connection", b"upgrade"), (b"upgrade", b"h2c"), http_version="1.0", keep_alive=False
    ),
}


@pytest.mark.parametrize(("wire", "head"), HEADS.items())
def test_a_good_head_gives_exactly_this_event(wire: bytes, head: RequestHead) -> None:
    outcome = the_outcome(wire)
    assert outcome.refusal is None
    assert outcome.readings == [Reading(head, b"", complete=True)]
    assert outcome.unread == b""


@pytest.mark.parametrize(
    "host",
    [
        b"localhost:8000",
        b"EXAMPLE.org",
        b"h:",
        b"127.0.0.1:1",
        b"[::1]",
        b"[::ffff:1.2.3.4]:65535",
        b"a%20b",
        b"a_b",
    ],
)
def test_a_host_within_its_grammar_passes(host: bytes) -> None:
    assert the_outcome(request(host=host)).readings[0].head.headers == [(b"host", host)]


BODIES = {
    request(b"Content-Length: 5", line=b"POST / HTTP/1.1", body=b"hello"): (5, b"hello"),
    request(b"Content-Length: 0005", line=b"POST / HTTP/1.1", body=b"\r\n\r\n\n"): (5, b"\r\n\r\n\n"),
    request(b"Content-Length: 2", line=b"POST / HTTP/1.0", body=b"hi"): (2, b"hi"),
    request(b"Content-Length: 2", b"Expect: 100-continue", line=b"POST / HTTP/1.1", body=b"hi"): (2, b"hi"),
    chunked(b"0\r\n\r\n"): (None, b""),
    chunked(b"000\r\n\r\n"): (None, b""),
    chunked(b"5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n"): (None, b"hello0123456789"),
    chunked(b'5;ext="v\xff";b\thallo\r\n'.replace(b"hallo", b"") + b"hello\r\n0;last\r\n\r\n"): (
        None,
        b"hello",
    ),
    chunked(b"1\r\na\r\n0\r\nX-Trailer: v\r\nUser-Agent: again\r\nEmpty:\r\n\r\n"): (None, b"a"),
    request(b"Transfer-Encoding: CHUNKED", line=b"PUT / HTTP/1.1", body=b"1\r\na\r\n0\r\n\r\n"): (None, b"a"),
}


@pytest.mark.parametrize(("wire", "expected"), BODIES.items())
def test_a_body_comes_out_without_its_framing(wire: bytes, expected: tuple[int | None, bytes]) -> None:
    following = request(line=b"GET /next HTTP/1.1")
    outcome = the_outcome(wire + following + b"GE")
    first, second = outcome.readings
    assert (first.head.content_length, first.body, first.complete) == (*expected, True)
    assert second.head.raw_path == b"/next"
    assert outcome.unread == b"GE"


def test_expects_continue_is_said_when_a_body_is_announced() -> None:
    expecting = request(b"Content-Length: 1", b"Expect: 100-continue", line=b"POST / HTTP/1.1")
    assert the_outcome(expecting).readings[0].head.expects_continue
    assert the_outcome(chunked(b"", b"Expect: 100-CONTINUE")).readings[0].head.expects_continue
    old = request(b"Content-Length: 1", b"Expect: 100-continue", line=b"POST / HTTP/1.0")
    assert not the_outcome(old).readings[0].head.expects_continue


def test_trailers_are_never_handed_out() -> None:
    wire = chunked(b"0\r\nX-User: admin\r\n\r\n")
    assert (b"x-user", b"admin") not in the_outcome(wire).readings[0].head.headers


def test_limits_allow_what_reaches_them_and_no_more() -> None:
    exact = {"request_line": 13, "request_head": 45, "request_fields": 2, "request_body": 3}
    wire = request(b"Content-Length: 3", line=b"PO / HTTP/1.1", body=b"abc")
    outcome = the_outcome(wire, limits=Limits(**exact))
    assert outcome.refusal is None
    assert outcome.readings[0].complete
    statuses = {
        name: the_outcome(wire, limits=Limits(**{**exact, name: exact[name] - 1})).status for name in exact
    }
    assert statuses == {"request_line": 414, "request_head": 431, "request_fields": 431, "request_body": 413}


@pytest.mark.parametrize("engine", ENGINES)
def test_the_bytes_of_another_protocol_stay_unread(engine: str) -> None:
    codec = Http1Codec(Limits(), engine=engine)
    upgrade = request(b"Connection: Upgrade", b"Upgrade: websocket")
    codec.receive_data(upgrade + b"\x81\x85frame")
    assert isinstance(codec.next_head(), RequestHead)
    assert codec.body_complete
    codec.receive_data(b"more")
    assert codec.unread() == b"\x81\x85framemore"
    assert codec.buffered == len(codec.unread())


@pytest.mark.parametrize("engine", ENGINES)
def test_the_last_chunk_of_a_counted_body_says_so(engine: str) -> None:
    codec = Http1Codec(Limits(), engine=engine)
    codec.receive_data(request(b"Content-Length: 4", line=b"POST / HTTP/1.1", body=b"ab"))
    codec.next_head()
    assert codec.next_body() == BodyChunk(b"ab", more=True)
    assert codec.next_body() is NEED_DATA
    assert not codec.body_complete
    codec.receive_data(b"cd" + request())
    assert codec.next_body() == BodyChunk(b"cd", more=False)
    assert codec.body_complete
    codec.next_request()
    assert codec.next_head() == PLAIN


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("chunks", [False, True])
def test_a_discarded_body_leaves_the_next_request(engine: str, chunks: bool) -> None:
    codec = Http1Codec(Limits(), engine=engine)
    begin, end = (b"4\r\nab", b"cd\r\n0\r\n\r\n") if chunks else (b"ab", b"cd")
    framing = b"Transfer-Encoding: chunked" if chunks else b"Content-Length: 4"
    codec.receive_data(request(framing, line=b"POST / HTTP/1.1", body=begin))
    codec.next_head()
    assert not codec.discard_body()
    codec.receive_data(end + request())
    assert codec.discard_body()
    assert codec.discard_body()
    codec.next_request()
    assert codec.next_head() == PLAIN


@pytest.mark.parametrize("engine", ENGINES)
def test_a_counted_body_has_arrived_when_all_of_it_is_held(engine: str) -> None:
    codec = Http1Codec(Limits(), engine=engine)
    codec.receive_data(request(b"Content-Length: 4", line=b"POST / HTTP/1.1", body=b"abc"))
    codec.next_head()
    assert not codec.body_arrived
    codec.receive_data(b"d")
    assert codec.body_arrived
    codec.next_body()
    assert codec.body_arrived


def test_head_begun_counts_no_empty_lines() -> None:
    codec = Http1Codec(Limits())
    for data, begun in ((b"", False), (b"\r", False), (b"\n", False), (b"\r\n", False), (b"G", True)):
        codec.receive_data(data)
        assert codec.next_head() is NEED_DATA
        assert codec.head_begun is begun
    codec.receive_data(b"ET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert codec.next_head() == PLAIN
    assert not codec.head_begun


def test_verbs_out_of_turn_are_a_bug_of_the_caller() -> None:
    codec = Http1Codec(Limits())
    with pytest.raises(RuntimeError, match="HEAD"):
        codec.next_body()
    with pytest.raises(RuntimeError, match="HEAD"):
        codec.next_request()
    codec.receive_data(request())
    codec.next_head()
    with pytest.raises(RuntimeError, match="COMPLETE"):
        codec.next_head()


def test_known_lines_keep_their_special_meaning() -> None:
    # The second reading of every wire finds its lines in the cache.
    lines = FieldLines()
    for _ in range(2):
        for wire, head in HEADS.items():
            codec = Http1Codec(Limits(), field_lines=lines)
            codec.receive_data(wire)
            assert codec.next_head() == head
        assert read_wire([request(b"Host: h")]).status == 400
        assert not read_wire([request(b"Connection: close")]).readings[0].head.keep_alive


def test_the_cache_of_lines_is_bounded_and_keeps_no_secret() -> None:
    lines = FieldLines()
    for secret in (b"Cookie: a=b", b"Authorization: Basic x", b"X-Api-Key: k", b"Content-Length: 5"):
        lines.read(secret, [])
    lines.read(b"User-Agent: " + b"x" * 256, [])
    assert lines.plain == {}
    for number in range(3000):
        assert lines.read(b"User-Agent: %d" % number, []) == (b"user-agent", b"%d" % number)
    assert len(lines.plain) == 1024


@pytest.mark.parametrize("engine", ENGINES)
def test_a_large_body_in_small_pieces_is_read_in_linear_time(engine: str) -> None:
    # Bytes are held back so that the buffer has to grow; quadratic copying would be 2 GB here, not 1 MB.
    codec = Http1Codec(Limits(), engine=engine)
    codec.receive_data(request(b"Content-Length: 65536", line=b"POST / HTTP/1.1"))
    codec.next_head()
    for _ in range(65536):
        codec.receive_data(b"x")
    assert codec.buffered == 65536
    assert codec.next_body() == BodyChunk(b"x" * 65536, more=False)
    assert codec.buffered == 0
