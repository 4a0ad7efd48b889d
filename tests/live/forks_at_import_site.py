"""An application that forks during its import, and is sent signals in each moment of a part of that."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings
from typing import TYPE_CHECKING

from asgiserve.process.taken_signals import TakenSignals
from tests.live.saying import say

if TYPE_CHECKING:
    from types import FrameType

    from asgiserve.types import Receive, Scope, Send

NUMBER = signal.Signals[os.environ["SIGNAL"]]
PROCESS = os.getpid()
PART = getattr(TakenSignals, os.environ["MOMENT"]).__code__
SLOW = threading.Thread.start.__code__


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotImplementedError


def every_moment(frame: FrameType, event: str, _: object) -> None:
    """At each call in it, in and out; not in the child, which shares some of it."""
    if os.getpid() != PROCESS:
        return
    if frame.f_code is PART:
        signal.raise_signal(NUMBER)
    elif frame.f_code is SLOW and event == "return":
        time.sleep(0.1)  # as if others had the processor


say("site: imported")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # since Python 3.12: that it is a risk to fork where there are threads
    sys.setprofile(every_moment)
    child = os.fork()
    sys.setprofile(None)
if not child:
    os._exit(0)
os.waitpid(child, 0)
time.sleep(60)
