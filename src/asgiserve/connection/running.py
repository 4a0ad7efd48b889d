"""One call of the application: inline, in a scope or in a task of its own, and what becomes of its errors.

Called by the driver for each request. When `run_exchange` returns, the application has returned or lingers, and
its error, if any, has been logged; what the peer is told of it is `settle_exchange`'s part.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import anyio

from asgiserve import logs
from asgiserve.asgi.scope import http_scope
from asgiserve.backend import host_task
from asgiserve.connection.calling import call_app
from asgiserve.connection.deadlines import TICK, Reason
from asgiserve.connection.exchange import Over

if TYPE_CHECKING:
    from asgiserve.backend import HostTask
    from asgiserve.connection.exchange import Exchange
    from asgiserve.connection.http1 import Http1Connection

__all__ = ["run_exchange"]


async def run_exchange(connection: Http1Connection, exchange: Exchange, host: HostTask) -> None:
    """Call the application for one request, until it has returned or lingers."""
    service = connection.service
    limit = service.limits.concurrency
    if limit is not None and service.in_flight >= limit:
        logs.log_warning("Exceeded concurrency limit.")
        await exchange.answer(503)
        return
    exchange.enter()
    if service.http.task_per_request:
        exchange.returned = anyio.Event()
        service.spawn(_call_in_task, connection, exchange)
        await exchange.returned.wait()
    else:
        await _call_in_scope(connection, exchange, host)


async def _call_in_task(connection: Http1Connection, exchange: Exchange) -> None:
    """The same in a task of the request's own; the leading task waits for `returned`."""
    assert exchange.returned is not None
    try:
        await _call_in_scope(connection, exchange, host_task())
    finally:
        exchange.returned.set()


async def _call_in_scope(connection: Http1Connection, exchange: Exchange, host: HostTask) -> None:
    """Inside a cancel scope of the request's own, where a setting may cancel it."""
    timeouts, http = connection.service.timeouts, connection.service.http
    if timeouts.request == math.inf and not http.cancel_on_disconnect:
        await _call(connection, exchange, host)
        return
    now = connection.service.clock()
    if timeouts.request != math.inf:
        connection.deadlines.arm(Reason.REQUEST, now + timeouts.request)
    if http.cancel_on_disconnect:
        connection.deadlines.arm(Reason.POLL, now + TICK)
    with anyio.CancelScope() as exchange.scope:
        await _call(connection, exchange, host)


async def _call(connection: Http1Connection, exchange: Exchange, host: HostTask) -> None:
    service = connection.service
    head = exchange.head
    scope = http_scope(head, connection.peer, root_path=service.root_path, state=service.state)
    try:
        await call_app(service.app, scope, exchange, exchange.context, host)
    except BaseException as error:
        exchange.coroutine = None
        if service.is_ours(error):
            await _answer_cancelled(exchange)
            raise
        exchange.failed = True
        log = partial(logs.log_app_error, head.method, exchange.path, error)
        exchange.context.run(log)
    finally:
        exchange.coroutine = None
        exchange.leave()
        service.lingering.discard(exchange)
    if host.cancelled_by_application():
        await host.absorb_cancellation()


async def _answer_cancelled(exchange: Exchange) -> None:
    """The application was cancelled: tell the peer, if nothing was sent and the kernel takes it at once.

    We are inside a cancelled scope: a send that would have to wait ends with the cancellation instead.
    """
    if exchange.head_sent or exchange.completed or exchange.over is Over.PEER_LEFT:
        return
    await exchange.answer(504 if exchange.over is Over.OVERRAN else 503)
