"""The null device in the place of standard streams that are of no use: those that whoever started the process has
closed (`asgiserve … >&-`), and at the end those that are broken (`asgiserve … | head`).

cli.py and starting.py open the former before anything else is opened; worker processes inherit them. cli.py and each
worker give up the latter: a program that calls `run()` has its own end.
"""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from typing import Final

__all__ = ["give_up_broken_streams_at_exit", "open_closed_streams", "tell"]

_STREAMS: Final = {"stdin": "r", "stdout": "w", "stderr": "w"}
"""In the order of their descriptors' numbers."""


def open_closed_streams() -> None:
    """Open the null device for each that is closed.

    Without it the first sockets get these numbers: what somebody prints goes to a client, and libuv, in uvloop, ends
    the process when it is to close one.
    """
    for name, mode in _STREAMS.items():
        if getattr(sys, name) is None:  # which is how Python says so
            number = os.open(os.devnull, os.O_RDWR)  # the lowest that is free
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, mode, errors="replace", closefd=False))  # noqa: SIM115  # for as long as the process


def tell(text: str) -> None:
    """Write a line to stderr, or to stdout where the application has put None in its place.

    If that takes none, the exit code has to say it alone.
    """
    stream = sys.stdout if sys.stderr is None else sys.stderr
    if stream is None:
        return
    with suppress(OSError):
        # In one write: print() makes two where PYTHONUNBUFFERED is set, and another worker's line comes between.
        stream.write(f"{text}\n")
        stream.flush()


def give_up_broken_streams_at_exit() -> None:
    """When this process ends, let it do so with its own exit code, although a stream cannot be written.

    Python tries once more to write what is left for stdout and stderr, and ends with 120 where it cannot. Whether
    a stream takes that shows only by writing it, which may take as long as its reader likes: so it is done where Python
    would do it, when nothing but the process's end is left.
    """
    atexit.unregister(_give_up_broken_streams)
    atexit.register(_give_up_broken_streams)


def _give_up_broken_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue
        try:
            if not stream.closed:
                stream.flush()
        except OSError:
            with suppress(Exception):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream.fileno())
                os.close(null)
        except Exception:
            pass  # something of the application's in its place, which may have no more than write()
