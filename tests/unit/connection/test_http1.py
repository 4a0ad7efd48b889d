"""The driver of an HTTP/1 connection, over in-memory streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.serving import serving

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


async def test_requests_on_one_connection_are_answered_in_order() -> None:
    async with serving(hello) as served:
        client = served.connect()
        for _ in range(3):
            response = await client.get()
            assert (response.status, response.body) == (200, b"hello")


async def test_an_idle_connection_is_closed_after_the_keep_alive_timeout() -> None:
    async with serving(hello, timeout_keep_alive=20) as served:
        client = served.connect()
        await client.get()
        assert await client.is_closed()
