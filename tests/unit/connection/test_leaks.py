"""Thousands of connections that end in every way: nothing of them is left in the server, and no memory.

In memory and in virtual time, where every timeout is cheap. What a kernel has part in is in `tests/live/test_leaks.py`.
"""

from __future__ import annotations

import gc
import logging
import tracemalloc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio
import pytest

from tests.support.websocket import KEY, TEXT, close_frame, frame, handshake
from tests.unit.connection.applications import body, chunked, get, post, reply, serving_http, start

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from asgiserve.types import Receive, Scope, Send
    from tests.support.serving import Client, Serving

    End = Callable[[Client], Awaitable[None]]

pytestmark = [pytest.mark.anyio, pytest.mark.stress]

NOISE: Final = 64 * 1024
"""Bytes by which memory may grow in the second half of all connections: in the first half caches fill."""

AT_ONCE: Final = 25
LARGE: Final = bytes(200_000)
"""More than a connection in memory holds."""


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await talk(receive, send)
    else:
        await WAYS_OF_ANSWERING[scope["path"]](receive, send)


async def talk(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def hello(receive: Receive, send: Send) -> None:
    await reply(send, b"hello")


async def read(receive: Receive, send: Send) -> None:
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
    await reply(send, b"read")


async def wait(receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def wait_in_a_child(receive: Receive, send: Send) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(wait, receive, send)
        await body_in_parts(receive, send)


async def body_in_parts(receive: Receive, send: Send) -> None:
    await start(send)
    for _ in range(3):
        await body(send, b"part", more=True)
        await anyio.sleep(1)
    await body(send)


async def large(receive: Receive, send: Send) -> None:
    await reply(send, LARGE)


async def linger(receive: Receive, send: Send) -> None:
    await reply(send, b"done")
    await anyio.sleep(1)


async def fail(receive: Receive, send: Send) -> None:
    raise SystemExit("wrong")


async def fail_in_the_middle(receive: Receive, send: Send) -> None:
    await start(send)
    await body(send, b"half", more=True)
    raise ValueError("wrong")


async def fail_in_a_child(receive: Receive, send: Send) -> None:
    async def child() -> None:
        raise ValueError("wrong")

    async with anyio.create_task_group() as group:
        group.start_soon(child)


async def leave_open(receive: Receive, send: Send) -> None:
    group = anyio.create_task_group()
    await group.__aenter__()
    group.start_soon(anyio.sleep, 1)
    await reply(send, b"open")


async def take_too_long(receive: Receive, send: Send) -> None:
    await anyio.sleep(1000)


WAYS_OF_ANSWERING: Final[dict[str, Callable[[Receive, Send], Awaitable[None]]]] = {
    "/": hello,
    "/read": read,
    "/wait": wait,
    "/child": wait_in_a_child,
    "/parts": body_in_parts,
    "/large": large,
    "/linger": linger,
    "/fail": fail,
    "/fail-middle": fail_in_the_middle,
    "/fail-child": fail_in_a_child,
    "/open": leave_open,
    "/slow": take_too_long,
}


# --- how connections end: a name, what is sent, how many seconds later the client does what ----


async def leave(client: Client) -> None:
    await client.stream.aclose()


async def reset(client: Client) -> None:
    client.stream.abort()


async def end(client: Client) -> None:
    await client.stream.send_eof()
    await stay(client)


async def stay(client: Client) -> None:
    """Until the server ends it, reading whatever comes."""
    try:
        while True:
            await client.read()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        client.stream.abort()


async def read_nothing(client: Client) -> None:
    """Until every timeout must have passed."""
    await anyio.sleep(200)
    client.stream.abort()


ENDINGS: Final[dict[str, tuple[bytes, End]]] = {
    "answered": (get("/", "Connection: close"), stay),
    "kept and left": (get() * 2, leave),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", stay),
    "uploaded": (post(bytes(1000), "Connection: close", target="/read"), stay),
    "read by h11": (chunked(b"some", b"more", lines=["Connection: close"]), stay),
    "refused": (b"\x00\r\n\r\n", stay),
    "refused in a body": (chunked(b"some", end=False) + b"nonsense\r\n", stay),
    "lingering": (get("/linger") * 2, stay),
    "lingering, reset": (get("/linger"), reset),
    "reset before a byte": (b"", reset),
    "reset in a head": (get()[:10], reset),
    "reset in a body": (post(b"x", target="/read", length=1000), reset),
    "reset while it waits": (get("/wait"), reset),
    "reset while a child waits": (get("/child"), reset),
    "reset in a response": (get("/large"), reset),
    "reset in a pipeline": (get() * 20 + get("/parts"), reset),
    "ended in a head": (get()[:10], end),
    "ended in a body": (post(b"x", target="/read", length=1000), end),
    "ended behind a request": (get("/wait"), end),
    "ended in parts": (get("/parts"), end),
    "idle": (b"", stay),
    "idle behind a request": (get(), stay),
    "slow head": (get()[:10], stay),
    "slow body": (post(b"x", target="/read", length=1000), stay),
    "slow reader": (get("/large"), read_nothing),
    "too slow an application": (get("/slow"), stay),
    "failed": (get("/fail"), stay),
    "failed in the middle": (get("/fail-middle"), stay),
    "failed in a child": (get("/fail-child"), stay),
    "left open": (get("/open"), stay),
    "WebSocket, closed": (handshake() + frame(TEXT, b"hello") + close_frame(), stay),
    "WebSocket, left": (handshake() + frame(TEXT, b"hello"), leave),
    "WebSocket, reset": (handshake() + frame(TEXT, b"hello"), reset),
    "WebSocket, broken": (handshake() + frame(TEXT, b"\xff"), stay),
    "WebSocket, silent": (handshake(), stay),
    "WebSocket, refused": (handshake().replace(KEY.encode(), b"none"), stay),
}

SETTINGS: Final[dict[str, Any]] = {
    "timeout_request": 50,
    "ws_ping_interval": 5,
    "ws_ping_timeout": 5,
    "limit_concurrency": 1000,
    "limit_connections": 1000,
}
"""Those that make the server count."""


async def run_one(served: Serving, ending: str) -> None:
    sent, leave_it = ENDINGS[ending]
    client = served.connect()
    if sent:
        await client.send(sent)
    await anyio.sleep(0.5)
    await leave_it(client)


async def run_some(served: Serving, ending: str, count: int) -> None:
    for _ in range(count // AT_ONCE):
        async with anyio.create_task_group() as group:
            for _ in range(AT_ONCE):
                group.start_soon(run_one, served, ending)
    await anyio.sleep(200)


def held_by(served: Serving) -> tuple[object, ...]:
    """Everything that a server keeps of connections."""
    service = served.server._stopping._service
    assert service.slots is not None
    sets = (service.connections, service.lingering, service.handshakes)
    return service.tasks, service.in_flight, service.slots.value, *map(len, sets), len(anyio.get_running_tasks())


@contextmanager
def traced() -> Iterator[Callable[[], int]]:
    """Gives what counts the bytes that are in use, of those that were taken since."""
    gc.collect()
    gc.freeze()  # what is here already need not be looked at each time
    tracemalloc.start()

    def in_use() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    try:
        yield in_use
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("ending", ENDINGS)
async def test_nothing_is_left_of_connections_whatever_ends_them(
    ending: str, many: Callable[[int, int], int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1, "asgiserve.error")  # records would be kept, and their tracebacks
    half = many(2_000, 50) // 2
    async with serving_http(app, **SETTINGS) as served:
        with traced() as in_use:
            await anyio.sleep(1)  # until it has started
            before = held_by(served)
            await run_some(served, ending, half)
            assert held_by(served) == before
            middle = in_use()
            await run_some(served, ending, half)
            assert held_by(served) == before
            assert in_use() - middle < NOISE
