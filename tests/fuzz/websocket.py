"""Fuzzing the WebSocket codec: frames however they come, against the codec's other way and wsproto; and handshakes.

Three kinds of cases: any frames without compression (wsproto reads them too), messages and any bytes with it, and the
fields of a handshake. The strategies of frames are those of the property tests.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from asgiserve.errors import LocalProtocolError, RemoteProtocolError
from asgiserve.protocols.http1 import DefaultFields
from asgiserve.protocols.websocket import (
    Deflate,
    WebSocketLimits,
    accept_response,
    negotiate_deflate,
    read_handshake,
    refusal,
)
from tests.support.frames import BINARY, FIN, RSV1, TEXT, frame, read_frames
from tests.support.wire import bytewise, read_wire, request
from tests.unit.protocols.test_websocket_property import (
    MASKS,
    PLACES,
    complete,
    frames,
    good_frames,
    read_by_wsproto,
    split,
    wires,
)

if TYPE_CHECKING:
    from asgiserve.events import RequestHead
    from asgiserve.protocols.websocket import Handshake
    from tests.fuzz.corpus import Case

__all__ = ["cases", "check", "handshakes"]

_UNLIMITED = WebSocketLimits(1 << 64)
_DEFAULTS = DefaultFields(b"asgiserve", ())

# --- frames ---


def _plain_cases() -> st.SearchStrategy[Case]:
    wire = st.one_of(wires(), st.binary(max_size=200))
    return st.fixed_dictionaries(
        {
            "kind": st.just("plain"),
            "wire": wire.map(lambda data: data.decode("latin-1")),
            "cuts": PLACES,
            "max_size": st.sampled_from([0, 5, 125, 126, 200, 1 << 20]),
        }
    )


def _check_plain(case: Case) -> None:
    wire, limits = case["wire"].encode("latin-1"), WebSocketLimits(case["max_size"])
    pieces = split(wire, case["cuts"])
    bound = read_frames([wire], limits=limits)
    assert read_frames(pieces, limits=limits) == bound
    assert read_frames(bytewise(wire), limits=limits) == bound
    free = read_frames([wire], limits=_UNLIMITED)
    assert bound.code == 1009 or bound == free
    assert bound.events == free.events[: len(bound.events)]
    expected = read_by_wsproto(wire)
    assert free.events == expected.events
    # A header that is not complete may show its fault already: wsproto's connection says so a little earlier.
    assert free.code == expected.code or (free.code is None and not complete(wire))


# --- compressed messages ---


@st.composite
def _compressed_wires(draw: st.DrawFn) -> bytes:
    """Messages of a client that compresses some of them, in frames, with other frames between, and changed at times."""
    deflater = zlib.compressobj(wbits=-12)
    wire = b""
    for _ in range(draw(st.integers(0, 5))):
        text = draw(st.one_of(st.text(max_size=40), st.sampled_from(["a" * 3000, "\u00e9" * 400])))
        payload, flags = text.encode(), 0
        if draw(st.booleans()):
            payload = (deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]
            flags = RSV1
        parts = split(payload, draw(st.lists(st.integers(0, 3000), max_size=3)))
        for place, part in enumerate(parts):
            opcode = 0 if place else draw(st.sampled_from([TEXT, BINARY]))
            ends = FIN if place == len(parts) - 1 else 0
            wire += frame(opcode, part, flags=(0 if place else flags) | ends, mask=draw(MASKS) or b"mask")
            if draw(st.integers(0, 5)) == 0:
                wire += draw(st.one_of(good_frames(), frames()))
    if wire and draw(st.integers(0, 2)) == 0:
        place = draw(st.integers(0, len(wire)))
        wire = wire[:place] + draw(st.binary(max_size=3)) + wire[place + draw(st.integers(0, 3)) :]
    return wire


def _compressed_cases() -> st.SearchStrategy[Case]:
    return st.fixed_dictionaries(
        {
            "kind": st.just("compressed"),
            "wire": _compressed_wires().map(lambda data: data.decode("latin-1")),
            "cuts": PLACES,
            "max_size": st.sampled_from([0, 10, 1000, 1 << 20]),
            "takeover": st.booleans(),
        }
    )


def _check_compressed(case: Case) -> None:
    wire, max_size = case["wire"].encode("latin-1"), case["max_size"]

    def agreed() -> Deflate:
        return Deflate(max_size, client_bits=12, client_takeover=case["takeover"])

    limits = WebSocketLimits(max_size)
    expected = read_frames([wire], limits=limits, deflate=agreed())
    for pieces in (split(wire, case["cuts"]), bytewise(wire)):
        reading = read_frames(pieces, limits=limits, deflate=agreed())
        assert reading.events == expected.events
        # Of several faults in one frame, which is found first depends on how much is inflated at once.
        assert (reading.failure is None) == (expected.failure is None)
    for event in expected.events:
        if isinstance(event, (str, bytes)):
            assert len(event.encode() if isinstance(event, str) else event) <= max_size


# --- handshakes ---

_NAMES = st.sampled_from(
    [
        "Upgrade",
        "Connection",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "Content-Length",
    ]
)
_PIECES = st.sampled_from(
    [
        "websocket",
        "Upgrade",
        "dGhlIHNhbXBsZSBub25jZQ==",
        "13",
        "8",
        "permessage-deflate",
        "client_max_window_bits",
        "server_max_window_bits=9",
        "server_no_context_takeover",
        "=10",
        '"',
        "\\",
        "chat",
        ";",
        ",",
        "=",
        " ",
        "\t",
        "\x80",
        "0",
        "a",
    ]
)
_GOOD = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


@st.composite
def handshakes(draw: st.DrawFn) -> list[list[str]]:
    """The fields of a handshake: mostly a good one's, with others put in and values made of pieces."""
    fields = [[name, value] for name, value in _GOOD.items() if draw(st.integers(0, 19))]
    for _ in range(draw(st.integers(0, 3))):
        value = "".join(draw(st.lists(_PIECES, max_size=6)))
        fields.insert(draw(st.integers(0, len(fields))), [draw(_NAMES), value])
    return fields


