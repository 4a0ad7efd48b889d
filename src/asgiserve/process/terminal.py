"""A terminal that stops background jobs which write to it (`stty tostop`), and a process that takes SIGTTOU as a wish.

The kernel sends that signal for each attempt to write. Where it has a handler it stops nobody, the write has failed,
and Python tries again for ever. Called by taken_signals.py.
"""

from __future__ import annotations

import os
import signal

__all__ = ["writes_let_through"]


def writes_let_through() -> bool:
    """Whether this SIGTTOU, whose handler calls us, came of a write, and no longer will.

    The kernel lets a thread write that blocks the signal, and handlers are called in the one that logs. A wish of
    somebody's still comes, by another thread, such as those of `last_resort.py`.
    """
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    if signal.SIGTTOU in blocked or not any(map(_stops_us, (1, 2))):
        return False
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTTOU,))
    return True


def _stops_us(number: int) -> bool:
    """Whether this descriptor is a terminal that we must not write to now."""
    import termios  # not there on Windows, where nobody asks

    try:
        return os.tcgetpgrp(number) != os.getpgrp() and bool(termios.tcgetattr(number)[3] & termios.TOSTOP)
    except (OSError, termios.error):
        return False  # no terminal, or not that of our session
