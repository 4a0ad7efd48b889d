"""Whole messages of the server's own, and what an independent client makes of all that is written."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgiserve.errors import LocalProtocolError
from asgiserve.events import RequestHead, ResponseHead
from asgiserve.protocols.http1 import (
    DefaultFields,
    ResponseWriter,
    error_response,
    informational,
    rendered_head,
    whole_response,
)
from asgiserve.protocols.http1.status import REASONS
from tests.unit.protocols.responses import GET, GET_10, GET_10_KEPT, GET_CLOSE, HEAD

DEFAULTS = DefaultFields(b"s", [])


def test_an_error_response_is_complete_and_closes() -> None:
    assert error_response(400, DEFAULTS, b"now") == (
        b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 11\r\n"
        b"server: s\r\ndate: now\r\nconnection: close\r\n\r\nBad Request"
    )


def test_an_error_response_may_leave_the_connection_open_and_say_when_to_come_again() -> None:
    wire = error_response(503, DEFAULTS, None, retry_after=5, close=False)
    assert b"\r\nretry-after: 5\r\n" in wire
    assert b"connection" not in wire


def test_an_error_response_to_head_has_no_body_and_keeps_its_length() -> None:
    wire = error_response(404, DEFAULTS, None, head_only=True)
    assert b"\r\ncontent-length: 9\r\n" in wire
    assert wire.endswith(b"\r\n\r\n")


def test_informational_responses_are_written() -> None:
    assert informational(100, []) == b"HTTP/1.1 100 Continue\r\n\r\n"
    link = b"</a.css>; rel=preload"
    assert informational(103, [(b"Link", link)]) == b"HTTP/1.1 103 Early Hints\r\nLink: " + link + b"\r\n\r\n"


@pytest.mark.parametrize("status", [99, 101, 200])
def test_what_is_not_informational_is_refused(status: int) -> None:
    with pytest.raises(LocalProtocolError, match=str(status)):
        informational(status, [])


@pytest.mark.parametrize(
    "field", [(b"link", b"a\r\nb: c"), (b"a b", b"c"), (b"content-length", b"0"), (b"connection", b"close")]
)
def test_an_illegal_informational_field_is_refused(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(LocalProtocolError, match="response field"):
        informational(103, [field])


def read_as_client(wire: bytes, method: str) -> tuple[int, dict[bytes, bytes], bytes, dict[bytes, bytes]]:
    """Status, fields, body and trailers of the one response that these bytes are, as h11 reads them."""
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    client.send(h11.Request(method=method, target="/", headers=[("host", "h")]))
    client.send(h11.EndOfMessage())
    client.receive_data(wire)
    response = client.next_event()
    assert isinstance(response, h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    if event is h11.NEED_DATA:  # delimited by the end of the connection
        client.receive_data(b"")
        event = client.next_event()
    assert isinstance(event, h11.EndOfMessage)
    assert client.trailing_data[0] == b""
    return response.status_code, dict(response.headers), body, dict(event.headers)


@settings(max_examples=150)
@given(
    method=st.sampled_from(["GET", "HEAD"]),
    version=st.sampled_from(["1.0", "1.1"]),
    status=st.sampled_from([200, 204, 304, 404, 599]),
    parts=st.lists(st.binary(max_size=5000), max_size=4),
    counted=st.booleans(),
    trailers=st.booleans(),
)
def test_a_client_reads_what_the_application_wrote(
    method: str, version: str, status: int, parts: list[bytes], counted: bool, trailers: bool
) -> None:
    request = RequestHead(method, b"/", b"", version, [], 0, version == "1.1", False, b"")
    body = b"".join(parts)
    fields = [(b"x-app", b"a")] + ([(b"content-length", b"%d" % len(body))] if counted else [])
    writer = ResponseWriter(request, ResponseHead(status, tuple(fields), trailers), DEFAULTS, b"now")
    wire = writer.head(close=False)
    for part in parts:
        wire += b"".join(writer.body(part, more=True))
    wire += b"".join(writer.body(b"", more=False))
    if trailers:
        wire += writer.trailers([(b"x-sum", b"1")])
    assert writer.complete
    read_status, headers, read_body, read_trailers = read_as_client(wire, method)
    assert read_status == status
    assert (headers[b"x-app"], headers[b"server"], headers[b"date"]) == (b"a", b"s", b"now")
    assert read_body == (b"" if method == "HEAD" or status in (204, 304) else body)
    assert read_trailers == ({b"x-sum": b"1"} if headers.get(b"transfer-encoding") and trailers else {})
    assert (b"connection" in headers) == (not writer.keep_alive)


@settings(max_examples=300)
@given(
    request=st.sampled_from([GET, GET_10, GET_10_KEPT, GET_CLOSE, HEAD]),
    status=st.sampled_from([200, 204, 304, 404, 426]),
    body=st.binary(max_size=3),
    length=st.sampled_from([None, b"0", b"1", b"2", b"3"]),
    own=st.sampled_from([(), (b"date", b"x"), (b"server", b"x"), (b"connection", b"close"), (b"upgrade", b"h2c")]),
    close=st.booleans(),
)
def test_the_short_way_writes_what_the_writer_would(
    request: RequestHead,
    status: int,
    body: bytes,
    length: bytes | None,
    own: tuple[bytes, bytes] | tuple[()],
    close: bool,
) -> None:
    counted = () if length is None else ((b"content-length", length),)
    known = rendered_head(status, (*counted, *((own,) if own else ())))
    goes_on = request.keep_alive and not close
    whole = whole_response(request, known, body, DEFAULTS.block(b"now"), keep_alive=goes_on)
    writer = ResponseWriter(request, ResponseHead(status, (), trailers=False), DEFAULTS, b"now", known)
    if whole is not None:
        assert whole == writer.head(close=close) + b"".join(writer.body(body, more=False))
        assert writer.complete
        assert writer.keep_alive == goes_on
    else:
        fits = length is not None and len(body) == int(length)
        assert request is HEAD or status in (204, 304) or own or not fits


def test_a_large_body_does_not_go_the_short_way() -> None:
    # It would be copied: the writer hands it on as it is.
    for size in (65_536, 65_537):
        known = rendered_head(200, ((b"content-length", b"%d" % size),))
        whole = whole_response(GET, known, bytes(size), DEFAULTS.block(None), keep_alive=True)
        assert (whole is None) == (size > 65_536)


@settings(max_examples=150)
@given(name=st.binary(max_size=8), value=st.binary(max_size=20))
def test_a_field_is_refused_or_arrives_alone_and_whole(name: bytes, value: bytes) -> None:
    head = ResponseHead(204, ((b"x-" + name, value),), trailers=False)
    try:
        writer = ResponseWriter(None, head, DefaultFields(None, []), None)
    except LocalProtocolError:
        return
    _, headers, _, _ = read_as_client(writer.head(close=False), "GET")
    assert headers == {b"x-" + name.lower(): value.strip(b" \t")}


@pytest.mark.parametrize("status", sorted(status for status in REASONS if status >= 400))
def test_every_error_response_is_well_formed(status: int) -> None:
    read_status, headers, body, _ = read_as_client(error_response(status, DEFAULTS, None), "GET")
    assert (read_status, headers[b"connection"]) == (status, b"close")
    assert body == REASONS[status].encode()
