"""An application that says which process answers, and does to its process what it is asked to."""

from __future__ import annotations

import os
import signal
import time
import warnings
from typing import TYPE_CHECKING, Any, Final

import anyio

from tests.live.applications import lifespan, respond
from tests.live.saying import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from asgiserve.types import Receive, Scope, Send

_KEPT: Final[list[bytes]] = []


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    path = scope["path"]
    if path == "/body":
        say("request: entered")
        while (await receive()).get("more_body"):
            pass
    elif path == "/stuck":
        say("request: entered")
        await anyio.sleep_forever()
    elif path == "/block":
        block()
    elif path == "/grow":
        _KEPT.append(bytes(1) * (64 << 20))
    elif path == "/exit":
        os._exit(7)
    elif path == "/fork":
        await respond(send, 200, str(fork()).encode())
        return
    await respond(send, 200, str(os.getpid()).encode())


def wsgi(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
    """Answers what a WSGI application is told about processes."""
    start_response("200 OK", [("Content-Length", "4")])
    return [str(environ["wsgi.multiprocess"]).encode()]


def block() -> None:
    say("request: blocks the loop")
    time.sleep(3600)


def fork() -> int:
    """A process that holds all that this one has, until it is killed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # since Python 3.12: that it is a risk to fork where there are threads
        child = os.fork()
    if not child:
        signal.alarm(60)
        while True:
            signal.pause()
    return child


async def holds_up_its_supervisor(scope: Scope, receive: Receive, send: Send) -> None:
    """Serves while its supervisor knows nothing of it."""
    if scope["type"] == "lifespan":
        os.kill(os.getppid(), signal.SIGSTOP)
    await app(scope, receive, send)


async def dies_young(scope: Scope, receive: Receive, send: Send) -> None:
    """Starts, and ends its process as soon as it is ready."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await anyio.sleep(0.05)
    os._exit(5)
