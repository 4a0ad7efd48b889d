"""The null device in the place of standard streams that whoever started the process has closed (`asgiserve … >&-`).

Called by cli.py and starting.py before anything else is opened; worker processes inherit what it opens.
"""

from __future__ import annotations

import os
import sys
from typing import Final

__all__ = ["open_closed_streams"]

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
