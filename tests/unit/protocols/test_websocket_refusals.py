"""Every way in which a frame can be wrong, whole, byte by byte and at every split."""

from __future__ import annotations

import pytest

from asgiserve.errors import WebSocketError
from asgiserve.protocols.websocket import Ping, WebSocketCodec
from tests.support.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    LIMITS,
    MASK,
    PING,
    PONG,
    TEXT,
    close,
    fragments,
    frame,
    next_event,
    read_frames,
    text,
    the_reading,
)
from tests.support.wire import bytewise

BAD_FRAMES = {
    **{f"reserved bits {bits:#x}": frame(TEXT, b"a", flags=FIN | bits) for bits in range(0x10, 0x80, 0x10)},
    "a reserved bit in an empty frame": frame(TEXT, flags=FIN | 0x40),
    "a reserved bit in a ping": frame(PING, b"a", flags=FIN | 0x40),
    **{f"opcode {opcode:#x}": frame(opcode, b"a") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "an opcode that is not known, in an empty frame": frame(3),
    "a long ping": frame(PING, b"x" * 126),
    "a long pong": frame(PONG, b"x" * 126),
    "a long close": close(1000, b"x" * 124),
    "a fragmented ping": frame(PING, b"a", flags=0),
    "a fragmented close": frame(CLOSE, flags=0),
    "no mask": frame(TEXT, b"hello", mask=None),
    "no mask, empty": frame(TEXT, mask=None),
    "no mask on a ping": frame(PING, mask=None),
    "no mask on a long frame": frame(BINARY, b"x" * 200, mask=None),
    "two bytes of length where one is enough": frame(TEXT, b"x" * 125, size_bytes=2),
    "eight bytes of length where one is enough": frame(TEXT, b"x", size_bytes=8),
    "eight bytes of length where two are enough": frame(BINARY, b"x" * 200, size_bytes=8),
    "eight bytes of length for nothing": frame(TEXT, size_bytes=8),
    "a length of 2^63": b"\x81\xff" + (1 << 63).to_bytes(8) + MASK,
    "a length of 2^64 - 1": b"\x82\xff" + b"\xff" * 8 + MASK,
    "a continuation of nothing": frame(CONTINUATION, b"a"),
    "an empty continuation of nothing": frame(CONTINUATION),
    "a fragment that continues nothing": frame(CONTINUATION, b"a", flags=0),
    "a text in a text": frame(TEXT, b"a", flags=0) + text("b"),
    "a binary in a text": frame(TEXT, b"a", flags=0) + frame(BINARY, b"b"),
    "an empty text in a text": frame(TEXT, flags=0) + frame(TEXT),
    "another request": b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
}
"""Each fails with 1002."""

LARGE_BAD_FRAME = frame(BINARY, b"x" * 65_535, size_bytes=8)
"""Eight bytes of length where two are enough."""

BAD_CODES = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535]

NOT_UTF8 = {
    "a byte that is never": b"\xff",
    "a continuation byte first": b"\x80",
    "a byte of Latin-1": b"caf\xe9!",
    "overlong": b"\xc0\xaf",
    "overlong, three bytes": b"\xe0\x80\xaf",
    "a surrogate": b"\xed\xa0\x80",
    "beyond U+10FFFF": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
}
HALF_A_CHARACTER = [b"\xc3", b"a\xe2\x82", b"\xf0\x9f\x98"]


