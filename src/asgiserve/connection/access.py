"""The access log's line of one exchange, written when its response is complete or never will be.

An ordinary line costs what it costs today: a format of the user's own, paths that are left out and ids of requests are
an `AccessLines` of their own, which a server has only if it was asked for one of them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from asgiserve import logs
from asgiserve.access_format import excluding, read_format
from asgiserve.connection.over import Over

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asgiserve.access_format import AccessFormat
    from asgiserve.config import Log
    from asgiserve.connection.exchange import Exchange
    from asgiserve.types import Header

__all__ = ["AccessLines", "access_lines", "log_access"]

# What is said of an exchange that ended before its response did: nginx's 499 for a peer that left.
_STATUS_OF_LOSS: Final = {Over.PEER_LEFT: 499, Over.TIMED_OUT: 408, Over.OVERRAN: 504}


def log_access(exchange: Exchange) -> None:
    """Write the line in the exchange's own context: a formatter may look for a trace id there."""
    connection, head = exchange.connection, exchange.head
    service = connection.service
    if not service.access_log:
        return
    lines = service.access_lines
    if lines is not None and lines.excluded is not None and lines.excluded(exchange.path):
        return
    status = exchange.status
    # Of a response to HEAD, everything has been said with its head.
    complete = exchange.completed or (exchange.head_sent and head.method == "HEAD")
    if exchange.over is not None and (connection.outlet.broken or not complete):
        status = _STATUS_OF_LOSS.get(exchange.over, status or 500)  # 0 would say that there was no request
    target = head.raw_path + b"?" + head.query if head.query else head.raw_path
    record = logs.AccessRecord(
        exchange.origin.client_name or "-",
        head.method,
        target.decode("ascii"),
        head.http_version,
        status,
        exchange.body_bytes,
        service.stopwatch() - exchange.started_at,
    )
    if lines is not None:
        _run_in_context(exchange, lines.write, exchange, record)
    elif exchange.stepping:
        logs.log_access(record)  # we are inside that context already
    else:
        exchange.context.run(logs.log_access, record)


def _run_in_context(exchange: Exchange, write: Callable[..., None], *args: Any) -> None:
    if exchange.stepping:
        write(*args)
    else:
        exchange.context.run(write, *args)


def access_lines(log: Log) -> AccessLines | None:
    """How this server's lines differ from the ordinary ones; None if they do not."""
    if log.access_log_format is None and not log.access_log_exclude and log.request_id_header is None:
        return None
    return AccessLines(log)


class AccessLines:
    """Lines that are not the ordinary ones, or are left out."""

    def __init__(self, log: Log) -> None:
        self.excluded = excluding(log.access_log_exclude)
        """Whether requests for a path have no line; None where all have one."""
        self._format = None if log.access_log_format is None else read_format(log.access_log_format)

    def write(self, exchange: Exchange, record: logs.AccessRecord) -> None:
        """Write the line of this exchange, in its context."""
        known = logs.request_id.get("")
        if self._format is None:
            logs.log_access(record, known)
        else:
            fields = _fields_of(self._format, exchange, record, known)
            logs.log_access(record, known, self._format.template, fields)


def _fields_of(wanted: AccessFormat, exchange: Exchange, record: logs.AccessRecord, known: str) -> dict[str, Any]:
    """All fields that cost nothing, and those that the format names."""
    head = exchange.head
    fields: dict[str, Any] = {
        "client": logs.printable(record.client),
        "method": record.method,
        "target": logs.printable_bytes(record.target.encode("ascii")),
        "http_version": record.http_version,
        "status": record.status,
        "bytes": record.body_bytes,
        "duration": record.duration_s * 1000,
    }
    if known or "request_id" in wanted.names:
        fields["request_id"] = known or "-"
    for name in wanted.names:
        if name not in fields:
            fields[name] = _field(name, exchange, record)
    for key, header in wanted.request:
        fields[key] = _header(head.headers, header)
    for key, header in wanted.response:
        fields[key] = _header(exchange.fields, header)
    return fields


def _field(name: str, exchange: Exchange, record: logs.AccessRecord) -> str:
    match name:
        case "path":
            return logs.printable_bytes(exchange.head.raw_path)
        case "query":
            return logs.printable_bytes(exchange.head.query)
        case "scheme":
            return exchange.origin.peer.scheme
        case "phrase":
            return logs.phrase_of(record.status)
        case "time":
            return logs.timestamp(time.time())
    raise AssertionError(name)  # `access_format.py` names no other


def _header(headers: Sequence[Header], wanted: bytes) -> str:
    """Its values, joined as RFC 9110 5.3 does; a hyphen where it is not there."""
    values = [value for name, value in headers if name == wanted or name.lower() == wanted]
    return logs.printable_bytes(b", ".join(values)) or "-"
