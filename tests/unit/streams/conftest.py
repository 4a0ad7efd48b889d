"""The kinds of stream, each on each backend that it is for: what the conformance suite runs on.

Kinds in memory run in virtual time. Kinds over sockets need real time: a jump of the clock does not wait
for the kernel.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trustme

from asgiserve.streams import Stream, handshake, open_stream
from asgiserve.testing import Faults, memory_stream_pair
from tests.support.clock import virtual_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

# Small kernel buffers, so that a sender soon has to wait for its reader.
KERNEL_BUFFER = 32 * 1024

Pair = tuple[Stream, Stream]


@dataclass(frozen=True)
class Contexts:
    server: ssl.SSLContext
    client: ssl.SSLContext


def make_contexts() -> Contexts:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    for context in (server, client):
        context.set_alpn_protocols(["http/1.1"])
    return Contexts(server, client)


CONTEXTS = make_contexts()


def tcp_sockets() -> tuple[socket.socket, socket.socket]:
    with socket.socket() as listener:
        # An accepted socket inherits the sizes of its listener.
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            listener.setsockopt(socket.SOL_SOCKET, option, KERNEL_BUFFER)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = socket.socket()
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            client.setsockopt(socket.SOL_SOCKET, option, KERNEL_BUFFER)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        return server, client


async def open_tcp() -> Pair:
    server, client = tcp_sockets()
    return await open_stream(server), await open_stream(client)


async def open_unix() -> Pair:
    server, client = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return await open_stream(server), await open_stream(client)


async def open_memory() -> Pair:
    return memory_stream_pair()


async def open_memory_with_faults() -> Pair:
    # As if there were none; but the streams are those that could have some.
    return memory_stream_pair(to_server=Faults(), to_client=Faults())


async def secure(pair: Pair) -> Pair:
    """Put TLS on both ends of `pair`."""
    secured: dict[str, Stream] = {}

    async def shake(end: str, stream: Stream, context: ssl.SSLContext, name: str | None) -> None:
        secured[end] = await handshake(stream, context, server_hostname=name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(shake, "server", pair[0], CONTEXTS.server, None)
        tasks.start_soon(shake, "client", pair[1], CONTEXTS.client, "localhost")
    # The server's session tickets (RFC 8446 4.6.1) lie unread in front of the client's first byte, and to
    # close with unread bytes is to reset: let the client take them.
    await secured["server"].send(b"x")
    await secured["client"].receive(1)
    return secured["server"], secured["client"]


async def open_tls_over_tcp() -> Pair:
    return await secure(await open_tcp())


async def open_tls_over_memory() -> Pair:
    return await secure(await open_memory())


@dataclass(frozen=True)
class Kind:
    name: str
    open: Callable[[], Awaitable[Pair]]
    on_sockets: bool = False
    knows_resets: bool = True


KINDS = {
    kind.name: kind
    for kind in (
        Kind("tcp", open_tcp, on_sockets=True),
        Kind("unix", open_unix, on_sockets=True, knows_resets=False),
        Kind("tls-tcp", open_tls_over_tcp, on_sockets=True),
        Kind("tls-memory", open_tls_over_memory),
        Kind("memory", open_memory),
        Kind("memory-faults", open_memory_with_faults),
    )
}

REAL_TIME: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "asyncio": ("asyncio", {}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}


def _cases() -> list[Any]:
    return [
        pytest.param((kind, backend), id=f"{kind.name}-{backend}")
        for kind in KINDS.values()
        for backend in REAL_TIME
        if kind.on_sockets or backend != "uvloop"
    ]


@pytest.fixture(params=_cases())
def case(request: pytest.FixtureRequest) -> tuple[Kind, str]:
    chosen: tuple[Kind, str] = request.param
    return chosen


@pytest.fixture
def kind(case: tuple[Kind, str]) -> Kind:
    return case[0]


@pytest.fixture
def anyio_backend(case: tuple[Kind, str]) -> tuple[str, Mapping[str, Any]]:
    kind, backend = case
    return REAL_TIME[backend] if kind.on_sockets else virtual_time(backend)


@pytest.fixture
async def pair(kind: Kind) -> AsyncIterator[Pair]:
    """Our stream and its peer's."""
    ours, peer = await kind.open()
    yield ours, peer
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(ours.aclose)
        stack.push_async_callback(peer.aclose)
