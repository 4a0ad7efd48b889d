"""WebSocket frames of a client as bytes, and what a codec makes of them: used by the tests of the wire rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import cycle
from typing import TYPE_CHECKING, Final

from asgiserve.errors import WebSocketError
from asgiserve.events import NEED_DATA
from asgiserve.protocols.websocket import MORE, WebSocketCodec, WebSocketLimits
from tests.support.wire import every_split

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from asgiserve.protocols.websocket import Deflate, Event

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
FIN: Final = 0x80
RSV1: Final = 0x40

MASK: Final = b"\x37\xfa\x21\x3d"
LIMITS: Final = WebSocketLimits(16_777_216)


def masked(payload: bytes, mask: bytes = MASK) -> bytes:
    return bytes(byte ^ key for byte, key in zip(payload, cycle(mask), strict=False))


def frame(
    opcode: int, payload: bytes = b"", *, flags: int = FIN, mask: bytes | None = MASK, size_bytes: int | None = None
) -> bytes:
    """A client's frame. `mask=None` leaves it unmasked; `size_bytes` are those of the extended length: 0, 2, 8."""
    size = len(payload)
    if size_bytes is None:
        size_bytes = 0 if size < 126 else 2 if size < 65_536 else 8
    short = {0: size, 2: 126, 8: 127}[size_bytes]
    header = bytes((flags | opcode, short | (0 if mask is None else 0x80)))
    header += size.to_bytes(size_bytes) if size_bytes else b""
    return header + (payload if mask is None else mask + masked(payload, mask))


def text(data: str, *, flags: int = FIN) -> bytes:
    return frame(TEXT, data.encode(), flags=flags)


def fragments(opcode: int, *payloads: bytes) -> list[bytes]:
    """A message in so many frames."""
    last = len(payloads) - 1
    return [
        frame(CONTINUATION if place else opcode, payload, flags=FIN if place == last else 0)
        for place, payload in enumerate(payloads)
    ]


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2) + reason)


@dataclass
class Reading:
    """All that a codec says about some bytes."""

    events: list[Event] = field(default_factory=list)
    failure: tuple[int, str] | None = None

    @property
    def code(self) -> int | None:
        return self.failure[0] if self.failure else None


def next_event(codec: WebSocketCodec) -> Event:
    """What the codec says next, to somebody who lets nobody else run."""
    while (event := codec.next_event()) is MORE:
        pass
    return event


def read_frames(
    pieces: Iterable[bytes], *, limits: WebSocketLimits = LIMITS, deflate: Deflate | None = None
) -> Reading:
    """Give the pieces to a codec, one by one, and take every event as soon as it is there."""
    codec = WebSocketCodec(limits, deflate)
    reading = Reading()
    for piece in pieces:
        codec.receive_data(piece)
        failed_before = reading.failure
        try:
            while (event := next_event(codec)) is not NEED_DATA:
                reading.events.append(event)
        except WebSocketError as error:
            reading.failure = error.code, error.reason
        assert failed_before in (None, reading.failure), "a failed codec changed its mind"
    return reading


def the_reading(data: bytes, *, limits: WebSocketLimits = LIMITS) -> Reading:
    """What a codec says of these bytes at every split; fails if that is not one thing."""
    expected = read_frames([data], limits=limits)
    for pieces in every_split(data):
        assert read_frames(pieces, limits=limits) == expected, pieces
    return expected


def the_events(*frames: bytes, limits: WebSocketLimits = LIMITS) -> Sequence[Event]:
    """The events of frames that break no rule."""
    reading = the_reading(b"".join(frames), limits=limits)
    assert reading.failure is None
    return reading.events
