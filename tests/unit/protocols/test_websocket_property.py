"""Whatever frames come, however they are split: both ways of reading agree with each other and with wsproto's own
connection, and only WebSocketError comes out.

`read_frames` lets every other exception through, so that each example also shows that there is none. A frame
that comes byte by byte is never ordinary, so that the two ways are the two ways of splitting.
"""

from __future__ import annotations

import itertools
import zlib
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage
from wsproto.events import Ping as WsprotoPing
from wsproto.events import Pong as WsprotoPong

from asgiserve.protocols.websocket import Close, Deflate, Ping, Pong, WebSocketLimits
from tests.support.frames import BINARY, FIN, LIMITS, RSV1, TEXT, Reading, frame, read_frames
from tests.support.wire import bytewise

if TYPE_CHECKING:
    from collections.abc import Sequence

quick = settings(max_examples=300, derandomize=True)

UNLIMITED = WebSocketLimits(1 << 64)

OPCODES = st.sampled_from([0] * 6 + [1] * 8 + [2] * 4 + [8, 8, 9, 10, 10, 3, 15])
PLAIN_FLAGS = st.sampled_from([FIN] * 12 + [0] * 8 + [0x20, FIN | 0x10])
FLAGS = st.sampled_from([FIN] * 12 + [0] * 8 + [0x20, FIN | 0x10, RSV1, FIN | RSV1])
MASKS = st.sampled_from([b"\0\0\0\0", b"\x37\xfa\x21\x3d", b"\xff\0\xff\0", b"abcd"] * 5 + [None])
SIZE_BYTES = st.sampled_from([None] * 30 + [2, 8])
CLOSES = st.sampled_from(
    [b"", b"\x03", b"\x03\xe8", b"\x03\xe8bye", b"\x03\xec", b"\x13\x88", b"\x03\xe8\xff", b"\x0b\xb8"]
)
PAYLOADS = st.one_of(
    st.binary(max_size=20),
    st.text(max_size=20).map(str.encode),
    st.text(max_size=20).map(str.encode),
    st.sampled_from([b"x" * 125, b"x" * 126, b"y" * 200, b"\xc3", b"\xa9", b"\xf0\x9f", b"\x98\x80", b"a" * 600]),
    CLOSES,
)


@st.composite
def frames(draw: st.DrawFn, every_flags: st.SearchStrategy[int] = FLAGS) -> bytes:
    return frame(draw(OPCODES), draw(PAYLOADS), flags=draw(every_flags), mask=draw(MASKS), size_bytes=draw(SIZE_BYTES))


@st.composite
def good_frames(draw: st.DrawFn) -> bytes:
    """Mostly ordinary ones, so that what follows a fault is read rarely and what follows a message often."""
    opcode = draw(st.sampled_from([TEXT, BINARY, BINARY, 9]))
    payload = draw(st.text(max_size=40)).encode()
    return frame(opcode, payload[:125], mask=draw(MASKS) or b"\1\2\3\4")


@st.composite
def wires(draw: st.DrawFn) -> bytes:
    wire = b"".join(draw(st.lists(st.one_of(good_frames(), good_frames(), frames()), max_size=8)))
    if wire and draw(st.integers(0, 4)) == 0:
        place = draw(st.integers(0, len(wire)))
        wire = wire[:place] + draw(st.binary(max_size=3)) + wire[place + draw(st.integers(0, 3)) :]
    return wire


PLACES = st.lists(st.integers(0, 2000), max_size=6)


def split(wire: bytes, places: Sequence[int]) -> list[bytes]:
    cuts = [0, *sorted(place % (len(wire) + 1) for place in places), len(wire)]
    return [wire[start:end] for start, end in itertools.pairwise(cuts)]


def read_by_wsproto(wire: bytes) -> Reading:
    """The same, by wsproto's connection. It says why it fails in its own words."""
    connection = Connection(ConnectionType.SERVER)
    connection.receive_data(wire)
    reading = Reading()
    parts: list[str] | list[bytes] = []
    for event in connection.events():
        match event:
            case TextMessage() | BytesMessage():
                parts.append(event.data)  # type: ignore[arg-type]
                if event.message_finished:
                    joined = "".join(parts) if isinstance(event, TextMessage) else b"".join(parts)  # type: ignore[arg-type]
                    reading.events.append(joined)
                    parts = []
            case WsprotoPing():
                reading.events.append(Ping(bytes(event.payload)))
            case WsprotoPong():
                reading.events.append(Pong(bytes(event.payload)))
            case CloseConnection() if connection.state is ConnectionState.REMOTE_CLOSING:
                reading.events.append(Close(int(event.code), event.reason or ""))
            case CloseConnection():
                reading.failure = int(event.code), ""
    return reading


@quick
@given(wires(), PLACES)
def test_the_two_ways_and_wsproto_give_the_same(wire: bytes, places: list[int]) -> None:
    # No limits, which wsproto does not have.
    expected = read_by_wsproto(wire)
    reading = read_frames([wire], limits=UNLIMITED)
    assert reading.events == expected.events
    # A header that is not complete may show its fault already: wsproto's connection says so a little earlier.
    assert reading.code == expected.code or (reading.code is None and not complete(wire))
    assert read_frames(bytewise(wire), limits=UNLIMITED) == reading
    assert read_frames(split(wire, places), limits=UNLIMITED) == reading


