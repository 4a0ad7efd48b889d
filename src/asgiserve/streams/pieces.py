"""How bytes are cut up and put together before they are sent: two sizes, and no I/O.

The streams call it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["JOIN_LIMIT", "SLICE_SIZE", "pieces"]

SLICE_SIZE: Final = 65536
"""The most that is handed over at once. On Python 3.11 `transport.write` copies all that the kernel does
not take: 50 slow readers of 10 MB cost 296 MB that way, and 2 MB in slices."""

JOIN_LIMIT: Final = 16384
"""Up to here, copying buffers into one is cheaper than another system call; also the size of a TLS record."""


def pieces(buffers: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in few pieces: neighbours are joined up to JOIN_LIMIT, larger buffers left whole."""
    small: list[bytes] = []
    size = 0
    for buffer in buffers:
        if size + len(buffer) > JOIN_LIMIT:
            if size:
                yield b"".join(small)
            small.clear()
            size = 0
        if len(buffer) > JOIN_LIMIT:
            yield buffer
        else:
            small.append(buffer)
            size += len(buffer)
    if size:
        yield b"".join(small)
