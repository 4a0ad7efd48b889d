"""Fields that proxies set: they are set apart in a head that has them, and what only looks like one is dropped."""

from __future__ import annotations

import pytest

from asgiserve.config import Limits
from asgiserve.protocols.http1 import Http1Codec
from asgiserve.protocols.http1.fields import FieldLines
from tests.support.wire import ENGINES, chunked, read_wire, request

FIELDS = (
    b"X-Forwarded-For: 203.0.113.7",
    b"Accept: */*",
    b"x-forwarded-proto: https",
    b"X-Forwarded-Host: \xff garbage",
    b"X-FORWARDED-PORT:",
    b"X-Forwarded-Prefix: /a",
    b"Forwarded: for=_x",
    b"X-Forwarded-For: 10.0.0.1",
)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("wire", [request(*FIELDS), chunked(b"0\r\n\r\n", *FIELDS)])
def test_forwarding_fields_are_set_apart_and_stay_where_they_are(engine: str, wire: bytes) -> None:
    head = read_wire([wire], engine=engine).readings[0].head
    assert list(head.forwarding) == [
        (b"x-forwarded-for", b"203.0.113.7"),
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-host", b"\xff garbage"),
        (b"x-forwarded-port", b""),
        (b"x-forwarded-prefix", b"/a"),
        (b"forwarded", b"for=_x"),
        (b"x-forwarded-for", b"10.0.0.1"),
    ]
    assert [field for field in head.headers if field in head.forwarding] == list(head.forwarding)
    assert (b"accept", b"*/*") in head.headers


@pytest.mark.parametrize("engine", ENGINES)
def test_a_head_without_them_has_nothing_set_apart(engine: str) -> None:
    codec = Http1Codec(Limits(), engine=engine, field_lines=FieldLines())
    for _ in range(2):  # the second is found by its lines
        head = codec.receive_head(request(b"Accept: */*"))
        assert head.forwarding == ()  # type: ignore[union-attr]
        codec.next_request()


def test_such_a_head_is_not_remembered_as_one_without_them() -> None:
    codec = Http1Codec(Limits(), field_lines=FieldLines())
    for _ in range(3):
        head = codec.receive_head(request(b"Accept: */*", b"X-Forwarded-Proto: https"))
        assert list(head.forwarding) == [(b"x-forwarded-proto", b"https")]  # type: ignore[union-attr]
        codec.next_request()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "name",
    [
        b"X_Forwarded_For",
        b"x_forwarded-for",
        b"X-Forwarded_For",
        b"X_FORWARDED_PROTO",
        b"X-Forwarded_Host",
        b"X_Forwarded_Port",
        b"X_Forwarded-Prefix",
        b"X-Forwarded-Client_Cert",
        b"X_Forwarded_User",
        b"Forwarded_For",
        b"X_Real_IP",
        b"X-Real_IP",
        b"X_Client_IP",
        b"True_Client_IP",
        b"CF_Connecting_IP",
        b"X_Original_Host",
        b"X_Scheme",
    ],
)
@pytest.mark.parametrize("around", [(), (b"Transfer-Encoding: chunked",)])
def test_look_alikes_with_underscores_are_dropped(engine: str, name: bytes, around: tuple[bytes, ...]) -> None:
    wire = request(b"A: 1", name + b": 6.6.6.6", b"X-Forwarded-For: 203.0.113.7", *around) + b"0\r\n\r\n"
    head = read_wire([wire], engine=engine).readings[0].head
    assert head.headers[:3] == [(b"host", b"h"), (b"a", b"1"), (b"x-forwarded-for", b"203.0.113.7")]
    assert list(head.forwarding) == [(b"x-forwarded-for", b"203.0.113.7")]
    assert b"6.6.6.6" not in repr(head).encode()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", [b"x_request_id", b"my_token", b"x_client_version", b"_", b"x-forwardedfor"])
def test_other_names_with_underscores_stay(engine: str, name: bytes) -> None:
    head = read_wire([request(name + b": 1")], engine=engine).readings[0].head
    assert (name, b"1") in head.headers
