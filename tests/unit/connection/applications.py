"""Small applications and requests that the tests of the driver share; no test is in here.

`serving_http` serves without a lifespan, so that an application in a test sees nothing but its requests.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import anyio
from anyio.lowlevel import checkpoint

from tests.support.serving import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

    import pytest

    from asgiserve.types import ASGIApplication, Header, Receive, Scope, Send
    from tests.support.serving import Client, Serving

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


def serving_http(app: ASGIApplication, **settings: Any) -> AbstractAsyncContextManager[Serving]:
    """A server for an application that knows only HTTP."""
    return serving(app, lifespan="off", **settings)


async def start(send: Send, *, length: int | None = None, status: int = 200, headers: Sequence[Header] = ()) -> None:
    """Send a response's start, with a Content-Length if `length` is given."""
    fields = list(headers) if length is None else [(b"content-length", b"%d" % length), *headers]
    await send({"type": "http.response.start", "status": status, "headers": fields})


async def body(send: Send, data: bytes = b"", *, more: bool = False) -> None:
    """Send a part of a response's body."""
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def reply(send: Send, data: bytes = b"", *, status: int = 200, headers: Sequence[Header] = ()) -> None:
    """Send a whole response."""
    await start(send, length=len(data), status=status, headers=headers)
    await body(send, data)


async def read_body(receive: Receive) -> bytes:
    """All of a request's body."""
    data: bytes = b""
    while True:
        message = await receive()
        assert message["type"] == "http.request", message
        data += message["body"]
        if not message["more_body"]:
            return data


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the request's body."""
    await reply(send, await read_body(receive))


async def path(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the request's path."""
    await reply(send, scope["path"].encode())


async def send_for_ever(client: Client, data: bytes, *, pause: float = 0.0) -> NoReturn:
    """Send it again and again; ends with the error that the stream raises."""
    while True:
        await client.send(data)
        await anyio.sleep(pause)


async def read_for_ever(client: Client) -> NoReturn:
    """Read what comes and drop it; ends with the error that the stream raises."""
    while True:
        await client.read()


class Turns:
    """Those of the loop that another task has had."""

    def __init__(self) -> None:
        self.count = 0

    async def take(self) -> NoReturn:
        while True:
            self.count += 1
            await checkpoint()


@asynccontextmanager
async def counting(turns: Turns) -> AsyncIterator[None]:
    """Another task takes each turn that the block leaves it."""
    async with anyio.create_task_group() as group:
        group.start_soon(turns.take)
        yield
        group.cancel_scope.cancel()


def get(target: str = "/", *lines: str) -> bytes:
    """A GET as bytes."""
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: test", *lines, "", ""]).encode()


def post(data: bytes, *lines: str, target: str = "/", length: int | None = None) -> bytes:
    """A POST with a Content-Length: of `data`, unless `length` says more is to come."""
    size = len(data) if length is None else length
    head = "\r\n".join([f"POST {target} HTTP/1.1", "Host: test", f"Content-Length: {size}", *lines, "", ""])
    return head.encode() + data


def chunked(*chunks: bytes, end: bool = True, lines: Sequence[str] = ()) -> bytes:
    """A POST whose body is chunked; `end=False` leaves the last chunk out."""
    fields = ["POST / HTTP/1.1", "Host: test", "Transfer-Encoding: chunked", *lines, "", ""]
    data = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return "\r\n".join(fields).encode() + data + (b"0\r\n\r\n" if end else b"")


def errors_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The messages that were logged as errors."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The messages that were logged as warnings."""
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def access_lines(caplog: pytest.LogCaptureFixture) -> list[tuple[Any, ...]]:
    """Client, method, target, version, status, bytes, milliseconds of each access record; and its id, if it has one."""
    records: list[Any] = [each for each in caplog.records if each.name == "asgiserve.access"]
    ids = [(each.request_id,) if hasattr(each, "request_id") else () for each in records]
    return [(*each.args, each.bytes, each.duration_ms, *known) for each, known in zip(records, ids, strict=True)]
