"""`WebSocketCodec`: the bytes of one WebSocket in, its messages and control frames out, one at a time and when
asked; and the frames that we send.

    BOUNDARY ──a frame that is not ordinary──► FRAME ──its end──► BOUNDARY, or FRAGMENTED inside a message
    FRAGMENTED ──any frame───────────────────► FRAME
    any ──Close──► CLOSED
    any ──a rule is broken──► FAILED

Two ways. An *ordinary* frame is a whole message, text or bytes, masked, not compressed, within the limit, and
complete in the buffer. It is read right here, at a boundary: neither a frame nor a message is begun, and
wsproto holds nothing. Every other frame is wsproto's: its frame decoder checks the header, unmasks and
inflates, its message decoder knows the order of fragments and decodes text as it comes. They are given the
bytes of one frame and no more, so that the next can be ordinary again. Both ways give the same events and
the same failures for the same bytes, however they are split; property tests hold them to it.

wsproto knows no limits, so they are here. A message is counted by the lengths that its headers announce,
before a byte of it is kept. Called by the WebSocket driver in `connection/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from io import BytesIO
from typing import TYPE_CHECKING, Final

from wsproto.frame_protocol import FrameDecoder, MessageDecoder, Opcode, ParseFailed

from asgiserve.errors import LocalProtocolError, WebSocketError
from asgiserve.events import NEED_DATA
from asgiserve.protocols.http1.buffer import WireBuffer
from asgiserve.protocols.websocket.close_frame import close_payload, read_close
from asgiserve.protocols.websocket.events import MORE, Ping, Pong
from asgiserve.protocols.websocket.framing import MAX_SHORT, control_frame, frame_buffers, header
from asgiserve.protocols.websocket.masking import BIG_INTEGER_UP_TO, unmask

if TYPE_CHECKING:
    from wsproto.frame_protocol import Frame

    from asgiserve.protocols.websocket.deflate import Deflate
    from asgiserve.protocols.websocket.events import Event

__all__ = ["WebSocketCodec", "WebSocketLimits"]

_TEXT, _BINARY = 0x81, 0x82
"""The first byte of an ordinary frame: the last of its message, no extension, and what it is."""
_COMPRESSED, _OPCODE, _CONTROL = 0x40, 0x0F, 0x08
"""Bits of the first byte."""
_CLOSE, _PING, _PONG = 0x88, 0x89, 0x8A

_SLICE: Final = 1024
"""Compressed bytes that are inflated in one go: they become 1 MiB at most, which wsproto copies twice. Larger
slices cost up to a tenth less time, and up to three times a message's size instead of one."""

_WORK: Final = 262_144
"""Bytes of payload that wsproto decodes in a row: it takes half a millisecond or so for them, in which nobody else
runs, and one read may hold ten thousand empty fragments or 64 MiB of zeros, compressed."""
_STEP: Final = 4096
"""Bytes that cost as much as a frame, or a piece of one, without any."""

_FREE_FRAGMENTS: Final = 1024
_MIN_AVERAGE: Final = 128

_from_bytes = int.from_bytes


class _State(Enum):
    BOUNDARY = "boundary"
    FRAGMENTED = "fragmented"
    FRAME = "frame"
    CLOSED = "closed"
    FAILED = "failed"


# Names of this module: until Python 3.12, reading a member of an Enum class costs ten times as much.
_BOUNDARY, _FRAGMENTED, _FRAME = _State.BOUNDARY, _State.FRAGMENTED, _State.FRAME
_CLOSED, _FAILED = _State.CLOSED, _State.FAILED


@dataclass(frozen=True, slots=True)
class WebSocketLimits:
    """How much of a message is accepted."""

    max_size: int
    """Bytes of a message, in all its fragments."""

    @property
    def max_fragments(self) -> int:
        """Frames of a message. Each takes some 10 µs, however small: so many are free, and beyond them they must
        carry 128 bytes on average."""
        return _FREE_FRAGMENTS + self.max_size // _MIN_AVERAGE