@pytest.mark.parametrize("wire", BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_a_frame_that_breaks_a_rule_fails_with_1002(wire: bytes) -> None:
    reading = the_reading(wire)
    assert reading.code == 1002
    assert reading.events == []


@pytest.mark.parametrize("wire", BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_what_came_before_a_bad_frame_is_delivered_and_nothing_behind_it(wire: bytes) -> None:
    before = text("a") + frame(PING, b"p") + b"".join(fragments(BINARY, b"b", b"c"))
    for pieces in ([before + wire + text("never")], bytewise(before + wire + text("never"))):
        reading = read_frames(pieces)
        assert reading.code == 1002
        assert reading.events == ["a", Ping(b"p"), b"bc"]


def test_a_large_frame_with_a_length_that_is_not_minimal_fails_at_its_header() -> None:
    for pieces in ([LARGE_BAD_FRAME], [LARGE_BAD_FRAME[:14]], [LARGE_BAD_FRAME[:2], LARGE_BAD_FRAME[2:]]):
        assert read_frames(pieces).code == 1002


@pytest.mark.parametrize("code", BAD_CODES)
def test_a_close_frame_with_a_code_that_may_not_be_sent_fails_with_1002(code: int) -> None:
    assert the_reading(close(code, b"why")).code == 1002


@pytest.mark.parametrize("byte", [b"\x00", b"\x03", b"\xff"])
def test_a_close_frame_with_half_a_code_fails_with_1002(byte: bytes) -> None:
    assert the_reading(frame(CLOSE, byte)).code == 1002


@pytest.mark.parametrize("wrong", [*NOT_UTF8.values(), *HALF_A_CHARACTER])
def test_a_close_reason_that_is_not_utf_8_fails_with_1007(wrong: bytes) -> None:
    assert the_reading(close(1000, wrong)).code == 1007


@pytest.mark.parametrize("wrong", NOT_UTF8.values(), ids=NOT_UTF8)
def test_a_text_that_is_not_utf_8_fails_with_1007(wrong: bytes) -> None:
    assert the_reading(frame(TEXT, b"ok" + wrong)).code == 1007
    assert the_reading(b"".join(fragments(TEXT, b"ok" + wrong, b"rest"))).code == 1007
    assert the_reading(b"".join(fragments(TEXT, b"ok", wrong, b"rest"))).code == 1007
    assert the_reading(b"".join(fragments(TEXT, *bytewise(wrong), b"rest"))).code == 1007


@pytest.mark.parametrize("wrong", NOT_UTF8.values(), ids=NOT_UTF8)
def test_a_text_that_is_not_utf_8_fails_inside_its_frame(wrong: bytes) -> None:
    wire = frame(TEXT, b"ok" + wrong + b"x" * 1000)
    header = len(wire) - len(b"ok" + wrong) - 1000
    assert read_frames([wire[: header + 2 + len(wrong)]]).code == 1007


@pytest.mark.parametrize(
    ("wrong", "known_at"),
    # Python's decoder waits for all of a surrogate.
    [(b"\xf4\x90", 2), (b"\xe0\x80", 2), (b"\xff", 1), (b"\xc0", 1), (b"\x80", 1), (b"\xed\xa0\x80", 3)],
)
def test_a_text_fails_at_the_first_byte_that_no_text_continues(wrong: bytes, known_at: int) -> None:
    for wire in (frame(TEXT, wrong + b"x" * 10), b"".join(fragments(TEXT, *bytewise(wrong), b"x"))):
        arrived = next(count for count in range(len(wire)) if read_frames(bytewise(wire[:count])).code)
        frames_of_one = 7 * known_at
        assert arrived == (frames_of_one if wire[0] == TEXT else 6 + known_at)


@pytest.mark.parametrize("half", HALF_A_CHARACTER)
def test_half_a_character_fails_at_the_end_of_the_message(half: bytes) -> None:
    assert the_reading(frame(TEXT, half)).code == 1007
    assert the_reading(b"".join(fragments(TEXT, half, b""))).code == 1007
    assert the_reading(frame(TEXT, half, flags=0)).code is None


def test_bytes_that_are_no_text_are_a_binary_message() -> None:
    assert the_reading(frame(BINARY, b"\xff\xfe")).events == [b"\xff\xfe"]


def test_a_failed_codec_fails_for_ever_and_keeps_nothing() -> None:
    codec = WebSocketCodec(LIMITS)
    codec.receive_data(text("a") + frame(3, b"secret") + text("b"))
    assert next_event(codec) == "a"
    errors = []
    for _ in range(3):
        with pytest.raises(WebSocketError) as caught:
            next_event(codec)
        errors.append(caught.value)
        codec.receive_data(text("c"))
    assert len(set(map(id, errors))) == 3
    assert {(error.code, error.reason) for error in errors} == {(1002, errors[0].reason)}
    assert codec.buffered == 0


@pytest.mark.parametrize("wire", [*BAD_FRAMES.values(), frame(TEXT, b"\xffsecret"), close(1000, b"\xffsecret")])
def test_the_reason_of_a_failure_fits_a_close_frame_and_repeats_nothing(wire: bytes) -> None:
    _, reason = the_reading(wire).failure or (0, "")
    codec = WebSocketCodec(LIMITS)
    assert codec.close(1002, reason)[4:].decode() == reason != ""
    assert "secret" not in reason
    assert "0xff" not in reason
