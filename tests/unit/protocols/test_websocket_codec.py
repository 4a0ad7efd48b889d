"""Messages and control frames that break no rule, whole, byte by byte and at every split."""

from __future__ import annotations

import pytest

from asgiserve.events import NEED_DATA
from asgiserve.protocols.websocket import Close, Ping, Pong, WebSocketCodec
from tests.support.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    LIMITS,
    PING,
    PONG,
    TEXT,
    close,
    fragments,
    frame,
    next_event,
    read_frames,
    text,
    the_events,
)
from tests.support.wire import bytewise


@pytest.mark.parametrize("data", ["", "a", "hello", "é", "\U0001f600", "a\r\nb\rc\n", "\0", "x" * 126])
def test_a_text_message_is_its_text(data: str) -> None:
    assert the_events(text(data)) == [data]


@pytest.mark.parametrize("data", [b"", b"\0", b"\xff\xfe", b"x" * 125, b"x" * 126, b"x" * 513])
def test_a_binary_message_is_its_bytes(data: bytes) -> None:
    (event,) = the_events(frame(BINARY, data))
    assert event == data
    assert type(event) is bytes


@pytest.mark.parametrize("size", [511, 512, 513, 514, 515, 516, 65_535, 65_536, 200_000])
def test_a_large_message_is_read_in_one_piece_and_in_many(size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    data = data[:size]
    for wire, expected in ((frame(BINARY, data), data), (text("x" * size), "x" * size)):
        assert read_frames([wire]).events == [expected]
        assert read_frames([wire[start : start + 997] for start in range(0, len(wire), 997)]).events == [expected]


@pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\1", b"\1\0\0\0", b"abcd"])
def test_any_mask_is_undone(mask: bytes) -> None:
    for size in (*range(10), 600):
        data = bytes(range(250))[:size] if size < 250 else b"xyz" * 200
        assert read_frames([frame(BINARY, data, mask=mask)]).events == [data]


@pytest.mark.parametrize("parts", [("", ""), ("a", ""), ("", "a"), ("a", "b", "c"), ("", "", "")])
def test_a_fragmented_message_is_put_together(parts: tuple[str, ...]) -> None:
    payloads = [part.encode() for part in parts]
    assert the_events(*fragments(TEXT, *payloads)) == ["".join(parts)]
    assert the_events(*fragments(BINARY, *payloads)) == [b"".join(payloads)]


def test_a_character_may_be_divided_between_fragments() -> None:
    payload = "é\U0001f600\r\n".encode()
    assert the_events(*fragments(TEXT, *bytewise(payload))) == [payload.decode()]


def test_lines_of_a_fragmented_text_keep_their_ends() -> None:
    assert the_events(*fragments(TEXT, b"a\r", b"\nb\r", b"c\n")) == ["a\r\nb\rc\n"]


def test_messages_follow_each_other_whether_fragmented_or_not() -> None:
    wire = [text("a"), *fragments(TEXT, b"b", b"c"), frame(BINARY, b"d"), *fragments(BINARY, b"e", b"f"), text("")]
    assert the_events(*wire) == ["a", "bc", b"d", b"ef", ""]


def test_control_frames_may_stand_between_the_fragments_of_a_message() -> None:
    first, second, third = fragments(TEXT, b"a\xc3", b"\xa9", b"c")
    wire = [first, frame(PING, b"p"), second, frame(PONG), frame(PING), third, text("next")]
    assert the_events(*wire) == [Ping(b"p"), Pong(b""), Ping(b""), "aéc", "next"]


@pytest.mark.parametrize("payload", [b"", b"\0\xff", b"x" * 125])
def test_pings_and_pongs_carry_their_payload(payload: bytes) -> None:
    assert the_events(frame(PING, payload), frame(PONG, payload)) == [Ping(payload), Pong(payload)]


def test_a_close_frame_without_a_code_is_1005() -> None:
    assert the_events(frame(CLOSE)) == [Close(1005, "")]


@pytest.mark.parametrize("code", [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999])
def test_a_close_frame_carries_its_code_and_reason(code: int) -> None:
    assert the_events(close(code)) == [Close(code, "")]
    assert the_events(close(code, "schön".encode())) == [Close(code, "schön")]


def test_a_close_frame_may_come_in_the_middle_of_a_message() -> None:
    assert the_events(frame(TEXT, b"a", flags=0), close(1001)) == [Close(1001, "")]


def test_nothing_is_read_behind_a_close_frame() -> None:
    assert the_events(text("a"), close(1000), text("b"), b"\xff\xff\xff") == ["a", Close(1000, "")]
    codec = WebSocketCodec(LIMITS)
    codec.receive_data(close(1000) + b"rest")
    assert next_event(codec) == Close(1000, "")
    codec.receive_data(text("b"))
    assert next_event(codec) is NEED_DATA
    assert codec.buffered == 0


def test_an_idle_codec_needs_data() -> None:
    codec = WebSocketCodec(LIMITS)
    assert next_event(codec) is NEED_DATA
    codec.receive_data(b"")
    assert next_event(codec) is NEED_DATA


def test_messages_are_handed_out_one_at_a_time_and_the_rest_stays_buffered() -> None:
    codec = WebSocketCodec(LIMITS)
    wire = [text("a"), frame(PING), text("b")]
    codec.receive_data(b"".join(wire))
    for event, left in (("a", wire[1:]), (Ping(b""), wire[2:]), ("b", [])):
        assert next_event(codec) == event
        assert codec.buffered == len(b"".join(left))


def test_bytes_of_a_frame_that_is_not_complete_do_not_stay_unread() -> None:
    codec = WebSocketCodec(LIMITS)
    codec.receive_data(text("hello")[:-1])
    assert next_event(codec) is NEED_DATA
    assert codec.buffered == 0
    codec.receive_data(text("hello")[-1:] + frame(CONTINUATION)[:1])
    assert next_event(codec) == "hello"
    assert codec.buffered == 1