class WebSocketCodec:
    """One WebSocket, from behind its handshake, as its server reads and writes it."""

    __slots__ = (
        "_buffer",
        "_compressed",
        "_deflate",
        "_failure",
        "_fragments",
        "_frames",
        "_left",
        "_limits",
        "_max_compressed_size",
        "_max_size",
        "_messages",
        "_parts",
        "_size",
        "_state",
        "_work",
    )

    def __init__(self, limits: WebSocketLimits, deflate: Deflate | None = None) -> None:
        self._limits = limits
        self._max_size = limits.max_size
        self._max_compressed_size = limits.max_size if deflate is None else deflate.max_wire_size
        self._deflate = deflate
        self._buffer = WireBuffer()
        self._state = _BOUNDARY
        self._frames = FrameDecoder(False, None if deflate is None else [deflate])
        self._messages = MessageDecoder()
        self._left = 0
        """Bytes of the frame that is being read, still to come."""
        self._size = 0
        self._fragments = 0
        self._work = 0
        """Bytes decoded since the last MORE, steps included."""
        self._compressed = False
        self._parts: BytesIO | None = None
        """The message that is being read, a text as the bytes that wsproto has found to be one. Neither a list
        nor a StringIO: where each byte comes alone, those cost 40 bytes for each."""
        self._failure = (0, "")
        """Close code and reason, in state FAILED."""

    def receive_data(self, data: bytes) -> None:
        """Add bytes from the peer. Linear in their number, however they are split; nothing is parsed here."""
        if self._state is not _CLOSED and self._state is not _FAILED:
            self._buffer.append(data)

    @property
    def buffered(self) -> int:
        """How many bytes are held that were not looked at."""
        return len(self._buffer)

    def next_event(self) -> Event:
        """The next message or control frame. Raises WebSocketError, and then for ever. What follows a Close
        frame is nothing (RFC 6455 5.5.1), so after it there is only NEED_DATA."""
        buffer = self._buffer
        data = buffer.data
        if self._state is not _BOUNDARY:
            return self._read_on()
        if not data:
            return NEED_DATA
        start = buffer.start
        first = data[start]
        if (first != _TEXT and first != _BINARY) or len(data) - start < 6:
            return self._read_on()
        begin = start + 6
        size = data[start + 1] - 128
        if size > 125 or size < 0:
            size, begin = self._long_size(size, data, start)
        end = begin + size
        if end > len(data) or size < 0 or size > self._max_size:
            return self._read_on()
        payload = data[begin:end]
        mask = data[begin - 4 : begin]
        if size <= BIG_INTEGER_UP_TO:
            payload = (_from_bytes(payload) ^ _from_bytes((mask * (size + 3 >> 2))[:size])).to_bytes(size)
        else:
            payload = unmask(payload, mask)
        if end == len(data):
            buffer.data = b""
            buffer.start = 0
        else:
            buffer.start = end
        if first == _BINARY:
            return bytes(payload)
        try:
            return payload.decode()
        except UnicodeDecodeError:
            raise self._fail(1007, _NOT_UTF8) from None

    @staticmethod
    def _long_size(short: int, data: bytes | bytearray, start: int) -> tuple[int, int]:
        """The size of an ordinary frame whose second byte does not hold it, and where its payload begins. A
        negative size if it is not ordinary: unmasked, not complete, or a length in too many bytes."""
        if short == 126:
            size = _from_bytes(data[start + 2 : start + 4])
            return (size, start + 8) if size > 125 else (-1, 0)
        if short == 127:
            size = _from_bytes(data[start + 2 : start + 10])
            return (size, start + 14) if size > 65_535 else (-1, 0)
        return -1, 0

    # --- the frames that are not ordinary ---------------------------------------------------------

    def _read_on(self) -> Event:
        try:
            while self._work < _WORK:
                if self._state is _FRAME:
                    event = self._read_payload()
                elif self._state is _CLOSED:
                    return NEED_DATA
                elif self._state is _FAILED:
                    # A new one each time: an error that is raised twice collects the tracebacks of both.
                    raise WebSocketError(*self._failure)
                else:
                    event = self._read_header()
                if event is not None:
                    return event
            self._work = 0
            return MORE
        except ParseFailed as error:
            raise self._fail(int(error.code), _reason(error)) from None
        except WebSocketError as error:
            self._fail(error.code, error.reason)
            raise

    def _read_header(self) -> Event | None:
        """Begin the next frame. None: the frame says nothing yet, and more can be read."""
        buffer = self._buffer
        second = buffer.peek(2)[1:]
        if not second:
            return NEED_DATA
        short = second[0] & 127
        size_bytes = _SIZE_BYTES.get(short, 0)
        length = 2 + size_bytes + (4 if second[0] & 128 else 0)
        if len(buffer) < length:
            return NEED_DATA
        wire = buffer.take(length)
        size = _from_bytes(wire[2 : 2 + size_bytes]) if size_bytes else short
        self._state = _FRAME
        self._left = size
        frame = self._decode(wire)
        self._count(wire[0], size)
        return None if frame is None else self._take_frame(frame)

    def _count(self, first: int, size: int) -> None:
        """A frame of this size has begun, and wsproto has found no fault in its header."""
        if first & _CONTROL:
            return
        if first & _OPCODE:  # no continuation: a message begins
            self._compressed = bool(first & _COMPRESSED)
        self._size += size
        self._fragments += 1
        most = self._max_compressed_size if self._compressed else self._max_size
        if self._size > most or self._fragments > self._limits.max_fragments:
            raise WebSocketError(1009, _TOO_BIG)

    def _read_payload(self) -> Event | None:
        piece = self._buffer.take(min(self._left, _SLICE) if self._compressed else self._left)
        if not piece:
            return NEED_DATA
        self._left -= len(piece)
        frame = self._decode(piece)
        return None if frame is None else self._take_frame(frame)

    def _decode(self, wire: bytes) -> Frame | None:
        """What wsproto makes of a header, or of a piece of a payload."""
        self._frames.receive_bytes(wire)
        frame = self._frames.process_buffer()
        self._work += _STEP if frame is None else _STEP + len(frame.payload)
        return frame

    def _take_frame(self, frame: Frame) -> Event | None:
        """What wsproto has decoded: a control frame, or a part of a data frame."""
        opcode, payload = frame.opcode, frame.payload
        assert not isinstance(payload, str | tuple)
        payload = bytes(payload)  # wsproto 1.2 has a bytearray here where there is nothing
        if not opcode.iscontrol():
            return self._take_part(self._messages.process_frame(frame), payload)
        if opcode is Opcode.CLOSE:
            event = read_close(payload)
            self._end(_CLOSED)
            return event
        self._state = _BOUNDARY if self._messages.opcode is None else _FRAGMENTED
        return Ping(payload) if opcode is Opcode.PING else Pong(payload)

    def _take_part(self, frame: Frame, payload: bytes) -> str | bytes | None:
        """A part of a message, found to stand in order and decoded, and its bytes."""
        if frame.frame_finished:
            self._state = _BOUNDARY if frame.message_finished else _FRAGMENTED
        parts = self._parts
        if frame.message_finished and parts is None:
            self._size = self._fragments = 0
            return frame.payload if isinstance(frame.payload, str) else payload
        if parts is None:
            self._parts = parts = BytesIO()
        parts.write(payload)
        if not frame.message_finished:
            return None
        self._parts = None
        self._size = self._fragments = 0
        return parts.getvalue().decode() if frame.opcode is Opcode.TEXT else parts.getvalue()

    def _fail(self, code: int, reason: str) -> WebSocketError:
        self._failure = (code, reason)
        self._end(_FAILED)
        return WebSocketError(code, reason)

    def _end(self, state: _State) -> None:
        self._state = state
        self._parts = None
        self._work = 0
        self._buffer.clear()

    # --- the frames that we send ------------------------------------------------------------------

    def text(self, data: str) -> bytes:
        """A text message. Raises LocalProtocolError for a lone surrogate, which UTF-8 does not have."""
        try:
            payload = data.encode()
        except UnicodeEncodeError:
            raise LocalProtocolError("websocket.send: the text contains a lone surrogate") from None
        if self._deflate is not None:
            payload = self._deflate.compress(payload)
            return header(_TEXT | _COMPRESSED, len(payload)) + payload
        size = len(payload)
        if size <= MAX_SHORT:
            return _SHORT_TEXT[size] + payload
        return header(_TEXT, size) + payload

    def binary(self, data: bytes) -> tuple[bytes, ...]:
        """A binary message, in one buffer or two: a large payload is not copied."""
        if self._deflate is not None:
            return frame_buffers(_BINARY | _COMPRESSED, self._deflate.compress(data))
        return frame_buffers(_BINARY, data)

    def ping(self, payload: bytes) -> bytes:
        return control_frame(_PING, payload)

    def pong(self, payload: bytes) -> bytes:
        return control_frame(_PONG, payload)

    def close(self, code: int, reason: str) -> bytes:
        """A Close frame, its reason cut to what fits. 1005 gives one without a code. Raises LocalProtocolError
        for a code that may not be sent."""
        return control_frame(_CLOSE, close_payload(code, reason))


_TOO_BIG: Final = "message too big"
_NOT_UTF8: Final = "text is not UTF-8"
_SIZE_BYTES: Final = {126: 2, 127: 8}
_SHORT_TEXT: Final = tuple(header(_TEXT, size) for size in range(MAX_SHORT + 1))


def _reason(error: ParseFailed) -> str:
    """What the peer is told. wsproto's own texts but where they would hold the peer's bytes or say nothing."""
    match int(error.code):
        case 1009:
            return _TOO_BIG
        case 1007 if isinstance(error.__context__, UnicodeDecodeError):
            return _NOT_UTF8
        case 1007:
            return "compressed data cannot be inflated"
        case _:
            return str(error)
