"""An application that has processes of its own, forked from the server's."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import warnings
from functools import partial
from typing import TYPE_CHECKING

from tests.live.applications import lifespan, respond

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Forks a process, sends it the signal that the path names, and answers with the code that it ends with.

    With a query the signal comes at once, else when the process waits.
    """
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # since Python 3.12: that it is a risk to fork where there are threads
        waits, begun = os.pipe()
        child = multiprocessing.get_context("fork").Process(target=partial(_wait, begun))
        child.start()
    assert child.pid is not None
    if not scope["query_string"]:
        os.read(waits, 1)
    os.kill(child.pid, signal.Signals[scope["path"][1:]])
    child.join(10)
    code = child.exitcode
    child.kill()
    os.close(waits)
    os.close(begun)
    await respond(send, 200, str(code).encode())


def _wait(begun: int) -> None:
    try:
        os.write(begun, b"x")
        # Short sleeps: a signal that comes right before one is seen behind it.
        for _ in range(6000):
            time.sleep(0.01)
    except KeyboardInterrupt:
        os._exit(77)
