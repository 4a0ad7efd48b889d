"""One call of the application: inline, in a scope or in a task of its own, and what becomes of its errors.

`way_of_running` chooses once per server; the driver awaits what it gives for each request. When that is done, the
application has returned or lingers. What it raised goes to `contain`; what the peer is told of it is the driver's
part.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import anyio

from asgiserve import logs
from asgiserve.asgi.scope import http_scope
from asgiserve.backend import host_task, ki_protected
from asgiserve.cancellation import bare_cancellation, own_error
from asgiserve.connection.access import log_access
from asgiserve.connection.calling import TaskClosed, call_app
from asgiserve.connection.deadlines import TICK, Reason
from asgiserve.connection.over import Over
from asgiserve.connection.parting import is_called_disconnect, says_only

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeAlias

    from asgiserve.backend import HostTask
    from asgiserve.config import Http, Limits, Timeouts
    from asgiserve.connection.exchange import Exchange
    from asgiserve.connection.http1 import Http1Connection
    from asgiserve.connection.service import Service

    Runner: TypeAlias = Callable[[Http1Connection, Exchange, HostTask], Awaitable[None]]

__all__ = ["contain", "way_of_running"]

_LAST_WORD_SECONDS: Final = 0.5
"""How long a cancelled connection waits for the task of its request."""


def way_of_running(http: Http, limits: Limits, timeouts: Timeouts) -> Runner:
    """The plainest way to call the application that these settings allow: it is taken for every request."""
    if limits.concurrency is not None:
        return _run_within_limit
    return _way_of_calling(http, timeouts)


def _way_of_calling(http: Http, timeouts: Timeouts) -> Runner:
    if http.task_per_request:
        return _run_in_task
    if http.cancel_on_disconnect or timeouts.request != math.inf:
        return _run_in_scope
    return _run


async def _run_within_limit(connection: Http1Connection, exchange: Exchange, host: HostTask) -> None:
    service = connection.service
    assert service.limits.concurrency is not None
    if service.in_flight >= service.limits.concurrency:
        logs.log_warning("Exceeded concurrency limit.")
        await exchange.answer(503)
        return
    exchange.enter()
    try:
        await _way_of_calling(service.http, service.timeouts)(connection, exchange, host)
    finally:
        exchange.leave()


async def _run_in_task(connection: Http1Connection, exchange: Exchange, host: HostTask) -> None:
    """In a task of the request's own; the leading task waits until it ends or lingers."""
    exchange.returned = anyio.Event()
    connection.service.spawn(_run_and_tell, connection, exchange)
    try:
        await exchange.returned.wait()
    except BaseException:
        # Cancelled, and that task with us: it may answer the peer before our end takes the stream away.
        with anyio.move_on_after(_LAST_WORD_SECONDS, shield=True):
            await exchange.returned.wait()
        raise


@ki_protected
async def _run_and_tell(connection: Http1Connection, exchange: Exchange) -> None:
    assert exchange.returned is not None
    service, host = connection.service, host_task()
    try:
        await _run_in_scope(connection, exchange, host)
    except BaseException as error:
        await contain(service, exchange, error)
    finally:
        service.lingering.discard(exchange)
        exchange.returned.set()
    if host.cancelling():
        await host.absorb_cancellation()


async def _run_in_scope(connection: Http1Connection, exchange: Exchange, host: HostTask) -> None:
    """Inside a cancel scope of the request's own, which the watcher may cancel."""
    timeouts, now = connection.service.timeouts, connection.service.clock()
    if timeouts.request != math.inf:
        connection.deadlines.arm(Reason.REQUEST, now + timeouts.request)
    if connection.service.http.cancel_on_disconnect:
        connection.deadlines.arm(Reason.POLL, now + TICK)
    with anyio.CancelScope() as exchange.scope:
        await _run(connection, exchange, host)


def _run(connection: Http1Connection, exchange: Exchange, host: HostTask) -> Awaitable[None]:
    service, origin = connection.service, exchange.origin
    exchange.host = host
    files = service.http.sendfile
    scope = http_scope(exchange.head, origin.peer, origin.mount, service.state, takes_files=files)
    return call_app(service.app, scope, exchange, host)


async def contain(service: Service, exchange: Exchange, error: BaseException) -> None:
    """The application raised. Logs the error, and raises it again if it is our own cancellation."""
    own = own_error(error, service.loop_end)
    if own is None:
        service.lingering.discard(exchange)
        await _answer_cancelled(exchange)
        raise bare_cancellation(error)
    if isinstance(error, TaskClosed):
        _leave_to_another_task(service, exchange, error)
        raise error
    if exchange.told and says_only(own, is_called_disconnect):
        exchange.context.run(logs.log_parting, exchange.head.method, exchange.path, own)
        return
    exchange.failed = True
    service.log_app_error(exchange.context, exchange.head.method, exchange.path, own)


def _leave_to_another_task(service: Service, exchange: Exchange, error: TaskClosed) -> None:
    """This task is being closed: another one answers, and ends the connection."""
    exchange.failed = True
    service.log_app_error(exchange.context, exchange.head.method, exchange.path, error)
    service.lingering.discard(exchange)
    if exchange.returned is None and not exchange.lingers:
        exchange.connection.hand_over(exchange)


async def _answer_cancelled(exchange: Exchange) -> None:
    """The application was cancelled: tell the peer, if nothing was sent and the kernel takes it at once.

    We are inside a cancelled scope: a send that would have to wait ends with the cancellation instead.
    """
    try:
        if not exchange.head_sent and not exchange.completed and exchange.over is not Over.PEER_LEFT:
            await exchange.answer(503)
    except BaseException:
        if exchange.connection.stream.peer_closed():
            exchange.over = Over.PEER_LEFT  # nobody has looked until now
        raise
    finally:
        # The whole connection is cancelled: nobody comes after us who would write its line. But the task that leads
        # and the request's own, where it has one, both come here.
        if not exchange.completed and not exchange.failed:
            exchange.failed = True
            log_access(exchange)
