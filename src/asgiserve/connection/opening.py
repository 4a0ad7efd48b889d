"""The first moments of a connection: from an accepted socket, by way of a PROXY header and TLS, to its driver."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream

from asgiserve import logs
from asgiserve.backend import ki_protected
from asgiserve.connection.http1 import Http1Connection
from asgiserve.connection.peer import peer_of
from asgiserve.connection.preface import receive_preface
from asgiserve.connection.tls import facts_of, secure
from asgiserve.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from ssl import SSLContext

    from asgiserve.connection.service import Service
    from asgiserve.streams import Stream

__all__ = ["serve_connection"]


@ki_protected
async def serve_connection(service: Service, open_stream: Callable[[], Awaitable[Stream]], plain: bool) -> None:
    """Serve one accepted connection from its first byte to its last; `plain` is without TLS in any case."""
    connection: Http1Connection | None = None
    try:
        connection = await _open(service, await open_stream(), None if plain else service.ssl_context)
    except (OSError, EndOfStream, BrokenResourceError, ClosedResourceError, TimeoutError, RemoteProtocolError) as error:
        # The peer was gone before we looked, would not speak TLS, or is no proxy although only proxies are served.
        logs.log_debug("A connection was lost before its first request:", error)
    finally:
        if connection is None:
            service.release(None)
    if connection is not None:
        if service.trace:
            logs.log_trace(connection.origin.client_name, "Connection made")
        await connection.lead()


async def _open(service: Service, stream: Stream, ssl_context: SSLContext | None) -> Http1Connection | None:
    """The connection over this stream, behind its PROXY header and its TLS handshake; None if it has been answered."""
    peer = peer_of(stream, secure=ssl_context is not None)
    if ssl_context is None and not service.proxies.proxy_protocol:
        return Http1Connection(service, stream, peer)
    received = b""
    # One deadline for both: a slow proxy must not have twice the time.
    limit = service.timeouts.linger if service.draining else service.timeouts.handshake
    with anyio.fail_after(limit) as scope:
        service.handshakes.add(scope)
        try:
            if service.proxies.proxy_protocol:
                peer, received = await receive_preface(service, stream, peer)
            if ssl_context is not None:
                secured = await secure(service, stream, ssl_context, peer, received)
                if secured is None:
                    return None
                stream, peer, received = secured, replace(peer, tls=facts_of(secured)), b""
        except BaseException:
            stream.abort()
            raise
        finally:
            service.handshakes.discard(scope)
    connection = Http1Connection(service, stream, peer)
    connection.codec.receive_data(received)
    return connection
