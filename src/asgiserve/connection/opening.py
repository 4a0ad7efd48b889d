"""The first moments of a connection: from an accepted socket to a stream, TLS included, to its driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream

from asgiserve import logs
from asgiserve.backend import ki_protected
from asgiserve.connection.http1 import Http1Connection
from asgiserve.connection.peer import peer_of
from asgiserve.streams import handshake

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from asgiserve.connection.service import Service
    from asgiserve.streams import Stream

__all__ = ["serve_connection"]


@ki_protected
async def serve_connection(service: Service, open_stream: Callable[[], Awaitable[Stream]]) -> None:
    """Serve one accepted connection from its first byte to its last."""
    connection: Http1Connection | None = None
    try:
        stream = await open_stream()
        ssl_context = service.ssl_context
        if ssl_context is not None:
            stream = await _secure(service, stream, ssl_context)
        connection = Http1Connection(service, stream, peer_of(stream, secure=ssl_context is not None))
    except (OSError, EndOfStream, BrokenResourceError, ClosedResourceError, TimeoutError) as error:
        # The peer was gone before we looked, or would not speak TLS.
        logs.log_debug("A connection was lost before its first request:", error)
    finally:
        if connection is None:
            service.release(None)
    if connection is not None:
        await connection.lead()


async def _secure(service: Service, stream: Stream, ssl_context: ssl.SSLContext) -> Stream:
    """TLS over the stream, under a deadline. Raises like `handshake`, and TimeoutError; the stream is closed."""
    limit = service.timeouts.linger if service.draining else service.timeouts.handshake
    with anyio.fail_after(limit) as scope:
        service.handshakes.add(scope)
        try:
            return await handshake(stream, ssl_context)
        except BaseException:
            stream.abort()
            raise
        finally:
            service.handshakes.discard(scope)
