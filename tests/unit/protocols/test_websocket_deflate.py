"""permessage-deflate: what is agreed on, messages in and out, and the bounds that no peer can cross."""

from __future__ import annotations

import tracemalloc
import zlib
from random import Random
from typing import TYPE_CHECKING

import pytest
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import FrameProtocol

from asgiserve.errors import WebSocketError
from asgiserve.protocols.websocket import (
    Ping,
    WebSocketCodec,
    WebSocketLimits,
    negotiate_deflate,
    read_handshake,
)
from tests.support.frames import (
    BINARY,
    CONTINUATION,
    FIN,
    LIMITS,
    PING,
    RSV1,
    TEXT,
    frame,
    next_event,
    read_frames,
    text,
)
from tests.support.wire import bytewise, every_split
from tests.unit.protocols.test_websocket_handshake import GOOD, head_of

if TYPE_CHECKING:
    from asgiserve.protocols.websocket import Deflate
    from tests.support.frames import Reading

PMD = "permessage-deflate"


def noise(size: int) -> bytes:
    """Bytes that no compressor makes smaller."""
    return Random(size).randbytes(size)


def agreed(field: str, max_size: int = 100_000) -> Deflate | None:
    """What is agreed on with a client that sends this Sec-WebSocket-Extensions."""
    head = head_of(*GOOD, b"Sec-WebSocket-Extensions: " + field.encode())
    return negotiate_deflate(read_handshake(head).extensions, max_size)


class Peer:
    """A client that compresses with zlib alone."""

    def __init__(self, bits: int = 12, *, takeover: bool = True) -> None:
        self._bits = bits
        self._takeover = takeover
        self._deflater = zlib.compressobj(wbits=-bits)

    def compress(self, payload: bytes) -> bytes:
        if not self._takeover:
            self._deflater = zlib.compressobj(wbits=-self._bits)
        return (self._deflater.compress(payload) + self._deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def message(self, opcode: int, payload: bytes, *, frames: int = 1) -> list[bytes]:
        wire = self.compress(payload)
        step = len(wire) // frames + 1
        parts = [wire[start : start + step] for start in range(0, step * frames, step)]
        return [
            frame(
                CONTINUATION if place else opcode,
                part,
                flags=(0 if place else RSV1) | (FIN if place == frames - 1 else 0),
            )
            for place, part in enumerate(parts)
        ]


def read_compressed(wire: bytes, field: str = PMD, *, max_size: int = 100_000) -> Reading:
    """What a codec says of these bytes, whole, byte by byte and at every split."""

    def read(pieces: list[bytes]) -> Reading:
        return read_frames(pieces, limits=WebSocketLimits(max_size), deflate=agreed(field, max_size))

    expected = read([wire])
    for pieces in every_split(wire):
        assert read(pieces) == expected, pieces
    return expected


# --- what is agreed on ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("", "; client_no_context_takeover; server_max_window_bits=12"),
        ("; client_max_window_bits", "; server_max_window_bits=12; client_max_window_bits=12"),
        (
            "; client_no_context_takeover; client_max_window_bits",
            "; client_no_context_takeover; server_max_window_bits=12; client_max_window_bits=12",
        ),
        (
            "; server_no_context_takeover; client_max_window_bits=10",
            "; server_no_context_takeover; server_max_window_bits=12; client_max_window_bits=10",
        ),
        ('; client_max_window_bits="9"', "; server_max_window_bits=12; client_max_window_bits=9"),
    ],
)
def test_an_offer_is_answered_within_our_windows(offer: str, answer: str) -> None:
    deflate = agreed(PMD + offer)
    assert deflate is not None
    assert deflate.response == PMD + answer


@pytest.mark.parametrize("bits", range(8, 16))
def test_every_window_that_a_client_may_have_is_accepted_and_read(bits: int) -> None:
    deflate = agreed(f"{PMD}; client_max_window_bits={bits}")
    assert deflate is not None
    chosen = min(bits, 12)
    assert f"client_max_window_bits={chosen}" in deflate.response
    payload = noise(3000) * 3
    wire = b"".join(Peer(max(chosen, 9)).message(BINARY, payload))
    assert read_frames([wire], deflate=deflate).events == [payload]


