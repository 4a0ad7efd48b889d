"""A name in a TLS handshake (SNI) that is not ASCII, which no host has: nothing is written about it.

CPython decodes the name for a context's `sni_callback`. Where that fails it refuses the handshake, which is right, and
tells `sys.unraisablehook`, which writes five lines to stderr, past every log: for whoever wants to fill a disk. Called
by `tls.py` around what OpenSSL does with a client's first words.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["names_unsaid"]


class _Names:
    """Holds the hook for as long as anybody is within; several event loops may be, each in its thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._within = 0
        self._before: Callable[[sys.UnraisableHookArgs], object] = sys.unraisablehook

    def enter(self) -> None:
        with self._lock:
            self._within += 1
            if self._within == 1:
                self._before, sys.unraisablehook = sys.unraisablehook, self._said

    def leave(self) -> None:
        with self._lock:
            self._within -= 1
            if not self._within and sys.unraisablehook == self._said:  # nobody has put in another one
                sys.unraisablehook = self._before

    def _said(self, what: sys.UnraisableHookArgs) -> None:
        if not issubclass(what.exc_type, UnicodeDecodeError):
            self._before(what)


_names = _Names()


@contextmanager
def names_unsaid() -> Iterator[None]:
    """Within, an error of decoding that nobody can catch is not told. All others are."""
    _names.enter()
    try:
        yield
    finally:
        _names.leave()
