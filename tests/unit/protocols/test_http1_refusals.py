"""Every way in which a request can be wrong, on both engines, whole, byte by byte and at every split."""

from __future__ import annotations

import pytest

from asgiserve.config import Limits
from asgiserve.protocols.http1 import Http1Codec
from tests.support.wire import ENGINES, chunked, read_wire, request, the_outcome
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


@pytest.mark.parametrize(("line", "status"), REQUEST_LINES.items())
def test_a_bad_request_line_is_refused(line: bytes, status: int) -> None:
    outcome = the_outcome(request(line=line))
    assert outcome.status == status
    assert outcome.readings == []


@pytest.mark.parametrize(
    "line", [line for line in REQUEST_LINES if not line.endswith(b"\r") and line != b"GET /\r HTTP/1.1"]
)
def test_a_bad_request_line_is_refused_before_the_head_is_complete(line: bytes) -> None:
    assert the_outcome(line + b"\r\n").status == REQUEST_LINES[line]


@pytest.mark.parametrize(("fields", "status"), FIELDS.items())
def test_bad_fields_are_refused(fields: bytes, status: int) -> None:
    assert the_outcome(request(fields)).status == status


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_outside_its_grammar_is_refused(host: bytes) -> None:
    assert the_outcome(request(host=host)).status == 400


def test_a_request_without_host_is_refused_on_http_1_1() -> None:
    assert the_outcome(request(host=None)).status == 400


@pytest.mark.parametrize("coding", [b"chunked", b"gzip", b"x"])
def test_a_transfer_coding_is_refused_on_http_1_0(coding: bytes) -> None:
    wire = request(b"Transfer-Encoding: " + coding, line=b"POST / HTTP/1.0")
    assert the_outcome(wire).status == 400


@pytest.mark.parametrize(("wire", "status"), CHUNKS.items())
def test_bad_chunked_framing_is_refused(wire: bytes, status: int) -> None:
    outcome = the_outcome(chunked(wire))
    assert outcome.status == status
    assert not outcome.readings[0].complete


@pytest.mark.parametrize(("wire", "status"), LIMITS.items())
def test_a_head_beyond_a_limit_is_refused(wire: bytes, status: int) -> None:
    assert the_outcome(wire, limits=TINY).status == status


@pytest.mark.parametrize("wire", BODY_LIMITS)
def test_a_body_beyond_a_limit_is_refused(wire: bytes) -> None:
    data = chunked(wire)
    pieces = [data[index : index + 50] for index in range(0, len(data), 50)]
    whole = read_wire([data], limits=SMALL)
    assert whole.status == BODY_LIMITS[wire]
    for engine in ENGINES:
        assert read_wire(pieces, engine=engine, limits=SMALL) == whole


@pytest.mark.parametrize("engine", ENGINES)
def test_chunk_extensions_beyond_their_budget_are_refused(engine: str) -> None:
    # One byte may cost 18 bytes; with its line of 1,038 and two CRLFs it draws 1,024 on the 16 KiB.
    chunk = b"1;" + b"x" * 1036 + b"\r\na\r\n"
    allowed = chunked(chunk * 16 + b"0\r\n\r\n")
    assert read_wire([allowed], engine=engine).readings[0].body == b"a" * 16
    beyond = chunked(b"1;y" + chunk[2:] + chunk * 15)
    assert read_wire([beyond], engine=engine).status == 400


def test_a_wrong_end_of_a_chunk_is_refused_at_its_first_byte() -> None:
    for wrong in (b"X", b"\n", b"\rX"):
        assert the_outcome(chunked(b"5\r\nhello" + wrong)).status == 400


@pytest.mark.parametrize("engine", ENGINES)
def test_many_small_chunks_are_no_abuse(engine: str) -> None:
    outcome = read_wire([chunked(b"1\r\na\r\n" * 20_000 + b"0\r\n\r\n")], engine=engine)
    assert outcome.readings[0].complete
    assert outcome.readings[0].body == b"a" * 20_000


@pytest.mark.parametrize("bad", [b"A : b", b"Host: two", b"Content-Length: x"])
def test_a_good_request_before_a_bad_one_comes_out_and_none_after_it(bad: bytes) -> None:
    good = request(line=b"GET /good HTTP/1.1")
    outcome = the_outcome(good + request(bad) + request(line=b"GET /after HTTP/1.1"))
    assert [reading.head.raw_path for reading in outcome.readings] == [b"/good"]
    assert outcome.status == 400
    assert outcome.unread == b""


@pytest.mark.parametrize(("first", "later"), [(b"A : b", b"C: d\nE: f"), (b"A: b\nC: d", b"E : f")])
def test_a_bare_lf_is_named_whatever_else_is_wrong(first: bytes, later: bytes) -> None:
    outcome = the_outcome(request(first, later))
    assert outcome.refusal == (400, "a line of the head ends with LF instead of CR LF")


@pytest.mark.parametrize("wire", [b"GET / HTTP/1.1\nHost: h\n\n", b"GET / HTTP/1.1\r\nHost: h\n\n", b"\n"])
def test_a_peer_that_ends_lines_with_lf_is_refused_and_not_waited_for(wire: bytes) -> None:
    assert the_outcome(wire).status == 400


@pytest.mark.parametrize("byte", [bytes([value]) for value in (0x00, 0x16, 0x20, 0x2F, 0x3A, 0x80, 0xFF)])
def test_a_first_byte_that_begins_no_method_is_refused_at_once(byte: bytes) -> None:
    assert the_outcome(byte).status == 400


def test_a_refusal_names_nothing_that_the_peer_sent() -> None:
    for wire in [*map(request, FIELDS), *(request(line=line) for line in REQUEST_LINES)]:
        outcome = read_wire([wire.replace(b"A", b"QQQ")])
        assert outcome.refusal is None or "QQQ" not in outcome.refusal[1]


@pytest.mark.parametrize("empty_lines", [4, 5])
def test_empty_lines_before_a_request_are_tolerated_within_bounds(empty_lines: int) -> None:
    outcome = the_outcome(b"\r\n" * empty_lines + request())
    assert outcome.status == (None if empty_lines == 4 else 400)
    assert len(outcome.readings) == (1 if empty_lines == 4 else 0)


def test_empty_lines_are_counted_for_each_request() -> None:
    assert len(the_outcome((b"\r\n" * 3 + request()) * 2).readings) == 2


def test_a_request_line_longer_than_a_whole_head_may_be_is_refused() -> None:
    wire = request(line=b"GET /" + b"a" * 30 + b" HTTP/1.1")
    assert the_outcome(wire, limits=Limits(request_head=24)).status == 431


def test_a_poisoned_codec_repeats_its_error_and_holds_nothing() -> None:
    codec = Http1Codec(Limits())
    codec.receive_data(request(b"A : b"))
    texts = []
    for verb in (codec.next_head, codec.next_head, codec.next_body, codec.discard_body):
        codec.receive_data(request())
        with pytest.raises(Exception, match="token") as caught:
            verb()
        texts.append((type(caught.value).__name__, str(caught.value)))
    assert len(set(texts)) == 1
    assert codec.buffered == 0
    assert not codec.head_begun
