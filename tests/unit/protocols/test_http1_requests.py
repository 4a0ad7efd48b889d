"""Good requests: what exactly comes out, on both engines, whole, byte by byte and at every split."""

from __future__ import annotations

import pytest

from asgiserve.config import Limits
from asgiserve.errors import RemoteProtocolError
from asgiserve.events import NEED_DATA, BodyChunk, RequestHead
from asgiserve.protocols.http1 import Http1Codec
from asgiserve.protocols.http1.fields import FieldLines
from tests.support.wire import ENGINES, Reading, chunked, read_wire, request, the_outcome
from tests.unit.protocols.good_requests import BODIES, HEADS, PLAIN


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
    statuses = {name: the_outcome(wire, limits=Limits(**{**exact, name: exact[name] - 1})).status for name in exact}
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
def test_chunks_that_have_come_are_one_event(engine: str) -> None:
    codec = Http1Codec(Limits(), engine=engine)
    codec.receive_data(
        request(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.1", body=b"2\r\nab\r\n3\r\ncde\r\n4\r\nf")
    )
    codec.next_head()
    assert codec.next_body() == BodyChunk(b"abcdef", more=True)
    assert codec.next_body() is NEED_DATA
    codec.receive_data(b"ghi\r\n1\r\nj\r\n0\r\n\r\n" + request())
    assert codec.next_body() == BodyChunk(b"ghij", more=False)
    codec.next_request()
    assert codec.next_head() == PLAIN


def test_a_flood_of_small_chunks_that_h11_reads_is_handed_out_in_parts() -> None:
    codec = Http1Codec(Limits(), engine="h11")
    codec.receive_data(request(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.1", body=b"1\r\na\r\n" * 10_000))
    codec.next_head()
    sizes = []
    while (event := codec.next_body()) is not NEED_DATA:
        assert isinstance(event, BodyChunk)
        sizes.append(len(event.data))
    assert sum(sizes) == 10_000
    assert min(sizes) > 0
    assert max(sizes) < 500


@pytest.mark.parametrize("engine", ENGINES)
def test_what_came_before_a_bad_chunk_is_handed_out_before_the_refusal(engine: str) -> None:
    codec = Http1Codec(Limits(), engine=engine)
    codec.receive_data(request(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.1", body=b"2\r\nab\r\n3\r\ncdeX"))
    codec.next_head()
    assert codec.next_body() == BodyChunk(b"abcde", more=True)
    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match="where its size says"):
            codec.next_body()


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
    assert not codec.body_arrived()
    codec.receive_data(b"d")
    assert codec.body_arrived()
    codec.next_body()
    assert codec.body_arrived()


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
        lines.read(secret, [], [])
    lines.read(b"User-Agent: " + b"x" * 256, [], [])
    assert lines.plain == {}
    for number in range(3000):
        assert lines.read(b"User-Agent: %d" % number, [], []) == (b"user-agent", b"%d" % number)
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
