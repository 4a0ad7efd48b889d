"""The client's opening handshake: what may pass, and what is refused with which status."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asgiserve.config import Limits
from asgiserve.errors import RemoteProtocolError
from asgiserve.events import RequestHead
from asgiserve.protocols.http1 import Http1Codec
from asgiserve.protocols.websocket import ExtensionOffer, read_handshake
from tests.support.wire import request

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = (b"Connection: Upgrade", b"Upgrade: websocket")
GOOD = (*UPGRADE, b"Sec-WebSocket-Key: " + KEY, b"Sec-WebSocket-Version: 13")


def head_of(*fields: bytes, line: bytes = b"GET / HTTP/1.1") -> RequestHead:
    """The request's head as the HTTP codec reads it."""
    codec = Http1Codec(Limits())
    codec.receive_data(request(*fields, line=line))
    head = codec.next_head()
    assert isinstance(head, RequestHead)
    return head


def status_for(*fields: bytes, line: bytes = b"GET / HTTP/1.1") -> int:
    with pytest.raises(RemoteProtocolError) as caught:
        read_handshake(head_of(*fields, line=line))
    return caught.value.status


def test_the_barest_handshake_passes() -> None:
    handshake = read_handshake(head_of(*GOOD))
    assert handshake.key == KEY
    assert handshake.subprotocols == []
    assert handshake.extensions == []


def test_what_browsers_send_passes() -> None:
    handshake = read_handshake(
        head_of(
            b"Connection: keep-alive, Upgrade",
            b"Upgrade: WebSocket",
            b"Origin: https://example.org",
            b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Key: " + KEY,
            b"Sec-WebSocket-Protocol: chat, superchat",
            b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        )
    )
    assert handshake.subprotocols == ["chat", "superchat"]
    assert handshake.extensions == [ExtensionOffer("permessage-deflate", [("client_max_window_bits", None)])]


@pytest.mark.parametrize("method", [b"POST", b"HEAD", b"PUT", b"OPTIONS"])
def test_a_method_that_is_not_get_is_405(method: bytes) -> None:
    assert status_for(*GOOD, line=method + b" / HTTP/1.1") == 405


def test_http_1_0_is_refused() -> None:
    assert status_for(*GOOD, line=b"GET / HTTP/1.0") == 400
    with pytest.raises(RemoteProtocolError):
        read_handshake(replace(head_of(*GOOD), http_version="1.0"))


def test_an_upgrade_to_something_else_is_refused() -> None:
    assert status_for(b"Connection: Upgrade", b"Upgrade: h2c", *GOOD[2:]) == 400


@pytest.mark.parametrize("body", [b"Content-Length: 1", b"Transfer-Encoding: chunked"])
def test_a_request_with_a_body_is_refused(body: bytes) -> None:
    assert status_for(*GOOD, body) == 400


