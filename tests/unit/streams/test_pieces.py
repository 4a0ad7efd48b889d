"""How bytes are cut up and put together: always the same bytes, in pieces of the right sizes."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from asgiserve.streams.pieces import JOIN_LIMIT, SLICE_SIZE, pieces

sizes = st.integers(0, 40) | st.sampled_from([JOIN_LIMIT - 1, JOIN_LIMIT, JOIN_LIMIT + 1, SLICE_SIZE + 1])
buffers = st.lists(st.builds(lambda size, fill: bytes([fill]) * size, sizes, st.integers(0, 255)))


@given(buffers)
def test_pieces_are_the_same_bytes_in_order(given_buffers: list[bytes]) -> None:
    assert b"".join(pieces(given_buffers)) == b"".join(given_buffers)


@given(buffers)
def test_pieces_are_never_empty_and_small_neighbours_are_joined(given_buffers: list[bytes]) -> None:
    lengths = [len(piece) for piece in pieces(given_buffers)]
    assert all(lengths)
    # Two neighbours that would fit in one piece are one piece.
    assert all(left + right > JOIN_LIMIT for left, right in itertools.pairwise(lengths))


def test_a_large_buffer_is_not_copied() -> None:
    large = bytes(JOIN_LIMIT + 1)
    assert any(piece is large for piece in pieces([b"head", large, b"tail"]))