@pytest.mark.parametrize("bits", range(9, 16))
def test_we_keep_to_the_window_that_the_client_wants_of_us(bits: int) -> None:
    deflate = agreed(f"{PMD}; server_max_window_bits={bits}")
    assert deflate is not None
    chosen = min(bits, 12)
    assert f"server_max_window_bits={chosen}" in deflate.response
    # What repeats is further back than the window: a reader with that window sees if we looked there.
    payload = noise(1 << chosen) * 2
    inflater = zlib.decompressobj(wbits=-chosen)
    assert inflater.decompress(deflate.compress(payload) + b"\x00\x00\xff\xff") == payload


@pytest.mark.parametrize(
    "offer",
    [
        "; server_max_window_bits=8",  # zlib cannot write it
        "; server_max_window_bits",
        "; server_max_window_bits=7",
        "; server_max_window_bits=16",
        "; server_max_window_bits=010",
        "; server_max_window_bits=x",
        "; client_max_window_bits=7",
        "; client_max_window_bits=16",
        "; client_max_window_bits=99999999999999999999",
        "; client_max_window_bits=-9",
        "; client_max_window_bits=+9",
        "; client_max_window_bits=1_0",
        "; client_max_window_bits; client_max_window_bits",
        "; client_max_window_bits=10; client_max_window_bits=10",
        "; server_no_context_takeover=1",
        "; client_no_context_takeover=true",
        "; server_no_context_takeover; server_no_context_takeover",
        "; Client_Max_Window_Bits",
        "; unknown",
        "; client_max_window_bits; unknown=1",
    ],
)
def test_an_offer_that_cannot_be_accepted_is_declined(offer: str) -> None:
    assert agreed(PMD + offer) is None
    fallback = agreed(f"{PMD}{offer}, {PMD}; client_max_window_bits=9")
    assert fallback is not None
    assert "client_max_window_bits=9" in fallback.response


def test_other_extensions_are_declined_and_the_first_good_offer_wins() -> None:
    assert agreed("") is None
    assert agreed("x-webkit-deflate-frame, bbf-usp-protocol; a=b") is None
    deflate = agreed(f"x, {PMD}; client_max_window_bits=11, {PMD}; client_max_window_bits=10")
    assert deflate is not None
    assert "client_max_window_bits=11" in deflate.response


@pytest.mark.parametrize(
    "offer", ["", "; client_max_window_bits", "; client_max_window_bits=15; server_max_window_bits=15"]
)
def test_a_connection_keeps_less_than_64_kib_between_messages(offer: str) -> None:
    deflate = agreed(PMD + offer)
    assert deflate is not None
    codec = WebSocketCodec(LIMITS, deflate)
    wire = b"".join(Peer().message(BINARY, noise(50_000)))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        codec.receive_data(wire)
        assert isinstance(next_event(codec), bytes)
        assert codec.binary(b"x" * 50_000)
        assert tracemalloc.get_traced_memory()[0] - before < 64 * 1024
    finally:
        tracemalloc.stop()


# --- messages in ------------------------------------------------------------------------------


@pytest.mark.parametrize("field", [PMD, f"{PMD}; client_max_window_bits"])
@pytest.mark.parametrize("payload", [b"", b"a", "héllo".encode() * 5])
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_compressed_messages_are_inflated(field: str, payload: bytes, frames: int) -> None:
    peer = Peer(takeover="client_max" in field)
    wire = peer.message(TEXT, payload, frames=frames) + peer.message(BINARY, payload, frames=frames)
    assert read_compressed(b"".join(wire), field).events == [payload.decode(), payload]


def test_a_message_may_lean_on_the_one_before() -> None:
    peer = Peer()
    first, second = (b"".join(peer.message(BINARY, bytes(range(200)))) for _ in range(2))
    assert len(second) < 20 < len(first)
    reading = read_compressed(first + second, f"{PMD}; client_max_window_bits")
    assert reading.events == [bytes(range(200))] * 2


def test_messages_that_are_not_compressed_may_stand_between() -> None:
    peer = Peer()
    wire = [text("plain"), *peer.message(TEXT, b"hello"), text("plain"), *peer.message(TEXT, b"hello", frames=2)]
    reading = read_compressed(b"".join(wire), f"{PMD}; client_max_window_bits")
    assert reading.events == ["plain", "hello", "plain", "hello"]


