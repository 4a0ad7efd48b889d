"""The end of the process within a bound that does not depend on the event loop.

A stop runs on the loop, so it needs one that turns; and when the loop is done, Python waits for threads before it lets
the process end. An application that blocks the loop, or leaves a thread behind that goes on, would keep the process for
ever. So a thread of our own watches the clock from the first signal on, says what keeps the process, and ends it.

Used by `signals.py` and by the supervisor, and by nobody who is a guest in another program.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Final

from asgiserve import logs
from asgiserve.backend import run_ended
from asgiserve.process.countdown import LOOK_SECONDS, Countdown
from asgiserve.process.own_thread import start_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["LastResort", "leave"]

_LAST_WORD_SECONDS: Final = 1.0
"""How long the last lines may take: whoever keeps the process may hold a lock of the logs, or stderr be full."""

_FRAMES: Final = 12
"""How many calls of a stack are shown, the last ones: the application's are among them, and not all of the loop's."""

_IN_THE_WAY: Final = "A call of the application's that blocks it belongs into a thread (anyio.to_thread.run_sync)."
"""What there is to say of an event loop that the application runs in."""


class LastResort:
    """Ends this process when it does not end by itself. Made and started inside the running loop."""

    def __init__(self, release: Callable[[], None], advice: str = _IN_THE_WAY) -> None:
        """`release` removes the files that the process has made. It is called beside the event loop. `advice` is for
        whoever reads where the loop is."""
        self._release = release
        self._advice = advice
        self.code = 1
        """The exit code that it leaves with."""
        self.served = False
        """The server has ended; what is left is the end of the loop and of the process."""
        self._countdown = Countdown()
        self._asleep = threading.Lock()
        """Held until there is something to wait for. Unlike an event's, its release may happen in a signal handler."""
        self._silent = threading.Lock()
        """Held until the last lines are to be written."""
        self._speaking = threading.Lock()
        """Held until they are."""
        self._run_ended = run_ended()

    def start(self) -> None:
        """Raises StartupError."""
        for one in (self._asleep, self._silent, self._speaking):
            one.acquire()
        # Both now: from Python 3.12 on no thread can be started any more when the main one has come to its end.
        for task in (self._watch, self._speak):
            start_thread("asgiserve's last resort", task)

    def end_within(self, seconds: float) -> None:
        """The process ends within so many seconds. Never lengthens what is left. May be called by signal handlers."""
        self._countdown.end_within(seconds)
        try:
            self._asleep.release()
        except RuntimeError:
            pass  # it watches already

    def _watch(self) -> None:
        self._asleep.acquire()
        while not self._countdown.over():
            time.sleep(LOOK_SECONDS)
        if self._run_ended() and not _python_ends():
            return  # this is not the end of the process: a program has called the command line, and goes on
        try:
            self._silent.release()
            self._speaking.acquire(timeout=_LAST_WORD_SECONDS)
            self._release()
        finally:
            os._exit(self.code)

    def _speak(self) -> None:
        self._silent.acquire()
        try:
            self._say_what_is_left()
        finally:
            self._speaking.release()

    def _say_what_is_left(self) -> None:
        main, frames = threading.main_thread(), sys._current_frames()
        if not self.served:
            logs.log_error(
                f"The stop has come to no end, and the event loop is here. {self._advice}\n"
                f"{_stack(frames.get(main.ident or 0))}"
            )
        else:
            for thread in threading.enumerate():
                if thread is not main and not thread.daemon:
                    where = _stack(frames.get(thread.ident or 0))
                    logs.log_error(f"The thread {thread.name!r} goes on after the server's end:\n{where}")
        logs.log_error("Leaving without waiting for it.")
        logging.shutdown()


def leave(release: Callable[[], None]) -> None:
    """Applications run on although they were cancelled: leave without them, so that the stop has an end."""
    release()
    logs.log_error("Leaving without what goes on although it was cancelled.")
    logging.shutdown()
    os._exit(1)


def _python_ends() -> bool:
    """Whether the program is over, and what is left is Python's own end."""
    main = threading.main_thread()
    # The main thread counts as alive until the jobs of every concurrent.futures pool are done. What waits for them is
    # called by the interpreter, and so stands below no program: a program's first call is never one of this module.
    frame = sys._current_frames().get(main.ident or 0)
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    return not main.is_alive() or (frame is not None and frame.f_globals is vars(threading))


def _stack(frame: FrameType | None) -> str:
    return "".join(traceback.format_stack(frame, limit=_FRAMES)).rstrip("\n")
