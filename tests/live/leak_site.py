"""An application to be attacked: its clients can leave at any moment, and /count tells what its process holds.

Served by import string, so that the process is the server's alone: `tests/live/leaks.py` asks it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import tracemalloc
from typing import TYPE_CHECKING, Final

import anyio

from asgiserve.backend import current_backend
from tests.live.applications import BLOCK, lifespan, respond

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asgiserve.types import Receive, Scope, Send

__all__ = ["EXIT_CODE", "LARGE", "app"]

LARGE: Final = BLOCK * 160
"""10 MiB, once for all responses."""

EXIT_CODE: Final = 7


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "websocket":
        await _echo(receive, send)
    else:
        await _REPLIES[scope["path"]](receive, send)


async def _echo(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def _hello(receive: Receive, send: Send) -> None:
    await respond(send, 200, b"hello")


async def _read(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        if not message["more_body"]:
            break
    await respond(send, 200, b"read")


async def _wait(receive: Receive, send: Send) -> None:
    """Answers nothing, until the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _whole(receive: Receive, send: Send) -> None:
    await respond(send, 200, LARGE)


async def _stream(receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(160):
        await send({"type": "http.response.body", "body": BLOCK, "more_body": True})
    await send({"type": "http.response.body"})


async def _endless(receive: Receive, send: Send) -> None:
    """Awaits nothing but `send()`, for as long as it is let."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": BLOCK, "more_body": True})


async def _linger(receive: Receive, send: Send) -> None:
    """Goes on after its response."""
    await respond(send, 200, b"done")
    await anyio.sleep(0.02)


async def _fail(receive: Receive, send: Send) -> None:
    raise SystemExit("wrong")


async def _raise_in_a_task(error: BaseException) -> None:
    async def fail() -> None:
        raise error

    async with anyio.create_task_group() as group:
        group.start_soon(fail)


async def _be_closed(receive: Receive, send: Send) -> None:
    """asyncio throws what a task has raised into whoever awaits it, and this closes that one's coroutines."""

    async def fail() -> None:
        raise GeneratorExit

    if current_backend() == "trio":
        await fail()
    else:
        await asyncio.create_task(fail())


async def _exit_in_a_task(receive: Receive, send: Send) -> None:
    await _raise_in_a_task(SystemExit(EXIT_CODE))


async def _interrupt_in_a_task(receive: Receive, send: Send) -> None:
    await _raise_in_a_task(KeyboardInterrupt())


async def _leave_open(receive: Receive, send: Send) -> None:
    group = anyio.create_task_group()
    await group.__aenter__()
    group.start_soon(anyio.sleep, 0.01)
    await respond(send, 200, b"open")


def _spare_guards(running: Sequence[anyio.TaskInfo]) -> int:
    """How many guards have no task: of a connection that has just ended, for the next."""
    parents = {task.parent_id for task in running}
    return sum(str(task.name).endswith("_Guard.run") and task.id not in parents for task in running)


async def _count(receive: Receive, send: Send) -> None:
    gc.collect()
    running = anyio.get_running_tasks()
    spare = _spare_guards(running)
    held = {
        "tasks": len(running) - spare,
        "spare": spare,
        "descriptors": len(os.listdir("/dev/fd")),
        "memory": tracemalloc.get_traced_memory()[0] if tracemalloc.is_tracing() else 0,
    }
    await respond(send, 200, json.dumps(held).encode())


async def _trace(receive: Receive, send: Send) -> None:
    """Count memory from here on: it makes everything slower, so only who asks for it pays."""
    if not tracemalloc.is_tracing():
        gc.collect()
        gc.freeze()  # what is here stays, and need not be looked at each time that somebody counts
        tracemalloc.start()
    await respond(send, 200, b"")


_REPLIES: Final = {
    "/": _hello,
    "/read": _read,
    "/wait": _wait,
    "/whole": _whole,
    "/stream": _stream,
    "/endless": _endless,
    "/linger": _linger,
    "/fail": _fail,
    "/closed": _be_closed,
    "/exit-in-a-task": _exit_in_a_task,
    "/interrupt-in-a-task": _interrupt_in_a_task,
    "/leave-open": _leave_open,
    "/count": _count,
    "/trace": _trace,
}