def test_pings_may_stand_between_the_fragments_of_a_compressed_message() -> None:
    one, two, three = Peer().message(TEXT, b"hello hello", frames=3)
    wire = one + frame(PING) + two + frame(PING, b"x" * 100) + frame(PING, b"y") + three + text("plain")
    assert read_compressed(wire).events == [Ping(b""), Ping(b"x" * 100), Ping(b"y"), "hello hello", "plain"]


@pytest.mark.parametrize("tail", [b"", b"\x00"])
@pytest.mark.parametrize("field", [PMD, f"{PMD}; client_max_window_bits"])
def test_a_message_may_end_in_a_final_block(tail: bytes, field: str) -> None:
    deflater = zlib.compressobj(wbits=-12)
    final = deflater.compress(b"Hello") + deflater.flush(zlib.Z_FINISH) + tail
    wire = frame(TEXT, final[:3], flags=RSV1) + frame(CONTINUATION, final[3:]) + b"".join(Peer().message(TEXT, b"next"))
    assert read_compressed(wire, field).events == ["Hello", "next"]


def test_nothing_but_its_end_may_follow_a_final_block() -> None:
    deflater = zlib.compressobj(wbits=-12)
    final = deflater.compress(b"Hello") + deflater.flush(zlib.Z_FINISH)
    for rest in (b"\x01", b"\x00\x00", final):
        assert read_compressed(frame(TEXT, final + rest, flags=FIN | RSV1)).code == 1007


@pytest.mark.parametrize(
    ("wire", "code"),
    {
        "a continuation that says that it is compressed": (
            frame(TEXT, Peer().compress(b"a"), flags=RSV1) + frame(CONTINUATION, b"a", flags=FIN | RSV1),
            1002,
        ),
        "a compressed ping": (frame(PING, b"a", flags=FIN | RSV1), 1002),
        "another reserved bit": (frame(TEXT, Peer().compress(b"a"), flags=FIN | RSV1 | 0x20), 1002),
        "a continuation of nothing": (frame(CONTINUATION, b"a"), 1002),
        "a continuation of nothing, behind a compressed message": (
            frame(TEXT, Peer().compress(b"before"), flags=FIN | RSV1) + frame(CONTINUATION, b"\xff\xff\xff"),
            1002,
        ),
        "no deflate stream": (frame(BINARY, b"\xff\xff\xff", flags=FIN | RSV1), 1007),
        "a text that is not UTF-8": (frame(TEXT, Peer().compress(b"a\xff"), flags=FIN | RSV1), 1007),
        "half a character": (frame(TEXT, Peer().compress(b"a\xc3"), flags=FIN | RSV1), 1007),
    }.values(),
)
def test_a_compressed_message_that_breaks_a_rule_fails(wire: bytes, code: int) -> None:
    reading = read_compressed(text("before") + wire)
    assert reading.code == code
    assert set(reading.events) == {"before"}


def test_a_client_that_cannot_limit_its_window_is_read_with_the_largest() -> None:
    block = noise(20_000)
    wire = b"".join(Peer(15).message(BINARY, block * 2))
    assert len(wire) < 21_000
    for pieces in ([wire], bytewise(wire)):
        assert read_frames(pieces, deflate=agreed(PMD)).events == [block * 2]


# --- bounds -----------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("frames", [1, 7])
def test_the_limit_is_of_the_inflated_message(opcode: int, frames: int) -> None:
    for size, code in ((1000, None), (1001, 1009), (1_000_000, 1009)):
        wire = b"".join(Peer().message(opcode, b"x" * size, frames=frames))
        assert read_compressed(wire, max_size=1000).code == code


def test_a_limit_beyond_what_zlib_can_count_is_none() -> None:
    assert read_compressed(b"".join(Peer().message(BINARY, b"x" * 1000)), max_size=10**20).events == [b"x" * 1000]


