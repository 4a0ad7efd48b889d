"""What a peer can make the codec keep: bytes of a message, frames of a message, and nothing that was refused."""

from __future__ import annotations

import tracemalloc

import pytest

from asgiserve.errors import WebSocketError
from asgiserve.events import NEED_DATA
from asgiserve.protocols.websocket import MORE, Close, Ping, WebSocketCodec, WebSocketLimits
from tests.support.frames import (
    BINARY,
    CONTINUATION,
    FIN,
    LIMITS,
    MASK,
    PING,
    TEXT,
    close,
    fragments,
    frame,
    next_event,
    read_frames,
    text,
    the_events,
    the_reading,
)
from tests.support.wire import bytewise

TEN = WebSocketLimits(10)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_may_be_as_large_as_the_limit(opcode: int) -> None:
    assert len(the_events(frame(opcode, b"x" * 10), *fragments(opcode, b"x" * 5, b"", b"x" * 5), limits=TEN)) == 2


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("parts", [(11,), (5, 6), (10, 0, 1), (0, 11)])
def test_a_message_that_is_larger_fails_with_1009(opcode: int, parts: tuple[int, ...]) -> None:
    wire = [frame(opcode, b"x" * parts[0])] if len(parts) == 1 else fragments(opcode, *(b"x" * part for part in parts))
    reading = the_reading(text("before") + b"".join(wire), limits=TEN)
    assert reading.code == 1009
    assert reading.events == ["before"]


def test_the_limit_counts_bytes_and_not_characters() -> None:
    assert the_reading(text("é" * 5), limits=TEN).events == ["é" * 5]
    assert the_reading(text("é" * 6), limits=TEN).code == 1009


def test_the_limit_is_of_one_message_and_control_frames_do_not_count() -> None:
    first, second = fragments(TEXT, b"x" * 5, b"y" * 5)
    wire = [first, frame(PING, b"p" * 100), second] * 3
    assert the_events(*wire, limits=TEN) == [Ping(b"p" * 100), "xxxxxyyyyy"] * 3


@pytest.mark.parametrize("size", [11, 126, 65_536, (1 << 63) - 1])
def test_a_frame_that_is_too_large_fails_when_its_header_says_so(size: int) -> None:
    wire = frame(BINARY, b"", flags=FIN)[:1]
    wire += bytes([0x80 | size]) if size < 126 else b"\xfe\x00\x7e" if size == 126 else b"\xff" + size.to_bytes(8)
    assert the_reading(wire + MASK, limits=TEN).code == 1009


def test_a_fragment_that_is_too_large_fails_when_its_header_says_so() -> None:
    begun = frame(BINARY, b"x" * 10, flags=0)
    assert the_reading(begun + frame(CONTINUATION, b"y")[:6], limits=TEN).code == 1009
    assert the_reading(begun + frame(CONTINUATION, b"")[:6], limits=TEN).events == [b"x" * 10]


@pytest.mark.parametrize("payload", [b"", b"x"])
def test_a_message_of_too_many_fragments_fails_with_1009(payload: bytes) -> None:
    limits = WebSocketLimits(10_000)
    most = limits.max_fragments
    message = fragments(BINARY, *[payload] * most)
    assert read_frames([b"".join(message)], limits=limits).events == [payload * most]
    assert read_frames([b"".join(fragments(BINARY, *[payload] * (most + 1)))], limits=limits).code == 1009


def test_endless_empty_fragments_come_to_an_end() -> None:
    codec = WebSocketCodec(WebSocketLimits(100))
    codec.receive_data(frame(TEXT, flags=0))
    for _ in range(WebSocketLimits(100).max_fragments - 1):
        codec.receive_data(frame(CONTINUATION, flags=0))
        assert next_event(codec) is NEED_DATA
    codec.receive_data(frame(CONTINUATION, flags=0))
    with pytest.raises(WebSocketError) as caught:
        next_event(codec)
    assert caught.value.code == 1009


def test_much_that_says_nothing_is_read_in_parts() -> None:
    codec = WebSocketCodec(LIMITS)
    codec.receive_data(frame(TEXT, flags=0) + frame(CONTINUATION, flags=0) * 1000)
    parts = 0
    while (event := codec.next_event()) is MORE:
        parts += 1
    assert event is NEED_DATA
    assert parts >= 10


def test_much_that_is_read_is_told_once_for_all_events_together() -> None:
    codec = WebSocketCodec(LIMITS)
    codec.receive_data(frame(PING) * 1000 + close(1000))
    events = []
    while (event := codec.next_event()) is not NEED_DATA:
        events.append(event)
    assert [one for one in events if one is not MORE] == [Ping(b"")] * 1000 + [Close(1000, "")]
    assert events.count(MORE) >= 10


def test_fragments_are_counted_for_each_message() -> None:
    limits = WebSocketLimits(10)
    message = b"".join(fragments(TEXT, *[b""] * limits.max_fragments))
    assert read_frames([message * 3], limits=limits).events == ["", "", ""]


def test_four_mebibytes_in_fragments_of_64_bytes_are_within_the_default_limits() -> None:
    # As Autobahn sends them (9.3.1).
    assert WebSocketLimits(16_777_216).max_fragments > 65_536


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_that_comes_byte_by_byte_costs_little_more_than_its_size(opcode: int) -> None:
    size = 20_000
    codec = WebSocketCodec(WebSocketLimits(size))
    pieces = bytewise(frame(opcode, b"\xd0\x96" * (size // 2)))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for piece in pieces[:-1]:
            codec.receive_data(piece)
            assert next_event(codec) is NEED_DATA
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert held < 2 * size
    codec.receive_data(pieces[-1])
    assert len(next_event(codec)) in (size // 2, size)  # type: ignore[arg-type]


def test_a_refused_message_is_not_kept() -> None:
    codec = WebSocketCodec(WebSocketLimits(1_000_000))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        codec.receive_data(frame(BINARY, b"x" * 900_000, flags=0))
        assert next_event(codec) is NEED_DATA
        assert tracemalloc.get_traced_memory()[0] - before > 900_000
        codec.receive_data(frame(CONTINUATION, b"x" * 200_000))
        with pytest.raises(WebSocketError):
            next_event(codec)
        assert tracemalloc.get_traced_memory()[0] - before < 50_000
    finally:
        tracemalloc.stop()
