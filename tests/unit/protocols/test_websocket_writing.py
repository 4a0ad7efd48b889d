"""The frames that we send, byte by byte and as an independent client reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from wsproto.frame_protocol import FrameProtocol

from asgiserve.errors import LocalProtocolError
from asgiserve.protocols.websocket import WebSocketCodec
from tests.support.frames import LIMITS

if TYPE_CHECKING:
    from wsproto.frame_protocol import Frame


@pytest.fixture
def codec() -> WebSocketCodec:
    return WebSocketCodec(LIMITS)


def read_as_client(wire: bytes) -> list[Frame]:
    client = FrameProtocol(client=True, extensions=[])
    client.receive_bytes(wire)
    return list(client.received_frames())


def test_messages_are_one_unmasked_frame(codec: WebSocketCodec) -> None:
    assert codec.text("hé") == b"\x81\x03h\xc3\xa9"
    assert codec.text("") == b"\x81\x00"
    assert codec.binary(b"\xff") == (b"\x82\x01\xff",)
    assert codec.binary(b"") == (b"\x82\x00",)


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (125, b"\x7d"),
        (126, b"\x7e\x00\x7e"),
        (65_535, b"\x7e\xff\xff"),
        (65_536, b"\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
        (65_537, b"\x7f\x00\x00\x00\x00\x00\x01\x00\x01"),
    ],
)
def test_lengths_are_minimal(codec: WebSocketCodec, size: int, header: bytes) -> None:
    assert codec.text("x" * size) == b"\x81" + header + b"x" * size
    assert b"".join(codec.binary(b"x" * size)) == b"\x82" + header + b"x" * size


def test_a_large_payload_is_not_copied(codec: WebSocketCodec) -> None:
    payload = b"x" * 65_537
    assert codec.binary(payload)[-1] is payload
    assert len(codec.binary(b"x" * 65_536)) == 1


def test_control_frames_are_written(codec: WebSocketCodec) -> None:
    assert codec.ping(b"") == b"\x89\x00"
    assert codec.ping(b"abcd") == b"\x89\x04abcd"
    assert codec.pong(b"x" * 125) == b"\x8a\x7d" + b"x" * 125
    assert codec.close(1000, "") == b"\x88\x02\x03\xe8"
    assert codec.close(4999, "é") == b"\x88\x04\x13\x87\xc3\xa9"


def test_a_control_frame_has_at_most_125_bytes(codec: WebSocketCodec) -> None:
    for write in (codec.ping, codec.pong):
        with pytest.raises(LocalProtocolError, match="125"):
            write(b"x" * 126)


def test_close_1005_is_a_frame_without_a_code(codec: WebSocketCodec) -> None:
    assert codec.close(1005, "unsaid") == b"\x88\x00"


@pytest.mark.parametrize("code", [-1, 0, 999, 1004, 1006, 1015, 1016, 2999, 5000, 65_536])
def test_a_close_code_that_may_not_be_sent_is_refused(codec: WebSocketCodec, code: int) -> None:
    with pytest.raises(LocalProtocolError, match=str(code)):
        codec.close(code, "")


@pytest.mark.parametrize(
    ("reason", "sent"),
    [
        ("x" * 123, "x" * 123),
        ("x" * 124, "x" * 123),
        ("é" * 62, "é" * 61),
        ("x" + "\U0001f600" * 31, "x" + "\U0001f600" * 30),
        ("a\ud800b", "a?b"),
    ],
)
def test_a_close_reason_is_cut_at_the_end_of_a_character(codec: WebSocketCodec, reason: str, sent: str) -> None:
    (frame,) = read_as_client(codec.close(1011, reason))
    assert frame.payload == (1011, sent)


def test_a_lone_surrogate_is_the_applications_error(codec: WebSocketCodec) -> None:
    with pytest.raises(LocalProtocolError, match="surrogate"):
        codec.text("a\ud800")
    assert codec.text("b") == b"\x81\x01b"


def test_a_client_reads_what_is_written(codec: WebSocketCodec) -> None:
    wire = codec.text("hé" * 100) + b"".join(codec.binary(b"\0" * 70_000)) + codec.ping(b"p") + codec.close(1001, "bye")
    assert [frame.payload for frame in read_as_client(wire)] == ["hé" * 100, b"\0" * 70_000, b"p", (1001, "bye")]
