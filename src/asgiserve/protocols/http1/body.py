"""The ordinary path's body: so many bytes, as Content-Length said. Chunked bodies are read by h11_path.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgiserve.events import NEED_DATA, BodyChunk

if TYPE_CHECKING:
    from asgiserve.events import NeedData
    from asgiserve.protocols.http1.buffer import WireBuffer

__all__ = ["CountedBody"]


class CountedBody:
    """Hands out the bytes of a body as they come."""

    __slots__ = ("left",)

    def __init__(self, length: int) -> None:
        self.left = length

    def read(self, buffer: WireBuffer) -> BodyChunk | NeedData:
        data = buffer.take(self.left)
        if not data:
            return NEED_DATA
        self.left -= len(data)
        return BodyChunk(data, self.left > 0)
