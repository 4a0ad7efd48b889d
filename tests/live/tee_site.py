"""An application that has put something of its own in the place of stdout and stderr, as recipes for logging do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from asgiserve.demo import app

if TYPE_CHECKING:
    from typing import TextIO

__all__ = ["app"]


class Tee:
    """Knows how to write, and no more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()


sys.stdout = Tee(sys.stdout)  # type: ignore[assignment]
sys.stderr = Tee(sys.stderr)  # type: ignore[assignment]