def complete(wire: bytes) -> bool:
    """Whether there is a whole header wherever one begins."""
    place = 0
    while place < len(wire):
        if place + 2 > len(wire):
            return False
        short = wire[place + 1] & 127
        size_bytes = {126: 2, 127: 8}.get(short, 0)
        header = 2 + size_bytes + (4 if wire[place + 1] & 128 else 0)
        if place + header > len(wire):
            return False
        size = int.from_bytes(wire[place + 2 : place + 2 + size_bytes]) if size_bytes else short
        place += header + size
    return True


@quick
@given(st.binary(max_size=300), PLACES)
def test_any_bytes_give_events_or_a_failure(wire: bytes, places: list[int]) -> None:
    for prefix in (b"", frame(TEXT, b"a", flags=0), frame(TEXT, b"hello")[:8]):
        expected = read_frames([prefix + wire])
        assert read_frames(split(prefix + wire, places)) == expected
        assert read_frames(bytewise(prefix + wire)) == expected


@quick
@given(st.lists(st.one_of(st.text(max_size=300), st.binary(max_size=700)), max_size=6), st.data())
def test_the_messages_that_come_out_are_the_messages_that_were_sent(
    messages: list[str | bytes], data: st.DataObject
) -> None:
    wire = b""
    for message in messages:
        opcode, payload = (TEXT, message.encode()) if isinstance(message, str) else (BINARY, message)
        parts = split(payload, data.draw(st.lists(st.integers(0, 700), max_size=3)))
        for place, part in enumerate(parts):
            flags = FIN if place == len(parts) - 1 else 0
            wire += frame(0 if place else opcode, part, flags=flags, mask=data.draw(MASKS) or b"mask")
    for pieces in ([wire], bytewise(wire), split(wire, data.draw(PLACES))):
        assert read_frames(pieces) == Reading(list(messages))


@quick
@given(wires(), PLACES, st.integers(0, 200))
def test_a_limit_changes_nothing_but_what_is_above_it(wire: bytes, places: list[int], max_size: int) -> None:
    free = read_frames([wire])
    bound = read_frames([wire], limits=WebSocketLimits(max_size))
    assert read_frames(split(wire, places), limits=WebSocketLimits(max_size)) == bound
    assert read_frames(bytewise(wire), limits=WebSocketLimits(max_size)) == bound
    assert bound.events == free.events[: len(bound.events)]
    if bound.code != 1009:
        assert bound == free
    for event in bound.events:
        assert len(event.encode() if isinstance(event, str) else event if isinstance(event, bytes) else b"") <= max_size


@quick
@given(st.lists(st.one_of(good_frames(), frames(PLAIN_FLAGS)), max_size=8).map(b"".join), PLACES)
def test_an_extension_in_use_changes_nothing_for_messages_without_it(wire: bytes, places: list[int]) -> None:
    plain = read_frames([wire])
    for pieces in ([wire], bytewise(wire), split(wire, places)):
        assert read_frames(pieces, deflate=Deflate(LIMITS.max_size)) == plain


@quick
@given(
    st.lists(st.one_of(st.text(max_size=100), st.binary(max_size=300), st.just(b"ping")), max_size=6),
    st.booleans(),
    st.data(),
)
def test_compressed_messages_come_out_as_they_were_sent(
    messages: list[str | bytes], takeover: bool, data: st.DataObject
) -> None:
    wire = b""
    deflater = zlib.compressobj(wbits=-12)
    for message in messages:
        opcode, payload = (TEXT, message.encode()) if isinstance(message, str) else (BINARY, message)
        if not takeover:
            deflater = zlib.compressobj(wbits=-12)
        compressed = (deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]
        parts = split(compressed, data.draw(st.lists(st.integers(0, 300), max_size=3)))
        for place, part in enumerate(parts):
            flags = (0 if place else RSV1) | (FIN if place == len(parts) - 1 else 0)
            wire += frame(0 if place else opcode, part, flags=flags) + frame(10, b"")
    for pieces in ([wire], bytewise(wire), split(wire, data.draw(PLACES))):
        reading = read_frames(pieces, deflate=Deflate(LIMITS.max_size, client_bits=12, client_takeover=takeover))
        assert reading.failure is None
        assert [event for event in reading.events if event != Pong(b"")] == messages


@quick
@given(st.binary(max_size=200), PLACES)
def test_any_compressed_bytes_give_a_message_or_a_failure(payload: bytes, places: list[int]) -> None:
    for wire in (frame(BINARY, payload, flags=FIN | RSV1), frame(TEXT, payload, flags=RSV1) + frame(0, payload)):
        expected = read_frames([wire], deflate=Deflate(500), limits=WebSocketLimits(500))
        assert expected.code in (None, 1007, 1009)
        for pieces in (split(wire, places), bytewise(wire)):
            reading = read_frames(pieces, deflate=Deflate(500), limits=WebSocketLimits(500))
            assert (reading.events, reading.code) == (expected.events, expected.code)
