"""A server over in-memory connections, and a client that speaks raw bytes: what driver and server tests use.

No sockets and no real time: with the virtual clock of `tests/conftest.py`, waiting costs nothing, and whoever waits
for something that never comes fails after an hour that takes no time.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import h11

from asgiserve.config import Settings
from asgiserve.server import serve_with
from asgiserve.testing import MemoryListener

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asgiserve.server import Server
    from asgiserve.testing import MemoryStream
    from asgiserve.types import ASGIApplication

PATIENCE = 3600.0


@dataclass
class Response:
    """One response as a client reads it."""

    status: int
    headers: dict[str, str]
    """The last value of each field, names in lower case."""
    body: bytes
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    """All fields in order, as they came."""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    informational: list[h11.InformationalResponse] = field(default_factory=list)


class Client:
    """The client's end of one connection."""

    def __init__(self, stream: MemoryStream) -> None:
        self.stream = stream
        self._rest = b""

    async def send(self, data: bytes) -> None:
        with anyio.fail_after(PATIENCE):
            await self.stream.send(data)

    async def read(self) -> bytes:
        """Whatever comes next. Raises EndOfStream at the server's FIN, BrokenResourceError at its reset."""
        with anyio.fail_after(PATIENCE):
            return await self.stream.receive()

    async def read_until(self, end: bytes) -> bytes:
        """All bytes up to and including `end`."""
        data = self._rest
        while end not in data:
            data += await self.read()
        head, _, self._rest = data.partition(end)
        return head + end

    async def read_all(self) -> bytes:
        """Every byte until the server ends its side."""
        data, self._rest = self._rest, b""
        try:
            while True:
                data += await self.read()
        except anyio.EndOfStream:
            return data

    async def response(self, method: str = "GET") -> Response:
        """Read one response, as strictly as h11 does; what comes after it stays for the next call."""
        connection = h11.Connection(h11.CLIENT)
        connection.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        connection.send(h11.EndOfMessage())
        if self._rest:
            connection.receive_data(self._rest)
        response = Response(0, {}, b"")
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                try:
                    connection.receive_data(await self.read())
                except anyio.EndOfStream:
                    connection.receive_data(b"")
            elif isinstance(event, h11.InformationalResponse):
                response.informational.append(event)
            elif isinstance(event, h11.Response):
                response.status = event.status_code
                response.fields = list(event.headers)
                response.headers = {k.decode(): v.decode("latin-1") for k, v in event.headers}
            elif isinstance(event, h11.Data):
                response.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                response.trailers = list(event.headers)
                self._rest = connection.trailing_data[0]
                return response
            else:
                raise AssertionError(f"unexpected {event!r}")

    async def get(self, target: str = "/", headers: str = "") -> Response:
        """Send a GET and read its response."""
        await self.send(f"GET {target} HTTP/1.1\r\nHost: test\r\n{headers}\r\n".encode())
        return await self.response()

    async def is_closed(self) -> bool:
        """Whether the server has closed the connection; waits until it has or an hour is over."""
        try:
            return await self.read_all() == b""
        except (anyio.BrokenResourceError, TimeoutError):
            return False


class Serving:
    """A running server."""

    def __init__(self, server: Server, listener: MemoryListener) -> None:
        self.server = server
        self.listener = listener

    def connect(self, **options: Any) -> Client:
        return Client(self.listener.connect(**options))


@asynccontextmanager
async def serving(app: ASGIApplication, **settings: Any) -> AsyncIterator[Serving]:
    """Serve `app` in memory for the block; leaving it cancels the server, as leaving a group would."""
    listener = MemoryListener()
    async with anyio.create_task_group() as group:
        server = await group.start(partial(serve_with, app, Settings.of(settings), listeners=[listener]))
        yield Serving(server, listener)
        group.cancel_scope.cancel()
