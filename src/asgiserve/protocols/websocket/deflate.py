"""permessage-deflate (RFC 7692): what is agreed on, and messages in and out of it, within fixed bounds.

The bound on memory. What two endpoints remember of a stream of messages is theirs to negotiate, and a server
that agrees to everything keeps 300 KiB for every idle connection. Here a window has at most 12 bits, so that a
connection keeps some 50 KiB; a client that cannot limit its own window is asked to begin every message afresh,
and then nothing is kept of its messages at all.

The bound on a message. A read of 64 KiB can hold 64 MiB of zeros. `zlib` is never asked for more than what the
message may still have, plus one byte that shows that it has more.

This is an extension of wsproto's, as its frame decoder wants them. Not wsproto's own: that one inflates
without a bound, forgets that a message is compressed when a ping comes between its fragments, and raises
ValueError for an offer that it cannot read. The codec calls what decompresses through wsproto's decoder, and
`compress` directly.
"""

from __future__ import annotations

import sys
import zlib
from typing import TYPE_CHECKING, Final

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, Opcode, RsvBits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wsproto.frame_protocol import FrameDecoder, FrameProtocol

    from asgiserve.protocols.websocket.handshake import ExtensionOffer

__all__ = ["Deflate", "negotiate_deflate"]

_NAME: Final = "permessage-deflate"
_MAX_WINDOW_BITS: Final = 12
_MEMORY_LEVEL: Final = 5
"""With a window of 12 bits: 40 KiB for the compressor and 11 for the decompressor, against 262 and 40 with
zlib's defaults (measured)."""
_MIN_WINDOW_BITS: Final = 9
"""zlib writes no raw stream with a window of 8 bits, though it reads one."""
_BITS: Final = frozenset({"8", "9", "10", "11", "12", "13", "14", "15"})
_VALUES: Final[dict[str, frozenset[str | None]]] = {
    "server_no_context_takeover": frozenset({None}),
    "client_no_context_takeover": frozenset({None}),
    "server_max_window_bits": _BITS,
    # Without a value: the client can limit its window, and leaves it to us how far.
    "client_max_window_bits": _BITS | {None},
}
"""The parameters of an offer, and the values that each may have (RFC 7692 7.1)."""

_TAIL: Final = b"\x00\x00\xff\xff"
"""The end of every flushed message, which is not sent (RFC 7692 7.2.1)."""
_AFTER_FINAL_BLOCK: Final = frozenset({b"", b"\x00"})
"""What may follow a block that says that it is the last: the rest of an empty one (RFC 7692 7.2.3.4)."""


class Deflate(Extension):
    """The extension as agreed on, for one connection."""

    name = _NAME

    def __init__(
        self,
        max_size: int,
        *,
        client_bits: int | None = None,
        server_bits: int = _MAX_WINDOW_BITS,
        client_takeover: bool = True,
        server_takeover: bool = True,
    ) -> None:
        self.max_size = min(max_size, sys.maxsize - 1)  # zlib counts one more than this in a C integer
        """Bytes that a message may have when it is inflated."""
        self._client_bits = client_bits
        """None: the client cannot limit its window."""
        self._server_bits = server_bits
        self._client_takeover = client_takeover
        self._server_takeover = server_takeover
        self._left = max_size
        self._inflates = False
        """Whether the frame that is being read is compressed."""
        self._compressed = False
        """Whether the message is, to which control frames between its fragments do not belong."""
        self._inflater: zlib._Decompress | None = None
        self._deflater: zlib._Compress | None = None

    @property
    def response(self) -> str:
        """The agreement, as the value of the response's Sec-WebSocket-Extensions."""
        params = [_NAME]
        if not self._server_takeover:
            params.append("server_no_context_takeover")
        if not self._client_takeover:
            params.append("client_no_context_takeover")
        params.append(f"server_max_window_bits={self._server_bits}")
        if self._client_bits is not None:
            params.append(f"client_max_window_bits={self._client_bits}")
        return "; ".join(params)

    @property
    def max_wire_size(self) -> int:
        """Bytes that a compressed message may have on the wire. What zlib cannot compress grows, by at most an
        eighth and a 64th (deflateBound); a peer that sends more sends blocks without content."""
        return self.max_size + self.max_size // 4 + 1024

    def compress(self, payload: bytes) -> bytes:
        """The payload of a message, compressed."""
        deflater = self._deflater
        if deflater is None:
            deflater = zlib.compressobj(wbits=-self._server_bits, memLevel=_MEMORY_LEVEL)
            if self._server_takeover:
                self._deflater = deflater
        return (deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH))[: -len(_TAIL)]

    # What wsproto's frame decoder calls.

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool | str:
        """What a client would offer; we are none."""
        return False

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        if opcode.iscontrol():
            self._inflates = False
            return RsvBits(False, False, False)
        begins = opcode is not Opcode.CONTINUATION
        if begins:
            self._compressed = rsv.rsv1
            self._left = self.max_size
        self._inflates = self._compressed
        return RsvBits(begins, False, False)  # RFC 7692 6: its first frame says whether a message is compressed

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes | CloseReason:
        return self._inflate(data) if self._inflates else data

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> bytes | CloseReason | None:
        if not self._inflates or not fin:
            return None
        self._compressed = False
        rest: bytes | CloseReason = b""
        if self._inflater is None or not self._inflater.eof:
            rest = self._inflate(_TAIL)
        if not self._client_takeover or (self._inflater is not None and self._inflater.eof):
            self._inflater = None
        return rest

    def _inflate(self, data: bytes) -> bytes | CloseReason:
        inflater = self._inflater
        if inflater is None:
            bits = self._client_bits or zlib.MAX_WBITS
            self._inflater = inflater = zlib.decompressobj(wbits=-bits)
        try:
            inflated = inflater.decompress(data, self._left + 1)
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        self._left -= len(inflated)
        if self._left < 0:
            return CloseReason.MESSAGE_TOO_BIG
        if inflater.unused_data not in _AFTER_FINAL_BLOCK:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        return inflated


def negotiate_deflate(offers: Iterable[ExtensionOffer], max_size: int) -> Deflate | None:
    """The first offer that can be accepted. None if there is none: then messages are not compressed."""
    for offer in offers:
        if offer.name == _NAME:
            agreed = _accept(offer.params, max_size)
            if agreed is not None:
                return agreed
    return None


def _accept(params: list[tuple[str, str | None]], max_size: int) -> Deflate | None:
    """RFC 7692 5.1: an offer with an unknown, a repeated or an invalid parameter is declined."""
    wanted = dict(params)
    if len(wanted) < len(params) or any(value not in _VALUES.get(name, ()) for name, value in params):
        return None
    server_bits = int(wanted.get("server_max_window_bits") or _MAX_WINDOW_BITS)
    if server_bits < _MIN_WINDOW_BITS:
        return None
    client_bits = None
    if "client_max_window_bits" in wanted:
        client_bits = min(int(wanted["client_max_window_bits"] or _MAX_WINDOW_BITS), _MAX_WINDOW_BITS)
    return Deflate(
        max_size,
        client_bits=client_bits,
        server_bits=min(server_bits, _MAX_WINDOW_BITS),
        client_takeover=client_bits is not None and "client_no_context_takeover" not in wanted,
        server_takeover="server_no_context_takeover" not in wanted,
    )
