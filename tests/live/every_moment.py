"""A program that runs a command line of asgiserve with one more Ctrl+C and one more SIGTERM at each call of a function,
in and out: from the moment on in which nobody hears of signals any more, to the interpreter's end.

Its words are the command, as `tests/live/servers.py` makes it. At the end it says how many moments there were.
"""

from __future__ import annotations

import atexit
import os
import runpy
import signal
import sys
from typing import TYPE_CHECKING

sys.path[0] = os.getcwd()

from asgiserve.process.taken_signals import TakenSignals  # noqa: E402
from tests.live.saying import say  # noqa: E402

if TYPE_CHECKING:
    from types import FrameType

BLOCK = TakenSignals.received.__wrapped__.__code__  # type: ignore[attr-defined]
"""Entered where the event loop begins to hear of signals, and once more where it ends to."""


class EveryMoment:
    def __init__(self) -> None:
        self._entered = 0
        self._moments = 0

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is BLOCK:
            self._entered += 1
        if self._entered > 1:
            self._moments += 1
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)

    def say(self) -> None:
        say(f"moments: {self._moments}")


every_moment = EveryMoment()
atexit.register(every_moment.say)
sys.argv[:] = sys.argv[sys.argv.index("asgiserve") :]
sys.setprofile(every_moment)
runpy.run_module("asgiserve", run_name="__main__", alter_sys=True)
