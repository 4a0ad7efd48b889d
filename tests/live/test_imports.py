"""A process imports what it needs, and pays for nothing else: in time until its first answer, and in memory."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import httpx
import pytest

from tests.live.backends import one_loop_per_library
from tests.live.raw import RawClient
from tests.live.websocket_raw import upgrade
from tests.support.processes import ran

if TYPE_CHECKING:
    from tests.live.backends import Backend
    from tests.live.conftest import LiveServers

pytestmark = pytest.mark.live

SITE: Final = "tests.live.modules_site:app"

UNUSED: Final = {
    # of dependencies: 90 ms of CPU and 13 MiB for typer, 60 ms and 6 MiB for trio, 20 ms for the last
    *("typer", "click", "pydantic", "rich", "shellingham", "trio", "wsproto"),
    # of the standard library, 2 ms and more each
    *("configparser", "email", "importlib.metadata", "logging.config", "multiprocessing", "tempfile", "uuid"),
    # of our own
    "asgiserve.connection.websocket",
    "asgiserve.log_config",
    "asgiserve.protocols.websocket",
    "asgiserve.supervise.supervisor",
    "asgiserve.testing",
    "asgiserve.typer_command",
}
"""What plain requests to an application need none of, if it has no WebSockets. `trio` is for asyncio."""


def unused_on(backend: Backend) -> set[str]:
    # trio and its own dependencies import some of the standard library themselves.
    return UNUSED if backend[0] == "asyncio" else UNUSED - {"trio", "tempfile"}


@one_loop_per_library
def test_what_is_not_used_is_not_imported(live_server: LiveServers, anyio_backend: Backend) -> None:
    server = live_server(SITE, ws="none")

    imported = set(httpx.get(server.url, trust_env=False).text.split())

    assert "asgiserve.server.serve" in imported
    assert imported & unused_on(anyio_backend) == set()


@one_loop_per_library
def test_nor_is_it_in_a_worker(live_server: LiveServers, anyio_backend: Backend) -> None:
    server = live_server(SITE, ws="none", workers=2)

    imported = set(httpx.get(server.url, trust_env=False).text.split())

    assert "asgiserve.supervise.channel" in imported
    assert imported & unused_on(anyio_backend) == set()


@one_loop_per_library
def test_what_connections_need_is_imported_before_there_are_any(
    live_server: LiveServers, anyio_backend: Backend
) -> None:
    """With them, there may be no descriptor left to read a file by."""
    server = live_server(SITE)
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        before = set(client.get("/").text.split())
    for wire in (b"GET / HTTP/1.0\r\n\r\n", b"BAD\r\n\r\n", upgrade("/")):
        with RawClient(server.port) as raw:
            raw.send(wire)
            raw.read_all()

    after = set(httpx.get(server.url, trust_env=False).text.split())

    assert {each for each in after - before if each.startswith(("asgiserve", "h11", "wsproto", "trio"))} == set()


# --- programs that embed the server -----------------------------------------------------------


def program(source: str, *arguments: str) -> list[str]:
    """What a program of its own prints, a line each. Everything else that it says fails the test."""
    done = ran([sys.executable, "-W", "error", "-c", source, *arguments])
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


APPLICATION: Final = """
import signal, sys
from functools import partial
import anyio
from asgiserve import serve

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})
        return
    on_request()
    if scope["type"] == "websocket":
        await send({"type": "websocket.close"})
    else:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})
"""

ASYNCIO_THEN_TRIO: Final = (
    APPLICATION
    + """
def on_request():
    print("asked")

async def ask(wire):
    async with anyio.create_task_group() as group:
        server = await group.start(partial(serve, app, port=0))
        async with await anyio.connect_tcp(*server.addresses[0]) as client:
            await client.send(wire)
            print((await client.receive())[:15].decode())
        server.stop()

import asyncio
asyncio.run(ask(sys.argv[1].encode()))
print("trio" in sys.modules)
import trio
trio.run(ask, sys.argv[1].encode())
asyncio.run(ask(sys.argv[1].encode()))
"""
)


def test_one_process_may_serve_on_asyncio_and_then_on_trio() -> None:
    answered = ["asked", "HTTP/1.1 200 OK"]

    assert program(ASYNCIO_THEN_TRIO, "GET / HTTP/1.1\r\nHost: a\r\n\r\n") == [*answered, "False", *answered, *answered]


CTRL_C: Final = (
    APPLICATION
    + """
def on_request():
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        print("the application was interrupted")
    else:
        print("the application was left alone")

print("trio" in sys.modules)
import trio

async def main():
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, app, port=0))
        async with await trio.open_tcp_stream(*server.addresses[0]) as client:
            await client.send_all(sys.argv[1].encode())
            try:
                await trio.sleep(10)
            except KeyboardInterrupt:
                print("the main task was interrupted")
        nursery.cancel_scope.cancel()

trio.run(main)
"""
)


@pytest.mark.parametrize(
    "wire", ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", upgrade("/").decode()], ids=["http", "websocket"]
)
def test_ctrl_c_on_trio_reaches_the_main_task_although_trio_was_imported_last(wire: str) -> None:
    assert program(CTRL_C, wire) == ["False", "the application was left alone", "the main task was interrupted"]
