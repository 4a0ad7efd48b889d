"""The answers to a handshake: the 101 that accepts it, and what refuses a bad one."""

from __future__ import annotations

import h11
import pytest

from asgiserve.errors import LocalProtocolError, RemoteProtocolError
from asgiserve.events import RequestHead
from asgiserve.protocols.http1 import DefaultFields
from asgiserve.protocols.websocket import Handshake, accept_response, refusal

# The example of RFC 6455 1.3.
HANDSHAKE = Handshake(b"dGhlIHNhbXBsZSBub25jZQ==", ["chat", "superchat"], [])
DEFAULTS = DefaultFields(b"s", [("X-Added", "1")])
NO_DEFAULTS = DefaultFields(None, [])

Fields = list[tuple[bytes, bytes]]


def accepted(
    headers: Fields,
    *,
    subprotocol: str | None = None,
    extension: str | None = None,
    defaults: DefaultFields = NO_DEFAULTS,
    date: bytes | None = None,
) -> bytes:
    return accept_response(
        HANDSHAKE, subprotocol=subprotocol, headers=headers, extension=extension, defaults=defaults, date=date
    )


OPENING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
)


def test_the_barest_answer() -> None:
    assert accepted([]) == OPENING + b"\r\n"


def test_the_whole_answer() -> None:
    wire = accepted(
        [(b"X-One", b"1"), (b"set-cookie", b"a=b"), (b"set-cookie", b"c=d")],
        subprotocol="superchat",
        extension="permessage-deflate; server_max_window_bits=12",
        defaults=DEFAULTS,
        date=b"now",
    )
    assert wire == (
        OPENING + b"Sec-WebSocket-Protocol: superchat\r\n"
        b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=12\r\n"
        b"X-One: 1\r\nset-cookie: a=b\r\nset-cookie: c=d\r\nserver: s\r\ndate: now\r\nX-Added: 1\r\n\r\n"
    )


def test_a_client_of_http_takes_the_answer_for_the_end_of_http() -> None:
    client = h11.Connection(h11.CLIENT)
    upgrade = [("host", "h"), ("connection", "upgrade"), ("upgrade", "websocket")]
    client.send(h11.Request(method="GET", target="/", headers=upgrade))
    client.send(h11.EndOfMessage())
    client.receive_data(accepted([(b"a", b"b")], defaults=DEFAULTS, date=b"now") + b"\x81\x00")
    response = client.next_event()
    assert isinstance(response, h11.InformationalResponse)
    assert response.status_code == 101
    assert client.next_event() is h11.PAUSED
    assert client.trailing_data[0] == b"\x81\x00"


@pytest.mark.parametrize("name", [b"server", b"Server", b"date", b"Date"])
def test_a_field_of_the_application_takes_the_place_of_the_default(name: bytes) -> None:
    wire = accepted([(name, b"mine")], defaults=DEFAULTS, date=b"now")
    assert wire.lower().count(name.lower() + b":") == 1
    assert name + b": mine\r\n" in wire


@pytest.mark.parametrize(
    "field",
    [
        (b"connection", b"close"),
        (b"Upgrade", b"h2c"),
        (b"content-length", b"5"),
        (b"Transfer-Encoding", b"chunked"),
        (b"keep-alive", b"timeout=5"),
    ],
)
def test_fields_that_belong_to_the_connection_are_not_sent(field: tuple[bytes, bytes]) -> None:
    assert accepted([field]) == accepted([])


@pytest.mark.parametrize(
    "field",
    [
        (b"sec-websocket-protocol", b"chat"),
        (b"Sec-WebSocket-Accept", b"x"),
        (b"SEC-WEBSOCKET-EXTENSIONS", b"x"),
        (b"a b", b"c"),
        (b"", b"c"),
        (b"a", b"b\r\nc: d"),
        (b"a", b"b\x00"),
        (b"a:", b"b"),
    ],
)
def test_a_field_that_may_not_be_sent_is_the_applications_error(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(LocalProtocolError, match="response field"):
        accepted([(b"ok", b"ok"), field])


@pytest.mark.parametrize("subprotocol", ["other", "", "Chat", "chat\r\na: b", "é"])
def test_a_subprotocol_that_was_not_offered_is_the_applications_error(subprotocol: str) -> None:
    with pytest.raises(LocalProtocolError, match="the client did not offer it"):
        accepted([], subprotocol=subprotocol)


def refused(status: int, *, method: str = "GET") -> bytes:
    head = RequestHead(method, b"/", b"", "1.1", [], 0, True, False, b"websocket")
    return refusal(head, RemoteProtocolError("text", status=status), DefaultFields(b"s", []), b"now")


def test_a_bad_handshake_is_answered_400_and_the_connection_ends() -> None:
    assert refused(400) == (
        b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 11\r\n"
        b"server: s\r\ndate: now\r\nconnection: close\r\n\r\nBad Request"
    )


def test_another_version_is_told_which_one_is_spoken() -> None:
    head, _, body = refused(426).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
    assert {b"upgrade: websocket", b"sec-websocket-version: 13", b"connection: upgrade, close"} < set(
        head.split(b"\r\n")
    )
    assert body == b"Upgrade Required"


def test_another_method_is_told_which_one_is_allowed() -> None:
    head, _, body = refused(405, method="POST").partition(b"\r\n\r\n")
    assert b"allow: GET" in head.split(b"\r\n")
    assert body == b"Method Not Allowed"
    assert refused(405, method="HEAD").endswith(b"\r\n\r\n")
