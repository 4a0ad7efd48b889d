"""From the request for a WebSocket to the end of its application: the driver of a connection that is upgraded.

The application is called inline, in the task that has led the connection so far and in a context of its own, and what
it raises is contained as an HTTP exchange's is. Called by `http1.py`, whose connection has nothing more to do then.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from asgiserve import logs
from asgiserve.asgi.websocket import websocket_scope
from asgiserve.cancellation import bare_cancellation, own_error
from asgiserve.connection.calling import TaskClosed, call_app
from asgiserve.connection.closing import close_after_drain, close_at_last
from asgiserve.connection.parting import carries_code, says_only
from asgiserve.connection.websocket import WebSocket
from asgiserve.connection.websocket_closing import finish
from asgiserve.connection.websocket_phase import CONNECTING, OPEN
from asgiserve.errors import ClientDisconnected, RemoteProtocolError
from asgiserve.protocols.http1 import error_response
from asgiserve.protocols.websocket import read_handshake, refusal

if TYPE_CHECKING:
    from asgiserve.backend import HostTask
    from asgiserve.connection.http1 import Http1Connection
    from asgiserve.connection.service import Service
    from asgiserve.events import RequestHead
    from asgiserve.protocols.websocket import Handshake

__all__ = ["serve_websocket"]

_REFUSAL_SECONDS: Final = 2.0
"""How long the answer to a bad handshake may take: no deadline watches over it."""


async def serve_websocket(connection: Http1Connection, head: RequestHead, host: HostTask) -> None:
    """Serve what asks to be a WebSocket, to its end. The stream and its place among the connections are ours now."""
    service = connection.service
    connection.deadlines.disarm_all_but_write()
    service.connections.discard(connection)
    if service.trace:
        logs.log_trace(connection.origin.client_name, "Upgrading to WebSocket")
    try:
        handshake = read_handshake(head)
    except RemoteProtocolError as error:
        connection.log_refusal(error)
        await _refuse(connection, refusal(head, error, service.default_fields, service.date()))
        return
    if service.draining or _is_full(service):
        await _refuse(connection, error_response(503, service.default_fields, service.date(), retry_after=1))
        return
    await _serve(WebSocket(connection, head, handshake), connection, handshake, host)


def _is_full(service: Service) -> bool:
    limit = service.limits.concurrency
    if limit is None or service.in_flight < limit:
        return False
    logs.log_warning("Exceeded concurrency limit.")
    return True


async def _refuse(connection: Http1Connection, answer: bytes) -> None:
    """Answer without an application."""
    try:
        with anyio.move_on_after(_REFUSAL_SECONDS):
            await connection.outlet.write(answer)
        if not connection.outlet.broken:
            await close_after_drain(connection.stream)
    finally:
        await close_at_last(connection.stream, cut=connection.outlet.broken)
        connection.service.release(connection)


async def _serve(socket: WebSocket, connection: Http1Connection, handshake: Handshake, host: HostTask) -> None:
    service = connection.service
    service.connections.add(socket)
    if service.limits.concurrency is not None:
        socket.enter()
    origin = socket.origin
    scope = websocket_scope(socket.head, origin.peer, origin.mount, service.state, handshake.subprotocols)
    cancelled, failed = True, False
    try:
        try:
            await call_app(service.app, scope, socket, host)
        except BaseException as error:
            own = own_error(error, service.loop_end)
            if own is None:
                raise bare_cancellation(error) from None
            failed = _log_error(service, socket, own)
            if isinstance(error, TaskClosed):
                _end_without_word(socket, failed=True)
                socket.finish_soon()  # in another task: this one cannot wait any more
                raise
        if host.cancelling():
            await host.absorb_cancellation()
        cancelled = host.cancelled()  # a hard stop, although the application has caught it
    finally:
        socket.returned = True
        service.lingering.discard(socket)
        if socket.claim_finish():
            if cancelled:
                socket.leave()
            else:
                _end_without_word(socket, failed=failed)
            await finish(socket)
        elif socket.finished:
            socket.part()


def _end_without_word(socket: WebSocket, *, failed: bool) -> None:
    """The application has ended: say for it what it has not said."""
    if socket.phase is OPEN:
        socket.close(1011 if failed else 1000, "")
    elif socket.phase is CONNECTING:
        owed = "completing its response" if socket.opening.denial_begun else "accepting or refusing the WebSocket"
        if not failed:
            socket.context.run(logs.log_app_fault, "WebSocket", socket.path, f"without {owed}")
        socket.refuse(500)


def _log_error(service: Service, socket: WebSocket, error: BaseException) -> bool:
    """The application raised. Whether that is an error: that its own peer has left is none."""
    if socket.sending.closed and says_only(error, partial(_tells_the_end, socket)):
        socket.context.run(logs.log_parting, "WebSocket", socket.path, error)
        return False
    service.log_app_error(socket.context, "WebSocket", socket.path, error)
    return True


def _tells_the_end(socket: WebSocket, error: BaseException) -> bool:
    """Whether it carries the code that the application was given; 1006, where it is what `send()` has told."""
    if isinstance(error.__context__, ClientDisconnected) and carries_code(error, 1006):
        return True
    return socket.receiving.told and carries_code(error, socket.over[0])
