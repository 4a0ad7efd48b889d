"""The PROXY protocol in front of TLS: one deadline for both, and no byte of the handshake lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asgiserve.testing import MemoryStream  # noqa: TC001
from tests.unit.connection.applications import reply
from tests.unit.server.running import running
from tests.unit.server.test_tls import HANDSHAKE, seconds_until_cut, secured
from tests.unit.streams.conftest import CONTEXTS

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

V1 = b"PROXY TCP4 203.0.113.7 198.51.100.1 5678 443\r\n"
V2_LOCAL = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"


async def ends(scope: Scope, receive: Receive, send: Send) -> None:
    await reply(send, f"{scope['scheme']} {scope['client'][0]} {scope['server'][1]}".encode())


class Prefixing:
    """A client's stream that puts a header before its first bytes, in the same piece or byte by byte."""

    def __init__(self, stream: MemoryStream, header: bytes, *, joined: bool) -> None:
        self._stream = stream
        self._header = header
        self._joined = joined

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def send(self, item: bytes) -> None:
        header, self._header = self._header, b""
        if self._joined:
            await self._stream.send(header + item)
            return
        for byte in header:
            await self._stream.send(bytes([byte]))
            await anyio.sleep(0.001)
        await self._stream.send(item)


@pytest.mark.parametrize(("header", "told"), [(V1, b"https 203.0.113.7 443"), (V2_LOCAL, b"https 127.0.0.1 80")])
@pytest.mark.parametrize("joined", [True, False])
async def test_the_handshake_begins_behind_the_header(header: bytes, told: bytes, joined: bool) -> None:
    async with running(ends, ssl_context=CONTEXTS.server, proxy_protocol=True) as run:
        stream: Any = Prefixing(run.connect().stream, header, joined=joined)
        client = await secured(stream)
        assert (await client.get()).body == told
        assert (await client.get()).body == told


async def test_header_and_handshake_share_one_deadline() -> None:
    async with running(ends, ssl_context=CONTEXTS.server, proxy_protocol=True) as run:
        client = run.connect()
        await anyio.sleep(HANDSHAKE - 1)
        await client.send(V1)
        assert await seconds_until_cut(client) == 1


async def test_a_handshake_without_a_header_is_cut() -> None:
    async with running(ends, ssl_context=CONTEXTS.server, proxy_protocol=True) as run:
        client = run.connect()
        await client.send(b"\x16\x03\x01\x00\x05hello")
        assert await seconds_until_cut(client) == 0


async def test_plain_http_behind_a_header_is_told_that_the_port_speaks_tls() -> None:
    async with running(ends, ssl_context=CONTEXTS.server, proxy_protocol=True) as run:
        client = run.connect()
        await client.send(V1 + b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        assert (await client.response()).status == 400