def _handshake_cases() -> st.SearchStrategy[Case]:
    return st.fixed_dictionaries(
        {
            "kind": st.just("handshake"),
            "line": st.sampled_from(["GET / HTTP/1.1"] * 8 + ["POST / HTTP/1.1", "GET / HTTP/1.0"]),
            "fields": handshakes(),
        }
    )


def _check_handshake(case: Case) -> None:
    """It is refused with a status, or accepted with an answer that is a 101; nothing else comes out."""
    fields = [f"{name}: {value}".encode("latin-1") for name, value in case["fields"]]
    outcome = read_wire([request(*fields, line=case["line"].encode())])
    for reading in outcome.readings:
        handshake = _accepted(reading.head)
        if handshake is None:
            continue
        deflate = negotiate_deflate(handshake.extensions, 1000)
        for subprotocol in (None, *handshake.subprotocols):
            answer = accept_response(
                handshake,
                subprotocol=subprotocol,
                headers=(),
                extension=None if deflate is None else deflate.response,
                defaults=_DEFAULTS,
                date=None,
            )
            assert answer.startswith(b"HTTP/1.1 101 ")
            assert answer.count(b"\r\n\r\n") == 1
        if "not offered" not in handshake.subprotocols:
            try:
                accept_response(
                    handshake, subprotocol="not offered", headers=(), extension=None, defaults=_DEFAULTS, date=None
                )
            except LocalProtocolError:
                continue
            raise AssertionError("a subprotocol that was not offered was accepted")


def _accepted(head: RequestHead) -> Handshake | None:
    """The handshake, if it is one; else it must have been refused, by an answer with a status of its own."""
    try:
        return read_handshake(head)
    except RemoteProtocolError as error:
        answer = refusal(head, error, _DEFAULTS, None)
    assert answer.startswith(b"HTTP/1.1 4")
    return None


_CHECKS = {"plain": _check_plain, "compressed": _check_compressed, "handshake": _check_handshake}


def cases() -> st.SearchStrategy[Case]:
    return st.one_of(_plain_cases(), _plain_cases(), _compressed_cases(), _handshake_cases())


def check(case: Case) -> None:
    """The case's kind says what has to hold; nothing but a refusal may be raised in any of them."""
    _CHECKS[case["kind"]](case)
