"""Messages that `send()` refuses, and sends that are cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asgiserve.errors import LocalProtocolError
from tests.unit.connection.applications import (
    access_lines,
    body,
    get,
    serving_http,
    start,
)

if TYPE_CHECKING:
    from asgiserve.types import Message, Receive, Scope, Send

pytestmark = pytest.mark.anyio


HELLO = b"hello, world"


# --- what is refused ---


@pytest.mark.parametrize(
    ("before", "message", "texts"),
    [
        ([], {"type": "http.response.body"}, ["'http.response.body'", "no response has been started"]),
        ([], {"type": "http.disconnect"}, ["'http.disconnect'", "'http.response.start'"]),
        ([], {}, ['a dict with a "type"']),
        ([], None, ['a dict with a "type"']),
        ([], {"type": "http.response.start"}, ["'http.response.start'", "'status'", "missing"]),
        ([], {"type": "http.response.start", "status": "200"}, ["'status'", "an int", "str"]),
        (
            [],
            {"type": "http.response.start", "status": 200, "headers": [("a", "b")]},
            ["'headers'", "pairs of bytes"],
        ),
        (
            [{"type": "http.response.start", "status": 200}],
            {"type": "http.response.start", "status": 200},
            ["'http.response.start'", "has been started", "'http.response.body'"],
        ),
        (
            [{"type": "http.response.start", "status": 200}],
            {"type": "http.response.body", "body": "text"},
            ["'http.response.body'", "'body'", "str"],
        ),
        (
            [{"type": "http.response.start", "status": 200}],
            {"type": "http.response.trailers"},
            ["'http.response.trailers'", "has been started"],
        ),
    ],
)
async def test_a_message_that_does_not_fit_is_refused_by_name_and_state(
    before: list[Message], message: Any, texts: list[str]
) -> None:
    refusals = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for one in before:
            await send(one)
        with pytest.raises(LocalProtocolError) as refused:
            await send(message)
        refusals.append(str(refused.value))
        if not before:
            await start(send)
        await body(send, HELLO)

    async with serving_http(app) as served:
        client = served.connect()
        for _ in range(2):
            assert (await client.get()).body == HELLO
    assert len(refusals) == 2
    assert all(text in refusals[0] for text in texts), refusals[0]


async def test_additional_keys_are_ignored() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "x-more": object()})
        await send({"type": "http.response.body", "body": HELLO, "x-more": object()})

    async with serving_http(app) as served:
        assert (await served.connect().get()).body == HELLO


# --- cancelled sends ---


@pytest.mark.parametrize("length", [None, 300_000])
async def test_a_send_that_was_cancelled_in_the_queue_cuts_the_response(length: int | None) -> None:
    """Its bytes are lost: whatever came behind them would be read as if they had never been there."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=length)
        async with anyio.create_task_group() as group:
            group.start_soon(part, send, b"a" * 100_000, 1000)
            await anyio.sleep(1)
            group.start_soon(part, send, b"b" * 100_000, 1)
            await anyio.sleep(5)
        await body(send, b"c" * 100_000)

    async def part(send: Send, data: bytes, patience: float) -> None:
        with anyio.move_on_after(patience):
            await body(send, data, more=True)

    async with serving_http(app) as served:
        client = served.connect(capacity=1000)
        await client.send(get() + get("/next"))
        await anyio.sleep(10)
        wire = b""
        try:
            while True:
                wire += await client.read()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            pass
    assert b"c" not in wire.partition(b"\r\n\r\n")[2]
    assert wire.count(b"HTTP/1.1") == 1
    assert not wire.endswith(b"0\r\n\r\n")


async def test_a_head_is_never_overtaken_by_its_body() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=5)
        async with anyio.create_task_group() as group:
            group.start_soon(hint, send)
            await anyio.sleep(5)
            group.start_soon(body, send, b"hello")

    async def hint(send: Send) -> None:
        await send({"type": "http.response.early_hint", "links": [b"a" * 3000]})

    async with serving_http(app) as served:
        client = served.connect(capacity=1000)
        await client.send(get())
        await anyio.sleep(10)
        response = await client.response()
    assert (response.status, response.body, len(response.informational)) == (200, b"hello", 1)


async def test_the_access_line_tells_what_was_sent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(2)
        await start(send, status=201)
        await body(send, b"one", more=True)
        await body(send, b"three")

    async with serving_http(app) as served:
        client = served.connect()
        await client.get("/a%20b?c=d")
        await anyio.sleep(1)
        ((address, method, target, version, status, size, milliseconds),) = access_lines(caplog)
    assert (address, method, target, version) == ("127.0.0.1:50000", "GET", "/a%20b?c=d", "1.1")
    assert (status, size) == (201, 8)
    assert milliseconds == pytest.approx(2000)
