"""What a server for tests records of its application: its errors, and nothing that goes wrong with nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from asgiserve.testing import memory_server
from tests.support.serving import Client
from tests.support.websocket import WebSocketClient

if TYPE_CHECKING:
    from asgiserve.types import ASGIApplication, Receive, Scope, Send

pytestmark = pytest.mark.anyio

UPLOAD = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nabc"
GET = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"


class FrameworksDisconnect(Exception):
    """As frameworks make one of the disconnect message."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


async def framework(scope: Scope, receive: Receive, send: Send) -> None:
    """Waits for all that its client sends, and lets pass what its framework makes of the end."""
    if scope["type"] == "lifespan":
        raise NotImplementedError
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
    while not (message := await receive())["type"].endswith(".disconnect"):
        pass
    raise FrameworksDisconnect(message.get("code"))


def raising(error: BaseException, *, when: str) -> ASGIApplication:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        if when == "behind the response":
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})
            await anyio.sleep(1)
        if when == "behind the client's end":
            while (await receive())["type"] != "http.disconnect":
                pass
        if when == "at the stop":
            try:
                await anyio.sleep_forever()
            finally:
                raise error
        raise error

    return app


@pytest.mark.parametrize("leaves", [True, False], ids=["its client leaves", "the server stops"])
async def test_a_websocket_that_ends_by_its_disconnect_is_no_error(leaves: bool) -> None:
    async with memory_server(framework, raise_app_exceptions=True) as server:
        client = WebSocketClient(server.connect())
        await client.open()
        await client.text("hello")
        if leaves:
            await client.close()
            await anyio.sleep(1)
    assert server.app_exceptions == []


async def test_an_upload_that_is_left_is_no_error() -> None:
    async with memory_server(framework, raise_app_exceptions=True) as server:
        client = Client(server.connect())
        await client.send(UPLOAD)
        await client.stream.aclose()
        await anyio.sleep(1)
    assert server.app_exceptions == []


async def test_the_servers_own_cancellation_is_no_error() -> None:
    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await anyio.sleep_forever()

    async with memory_server(endless, raise_app_exceptions=True) as server:
        await Client(server.connect()).send(GET)
        await anyio.sleep(1)
    assert server.app_exceptions == []


@pytest.mark.parametrize("when", ["at once", "behind the response", "behind the client's end", "at the stop"])
async def test_whatever_else_is_raised_is_recorded_once_whenever_that_is(when: str) -> None:
    error = KeyError(when)
    async with memory_server(raising(error, when=when)) as server:
        client = Client(server.connect())
        await client.send(UPLOAD)
        await anyio.sleep(0.5)
        if when == "behind the client's end":
            await client.stream.aclose()
        if when != "at the stop":
            await anyio.sleep(2)
            assert server.app_exceptions == [error]
    assert server.app_exceptions == [error]


async def test_what_a_websockets_application_raises_is_recorded() -> None:
    error = KeyError("websocket")
    async with memory_server(raising(error, when="at once")) as server:
        assert (await WebSocketClient(server.connect()).refused()).status == 500
        assert server.app_exceptions == [error]


async def test_the_first_hundred_errors_are_kept() -> None:
    async with memory_server(raising(KeyError("x"), when="at once")) as server:
        for _ in range(110):
            await Client(server.connect()).send(GET)
        await anyio.sleep(1)
        assert len(server.app_exceptions) == 100
