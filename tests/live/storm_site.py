"""An application that says where its process is, and takes a while for each phase of it: for tests that send signals
then. The phase that STORM_SITE_STAYS_IN names takes so long that only a signal ends it."""

from __future__ import annotations

import atexit
import os
import time
from typing import TYPE_CHECKING

import anyio

from tests.live.saying import say

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send

MOMENT = 0.1
"""Seconds that each phase takes."""


def duration(phase: str) -> float:
    """In seconds."""
    return 60.0 if os.environ.get("STORM_SITE_STAYS_IN") == phase else MOMENT


def work(seconds: float) -> None:
    """What an import does, and the interpreter's exit: instructions, between which signals come."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "lifespan"
    await receive()
    say("site: starts")
    await anyio.sleep(duration("startup"))
    await send({"type": "lifespan.startup.complete"})
    await receive()
    say("site: stops")
    with anyio.CancelScope(shield=True):
        await anyio.sleep(MOMENT)
    await send({"type": "lifespan.shutdown.complete"})


say("site: imported")
atexit.register(work, MOMENT)
work(duration("import"))
