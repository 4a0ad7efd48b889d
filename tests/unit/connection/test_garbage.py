"""A connection that is over leaves nothing to the garbage collector: what it kept is freed when its task ends.

Fifty objects in cycles for each connection cost a third of what a request on a connection of its own costs.
"""

from __future__ import annotations

import gc
from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.support.serving import serving
from tests.support.websocket import TEXT, close_frame, frame, handshake
from tests.unit.connection.applications import get, post, read_body, reply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asgiserve.types import Receive, Scope, Send
    from tests.support.serving import Client

pytestmark = pytest.mark.anyio


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await talk(scope["path"], receive, send)
    elif scope["path"] == "/raise":
        raise ValueError
    elif scope["path"] == "/wait":
        await read_body(receive)
        await receive()  # not a sleep: on Python 3.12 trio's leaves a cycle behind
    else:
        await reply(send, await read_body(receive))


async def talk(path: str, receive: Receive, send: Send) -> None:
    await receive()
    if path == "/refuse":
        return
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
    if path == "/linger":
        async with anyio.create_task_group() as group:
            group.start_soon(receive)
            await anyio.wait_all_tasks_blocked()


async def closed_by_the_server(client: Client) -> None:
    await client.send(get("/", "Connection: close"))
    await client.read_all()


async def closed_by_the_client_when_idle(client: Client) -> None:
    await client.get()
    await client.send(post(b"x"))
    await client.response()
    await client.stream.aclose()


async def reset_while_idle(client: Client) -> None:
    await client.get()
    client.stream.abort()


async def reset_while_the_application_runs(client: Client) -> None:
    await client.send(get("/wait"))
    await anyio.sleep(0.5)
    client.stream.abort()


async def refused(client: Client) -> None:
    await client.send(b"BAD\r\n\r\n")
    await client.read_all()


async def failed(client: Client) -> None:
    await client.get("/raise")
    await client.read_all()


async def timed_out(client: Client) -> None:
    await client.get()
    await client.read_all()


async def echoed(client: Client, path: str = "/") -> None:
    await client.send(handshake(path))
    await client.read_until(b"\r\n\r\n")
    await client.send(frame(TEXT, b"hello"))
    assert (await client.read()).endswith(b"hello")


async def websocket_closed_by_the_client(client: Client) -> None:
    await echoed(client)
    await client.send(close_frame())
    await client.read_all()


async def websocket_whose_application_goes_on(client: Client) -> None:
    await echoed(client, "/linger")
    await client.send(close_frame())
    await client.read_all()


async def websocket_reset(client: Client) -> None:
    await echoed(client)
    client.stream.abort()


async def websocket_refused(client: Client) -> None:
    await client.send(handshake("/refuse"))
    await client.read_all()


ENDS = [
    closed_by_the_server,
    closed_by_the_client_when_idle,
    reset_while_idle,
    reset_while_the_application_runs,
    refused,
    failed,
    timed_out,
    websocket_closed_by_the_client,
    websocket_whose_application_goes_on,
    websocket_reset,
    websocket_refused,
]


def ours(objects: list[Any]) -> Counter[str]:
    return Counter(kind.__qualname__ for kind in map(type, objects) if kind.__module__.startswith("asgiserve."))


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
async def test_a_connection_that_is_over_leaves_no_cycles_behind(end: Callable[[Client], Awaitable[None]]) -> None:
    async with serving(app, lifespan="off", timeout_keep_alive=5) as served:
        await end(served.connect())  # what is made once is made
        await anyio.sleep(30)
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            await end(served.connect())
            await anyio.sleep(30)
            gc.collect()
            left = ours(gc.garbage)
        finally:
            gc.set_debug(0)
            gc.enable()
            gc.garbage.clear()
    # A stream in memory and its other end refer to each other.
    assert {name for name in left if name not in ("MemoryStream", "Faulty")} == set()
