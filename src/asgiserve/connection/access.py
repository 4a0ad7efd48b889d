"""The access log's line of one exchange, written when its response is complete or never will be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asgiserve import logs
from asgiserve.connection.over import Over

if TYPE_CHECKING:
    from asgiserve.connection.exchange import Exchange

__all__ = ["log_access"]

# What is said of an exchange that ended before its response did: nginx's 499 for a peer that left.
_STATUS_OF_LOSS: Final = {Over.PEER_LEFT: 499, Over.TIMED_OUT: 408, Over.OVERRAN: 504}


def log_access(exchange: Exchange) -> None:
    """Write the line in the exchange's own context: a formatter may look for a trace id there."""
    connection, head = exchange.connection, exchange.head
    if not connection.service.access_log:
        return
    status = exchange.status
    if exchange.over is not None and (connection.outlet.broken or not exchange.completed):
        status = _STATUS_OF_LOSS.get(exchange.over, status)
    target = head.raw_path + b"?" + head.query if head.query else head.raw_path
    record = logs.AccessRecord(
        connection.client_name,
        head.method,
        target.decode("ascii"),
        head.http_version,
        status,
        exchange.body_bytes,
        connection.service.stopwatch() - exchange.started_at,
    )
    if exchange.stepping:
        logs.log_access(record)  # we are inside that context already
    else:
        exchange.context.run(logs.log_access, record)
