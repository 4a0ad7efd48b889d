"""The files of PEP 3333: the request's body as `wsgi.input`, and `wsgi.file_wrapper` for files in a response.

Nothing here knows threads or event loops: who makes an input says by a callable how the next part comes.
"""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["FileWrapper", "body_file"]

_BUFFER_BYTES: Final = 65_536
"""What a stream gives at a time; a line is looked for in it."""


def body_file(begun: bytes, more: bool, pull: Callable[[], tuple[bytes, bool]]) -> IO[bytes]:
    """The body as a file: `begun` is what is there, and `pull` waits for the next part and says whether more follows.

    At most one part and one buffer are kept, so who does not read stops the client.
    """
    if not more:
        return io.BytesIO(begun)
    return io.BufferedReader(_Parts(begun, pull), _BUFFER_BYTES)


class _Parts(io.RawIOBase):
    """A body that comes in parts."""

    def __init__(self, begun: bytes, pull: Callable[[], tuple[bytes, bool]]) -> None:
        super().__init__()
        self._part = memoryview(begun)
        self._more = True
        self._pull = pull

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._part and self._more:
            data, self._more = self._pull()
            self._part = memoryview(data)
        target = memoryview(buffer)
        taken = self._part[: len(target)]
        target[: len(taken)] = taken
        self._part = self._part[len(taken) :]
        return len(taken)


class FileWrapper:
    """`wsgi.file_wrapper`: a file as an iterable of blocks, which closes it."""

    def __init__(self, file: Any, block_size: int = _BUFFER_BYTES) -> None:
        self._file = file
        self._block_size = block_size
        if hasattr(file, "close"):
            self.close: Callable[[], None] = file.close

    def __iter__(self) -> Iterator[bytes]:
        while block := self._file.read(self._block_size):
            yield block
