"""What a worker's Python is started with, called by process.py. What runs there is worker.py."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["interpreter_options", "worker_words"]

_BEGIN: Final = "import sys; sys.path[:] = sys.argv[3:]; from asgiserve.supervise.worker import main; main()"
"""What a worker runs. It imports from where the supervisor does, be that a zip file, or a directory that a program has
put into its path: by itself it would find another asgiserve, or none."""

_LETTERS: Final = re.compile("-(?=.)([^cmWX]*)([cmWX]?)(.*)", re.DOTALL)
"""A word of options for Python: flags, and perhaps one at last that takes what comes then."""


def worker_words(descriptors: Iterable[int]) -> list[str]:
    """The command line of a worker that has these descriptors."""
    # -P: nothing in the current directory may stand in for a module of Python's before the path is set.
    return [sys.executable, *interpreter_options(), "-P", "-c", _BEGIN, *map(str, descriptors), *sys.path]


def interpreter_options() -> list[str]:
    """Python's own options that we were started with, `-X dev` and `-W error` among them: a worker has them too."""
    options: list[str] = []
    words = iter(sys.orig_argv[1:])
    for word in words:
        if word.startswith("--"):
            options += [word, next(words, "")] if word == "--check-hash-based-pycs" else [word]
            continue
        letters = _LETTERS.fullmatch(word)
        if letters is None:  # a program
            break
        flags, takes, value = letters.groups()
        if takes in ("c", "m"):  # a program as well, behind flags of one word with it, as in -Im
            options += [f"-{flags}"] if flags else []
            break
        options += [word, next(words, "")] if takes and not value else [word]
    return options