def test_a_content_length_of_zero_is_no_body() -> None:
    assert read_handshake(head_of(*GOOD, b"Content-Length: 0")).key == KEY


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"dGhlIHNhbXBsZSBub25jZQ",
        b"dGhlIHNhbXBsZSBub25jZQ=",
        b"dGhlIHNhbXBsZSBub25jZQ===",
        b"dGhlIHNhbXBsZSBub25jZ===",
        b"c2hvcnQ=",
        b"dGhlIHNhbXBsZSBub25jZWxvbmc=",
        b"dGhlIHNhbXBsZSBub25j_Q==",
        b"dGhlIHNhbXBs ZSBub25jZQ==",
        KEY + b", " + KEY,
    ],
)
def test_a_key_that_is_not_16_bytes_is_refused(key: bytes) -> None:
    assert status_for(*UPGRADE, b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: " + key) == 400


def test_no_key_and_two_keys_are_refused() -> None:
    assert status_for(*UPGRADE, b"Sec-WebSocket-Version: 13") == 400
    assert status_for(*GOOD, b"Sec-WebSocket-Key: " + KEY) == 400


@pytest.mark.parametrize("version", [b"8", b"14", b"7, 13", b"013", b"", b"x"])
def test_another_version_is_426(version: bytes) -> None:
    assert status_for(*GOOD[:3], b"Sec-WebSocket-Version: " + version) == 426


def test_no_version_and_two_versions_are_refused() -> None:
    assert status_for(*GOOD[:3]) == 400
    assert status_for(*GOOD, b"Sec-WebSocket-Version: 13") == 400


@pytest.mark.parametrize(
    ("fields", "subprotocols"),
    [
        ([b"a"], ["a"]),
        ([b"a,b ,\tc"], ["a", "b", "c"]),
        ([b"a", b"b, c"], ["a", "b", "c"]),
        ([b""], []),
        ([b",a,,"], ["a"]),
        ([b"v1.json!#$%&'*+-.^_`|~"], ["v1.json!#$%&'*+-.^_`|~"]),
    ],
)
def test_subprotocols_are_read_in_order(fields: list[bytes], subprotocols: list[str]) -> None:
    offered = [b"Sec-WebSocket-Protocol: " + field for field in fields]
    assert read_handshake(head_of(*GOOD, *offered)).subprotocols == subprotocols


@pytest.mark.parametrize("field", [b"a b", b"a/b", b'"a"', b"a=b", b"a;b", b"a, b c"])
def test_a_subprotocol_that_is_no_token_is_refused(field: bytes) -> None:
    assert status_for(*GOOD, b"Sec-WebSocket-Protocol: " + field) == 400


@pytest.mark.parametrize("name", [b"Protocol", b"Extensions", b"Key", b"Version", b"Accept", b"Other"])
@pytest.mark.parametrize("value", [b"caf\xc3\xa9", b"\xff", b"a\x85b"])
def test_a_websocket_field_that_is_not_ascii_is_refused(name: bytes, value: bytes) -> None:
    codec = Http1Codec(Limits())
    codec.receive_data(request(*GOOD, b"Sec-WebSocket-%b: %b" % (name, value)))
    with pytest.raises(RemoteProtocolError) as caught:
        codec.next_head()
    assert caught.value.status == 400


@pytest.mark.parametrize("name", [b"key", b"version", b"protocol", b"extensions"])
def test_a_value_that_is_not_ascii_is_refused_wherever_the_head_comes_from(name: bytes) -> None:
    head = head_of(*GOOD)
    head.headers.append((b"sec-websocket-" + name, b"a\xff"))
    with pytest.raises(RemoteProtocolError):
        read_handshake(head)


@pytest.mark.parametrize(
    ("field", "offers"),
    [
        (b"x", [ExtensionOffer("x", [])]),
        (b"x, y", [ExtensionOffer("x", []), ExtensionOffer("y", [])]),
        (b"x;a;b=1 ; c = 2", [ExtensionOffer("x", [("a", None), ("b", "1"), ("c", "2")])]),
        (b'x; a="10"', [ExtensionOffer("x", [("a", "10")])]),
        (b", x ,,", [ExtensionOffer("x", [])]),
        (b"", []),
    ],
)
def test_extensions_are_read_with_their_parameters(field: bytes, offers: list[ExtensionOffer]) -> None:
    assert read_handshake(head_of(*GOOD, b"Sec-WebSocket-Extensions: " + field)).extensions == offers


def test_extensions_of_several_fields_are_one_list() -> None:
    fields = [b"Sec-WebSocket-Extensions: x; a", b"Sec-WebSocket-Extensions: y"]
    assert [offer.name for offer in read_handshake(head_of(*GOOD, *fields)).extensions] == ["x", "y"]


@pytest.mark.parametrize(
    "field", [b"x;", b";a", b"x a", b"x; a=", b'x; a="', b'x; a="b,c"', b'x; a=""', b"x; =b", b"a/b"]
)
def test_extensions_that_are_malformed_are_refused(field: bytes) -> None:
    assert status_for(*GOOD, b"Sec-WebSocket-Extensions: " + field) == 400
