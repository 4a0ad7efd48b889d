"""Chunked bodies: whole chunks are taken by the short way, and it says what the pieces would have said."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asgiserve.config import Limits
from asgiserve.errors import RemoteProtocolError
from asgiserve.events import NEED_DATA
from asgiserve.protocols.http1.body import ChunkedBody
from asgiserve.protocols.http1.buffer import WireBuffer
from asgiserve.protocols.http1.chunks import ChunkLexer
from asgiserve.protocols.http1.fields import FieldLines

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMITS = Limits(request_body=5_000, request_head=200, request_fields=2)


class PieceByPiece(ChunkedBody):
    """Reads as if there were no short way."""

    def whole_chunks(self, buffer: WireBuffer) -> list[bytes]:
        return []


def outcome(body: ChunkedBody, parts: Sequence[bytes]) -> tuple[bytes, str, bytes]:
    """The data of a body that comes in these parts, how it ends, and what is left behind it."""
    buffer, data = WireBuffer(), b""
    for part in parts:
        buffer.append(part)
        try:
            while (event := body.read(buffer)) is not NEED_DATA:
                data += event.data
                assert type(event.data) is bytes
                if not event.more:
                    return data, "complete", buffer.peek(len(buffer))
        except RemoteProtocolError as error:
            return data, f"{error.status} {error}", b""
    return data, "open", buffer.peek(len(buffer))


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


TINY = chunk(b"x") * 3_000
"""Three bytes of data in each six of framing: within what a chunk may cost."""
COSTLY = (b"1;" + b"e" * 100 + b"\r\nx\r\n") * 200

framing = st.lists(
    st.one_of(
        st.binary(max_size=40).map(chunk),
        st.binary(min_size=200, max_size=2_000).map(chunk),
        st.sampled_from(
            [
                b"A\r\n0123456789\r\n",
                b"0a\r\n0123456789\r\n",
                b"5;name=value\r\nabcde\r\n",
                b"00000000000000005\r\nabcde\r\n",
                b"5\nabcde\r\n",
                b"5\r\nabcdeX\r\n",
                b"5\r\nabcde\n",
                b" 5\r\nabcde\r\n",
                b"ffffffff\r\n",
                b"0\r\n",
                b"\r\n",
                b"a: b\r\n",
                b"x",
            ]
        ),
    ),
    max_size=12,
).map(b"".join)


@given(wire=framing, ends=st.sampled_from([b"0\r\n\r\n", b"0\r\nx-trailer: 1\r\n\r\nGET", b""]), data=st.data())
@example(wire=TINY, ends=b"0\r\n\r\n", data=None)
@example(wire=COSTLY, ends=b"0\r\n\r\n", data=None)
@example(wire=chunk(b"x" * 5_000), ends=b"0\r\n\r\n", data=None)
@example(wire=chunk(b"x" * 5_001), ends=b"0\r\n\r\n", data=None)
def test_the_short_way_says_what_the_pieces_say(wire: bytes, ends: bytes, data: st.DataObject | None) -> None:
    wire += ends
    cuts: list[int] = [] if data is None else data.draw(st.lists(st.integers(0, len(wire)), max_size=4).map(sorted))
    parts = [wire[start:end] for start, end in pairwise([0, *cuts, len(wire)])]
    fields = FieldLines()
    assert outcome(ChunkedBody(LIMITS, fields), parts) == outcome(PieceByPiece(LIMITS, fields), parts)


def test_chunks_that_have_come_as_a_whole_are_one_event() -> None:
    buffer = WireBuffer()
    buffer.append(chunk(b"one") + chunk(b"two") + b"5\r\nth")
    event = ChunkedBody(Limits(), FieldLines()).read(buffer)
    assert event is not NEED_DATA
    assert (event.data, event.more) == (b"onetwoth", True)


@pytest.mark.parametrize(
    ("wire", "taken"),
    [
        (chunk(b"one") + chunk(b"two"), [b"one", b"two"]),
        (chunk(b"one") + b"3;e=1\r\ntwo\r\n", [b"one"]),
        (chunk(b"one") + b"3\r\ntwo", [b"one"]),
        (chunk(b"one") + b"0\r\n\r\n", [b"one"]),
        (b"3;e=1\r\none\r\n", []),
        (b"", []),
    ],
)
def test_the_short_way_ends_at_what_is_not_plain_and_whole(wire: bytes, taken: list[bytes]) -> None:
    buffer = WireBuffer()
    buffer.append(wire)
    assert ChunkLexer(Limits(), FieldLines()).whole_chunks(buffer) == taken
    assert len(buffer) == len(wire) - len(b"".join(chunk(data) for data in taken))


def test_what_the_short_way_has_taken_counts_for_the_limits() -> None:
    body = ChunkedBody(Limits(request_body=6), FieldLines())
    buffer = WireBuffer()
    buffer.append(chunk(b"one") + chunk(b"two") + chunk(b"!"))
    event = body.read(buffer)
    assert event is not NEED_DATA
    assert event.data == b"onetwo"
    with pytest.raises(RemoteProtocolError, match="too large") as caught:
        body.read(buffer)
    assert caught.value.status == 413