def test_the_limit_is_of_each_message_for_itself() -> None:
    peer = Peer()
    wire = b"".join(b"".join(peer.message(BINARY, b"x" * 1000)) for _ in range(3))
    reading = read_compressed(wire, f"{PMD}; client_max_window_bits", max_size=1000)
    assert reading.events == [b"x" * 1000] * 3


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_bomb_is_not_inflated_beyond_the_limit(opcode: int) -> None:
    max_size = 200_000
    bomb = b"".join(Peer().message(opcode, b"\0" * 60_000_000))
    assert len(bomb) < 65_536
    codec = WebSocketCodec(WebSocketLimits(max_size), agreed(PMD, max_size))
    codec.receive_data(bomb)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        with pytest.raises(WebSocketError) as caught:
            next_event(codec)
        assert caught.value.code == 1009
        assert tracemalloc.get_traced_memory()[1] - before < 6 * max_size  # with the copies on its way
    finally:
        tracemalloc.stop()


def test_inflating_a_message_costs_little_more_than_the_message() -> None:
    size = 4_000_000
    codec = WebSocketCodec(LIMITS, agreed(PMD, size))
    codec.receive_data(b"".join(Peer().message(BINARY, b"x" * size)))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        assert next_event(codec) == b"x" * size
        assert tracemalloc.get_traced_memory()[1] - before < 2.2 * size  # one is the test's own
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("frames", [1, 2, 50])
def test_what_cannot_be_compressed_may_be_as_large_as_the_limit(frames: int) -> None:
    payload = noise(100_000)
    wire = b"".join(Peer().message(BINARY, payload, frames=frames))
    assert len(wire) > 100_000
    assert read_frames([wire], limits=WebSocketLimits(100_000), deflate=agreed(PMD, 100_000)).events == [payload]


def test_a_message_that_is_not_compressed_has_the_limit_that_it_has_without_the_extension() -> None:
    assert read_compressed(text("x" * 1000), max_size=1000).events == ["x" * 1000]
    assert read_compressed(text("x" * 1001), max_size=1000).code == 1009


def test_compressed_bytes_without_content_come_to_an_end() -> None:
    nothing = b"\x00\x00\x00\xff\xff" * 1000  # empty blocks
    limits = WebSocketLimits(10_000)
    wire = frame(BINARY, nothing, flags=RSV1) + frame(CONTINUATION, nothing, flags=0) * 2
    reading = read_frames([wire], limits=limits, deflate=agreed(PMD, 10_000))
    assert reading.code == 1009
    assert read_frames([frame(BINARY, nothing, flags=RSV1)], limits=limits, deflate=agreed(PMD, 10_000)).code is None


# --- messages out -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "field",
    [
        PMD,
        f"{PMD}; client_max_window_bits",
        f"{PMD}; server_no_context_takeover; client_no_context_takeover",
        f"{PMD}; server_max_window_bits=9; client_max_window_bits=9",
    ],
)
def test_another_implementation_agrees_and_understands(field: str) -> None:
    deflate = agreed(field)
    assert deflate is not None
    extension = PerMessageDeflate()
    extension.finalize(deflate.response)
    client = FrameProtocol(client=True, extensions=[extension])
    codec = WebSocketCodec(LIMITS, deflate)
    messages: list[str | bytes] = ["", "hello", b"", b"\0\xff", "hello", "é" * 3000, noise(70_000), b"x" * 70_000]
    for message in messages:
        wire = codec.text(message) if isinstance(message, str) else b"".join(codec.binary(message))
        client.receive_bytes(wire)
        received = list(client.received_frames())
        assert [one.payload for one in received] == [message]
        codec.receive_data(bytes(client.send_data(message)))
        assert next_event(codec) == message


def test_control_frames_are_not_compressed() -> None:
    codec = WebSocketCodec(LIMITS, agreed(PMD))
    assert codec.ping(b"abc") == b"\x89\x03abc"
    assert codec.close(1000, "bye") == b"\x88\x05\x03\xe8bye"


def test_our_messages_lean_on_the_ones_before_unless_the_client_forbids_it() -> None:
    lengths = {}
    for field in (f"{PMD}; client_max_window_bits", f"{PMD}; server_no_context_takeover"):
        codec = WebSocketCodec(LIMITS, agreed(field))
        lengths[field] = [len(codec.text("a message that repeats, again and again")) for _ in range(2)]
    (first, second), (alone, again) = lengths.values()
    assert second < first == alone == again
