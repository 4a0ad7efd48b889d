"""An httpx transport over connections in memory: `httpx.AsyncClient(transport=MemoryTransport(server))`.

Requests go over the server's real HTTP/1.1 wire, without sockets and, if the test wants it, in virtual time. Unlike
httpx's own ASGITransport it streams: a response is there as soon as its head is, and an endless one is read event by
event and then closed, which the application hears of. Connections are pooled and kept alive by httpcore, as in
production.

httpx and httpcore are imported in this file only (`pip install 'asgiserve[testing]'`). Public.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import anyio
import httpcore
import httpx

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator

    from asgiserve.testing.streams import MemoryStream

__all__ = ["MemoryTransport"]


class _Connecting(Protocol):
    def connect(self, **options: Any) -> MemoryStream: ...


class MemoryTransport(httpx.AsyncBaseTransport):
    """Sends requests to a server in memory, whatever host their URL names. "http" only: there is no TLS."""

    def __init__(self, server: _Connecting, *, limits: httpx.Limits | None = None, **options: Any) -> None:
        """`server` is what `memory_server()` gives, or a `MemoryListener`; the options are for its `connect()`:
        `to_client=Faults(piece=1)`."""
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=20) if limits is None else limits
        self._pool = httpcore.AsyncConnectionPool(
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            # httpcore would count it on the real clock, whatever clock the test runs by: the server counts instead.
            keepalive_expiry=None,
            network_backend=_Network(server, options),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        with _httpx_errors():
            response = await self._pool.handle_async_request(
                httpcore.Request(
                    request.method,
                    httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=cast("AsyncIterable[bytes]", request.stream),
                    extensions=request.extensions,
                )
            )
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Body(response),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    """The body of a response while it arrives."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _httpx_errors():
            async for part in self._response.aiter_stream():
                yield part

    async def aclose(self) -> None:
        with _httpx_errors():
            await self._response.aclose()


class _Network(httpcore.AsyncNetworkBackend):
    """Where httpcore gets its connections from."""

    def __init__(self, server: _Connecting, options: dict[str, Any]) -> None:
        self._server = server
        self._options = options

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            return _NetworkStream(self._server.connect(**self._options))
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class _NetworkStream(httpcore.AsyncNetworkStream):
    """One connection, as httpcore knows them."""

    def __init__(self, stream: MemoryStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            with anyio.fail_after(timeout):
                return await self._stream.receive(max_bytes)
        except anyio.EndOfStream:
            return b""
        except TimeoutError as error:
            raise httpcore.ReadTimeout(str(error)) from error
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise httpcore.ReadError(repr(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            with anyio.fail_after(timeout):
                await self._stream.send(buffer)
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from error
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise httpcore.WriteError(repr(error)) from error

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.UnsupportedProtocol(
            "connections in memory have no TLS: use http:// URLs, or live_server(tls=True)"
        )

    def get_extra_info(self, info: str) -> Any:
        # httpcore asks before it uses a kept connection again; what it reads then would be the server's FIN.
        return self._stream.peer_closed() if info == "is_readable" else None


_MAPPED: Final[dict[type[Exception], type[httpx.TransportError]]] = {
    httpcore.ConnectTimeout: httpx.ConnectTimeout,
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.WriteTimeout: httpx.WriteTimeout,
    httpcore.PoolTimeout: httpx.PoolTimeout,
    httpcore.ConnectError: httpx.ConnectError,
    httpcore.ReadError: httpx.ReadError,
    httpcore.WriteError: httpx.WriteError,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
    httpcore.UnsupportedProtocol: httpx.UnsupportedProtocol,
}
"""Each error of httpcore that can come out here, and httpx's, which callers expect."""


@contextmanager
def _httpx_errors() -> Iterator[None]:
    try:
        yield
    except tuple(_MAPPED) as error:
        raise _MAPPED[type(error)](str(error)) from error
