"""What goes on in a server at this moment, as text for people: each connection, what it waits for, and where its
application is.

Nothing here is kept for it while the server runs: it is read off the connections when somebody asks. Called by
`Server.overview()`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgiserve.connection.deadlines import Reason
from asgiserve.connection.stacks import stack_of
from asgiserve.logs import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asgiserve.connection.service import Connection, Running, Service

__all__ = ["overview"]


def overview(service: Service) -> str:
    """Connections first, then the applications that go on behind theirs."""
    now = service.clock()
    exchanges = {one.exchange for one in service.connections}
    lingering = [one for one in service.lingering if one not in exchanges]
    lines = [f"{_count(len(service.connections), 'connection')}, {_count(len(lingering), 'lingering application')}"]
    if service.handshakes:
        lines.append(f"{_count(len(service.handshakes), 'TLS handshake')} going on")
    for connection in sorted(service.connections, key=lambda one: one.opened_at):
        lines += _about(connection, now)
    for running in lingering:
        lines.append(f"lingering: {_request(running)}")
        lines += _where(running)
    return "\n".join(lines)


def _about(connection: Connection, now: float) -> Iterator[str]:
    peer = connection.origin.client_name or "a Unix socket"
    line = f"{peer}, open for {now - connection.opened_at:.1f} s: {connection.doing(now)}"
    for when, reason in connection.deadlines.armed():
        if reason is not Reason.IDLE:  # armed long ago, perhaps: `doing` knows better
            line += f"; {reason.name.lower()} deadline in {max(when - now, 0.0):.1f} s"
            break
    yield line
    if connection.exchange is not None:
        yield from _where(connection.exchange)


def _where(running: Running) -> Iterator[str]:
    if running.coroutine is not None:
        yield from stack_of(running.coroutine).rstrip("\n").split("\n")


def _request(running: Running) -> str:
    return f"{printable(running.head.method)} {printable(running.path)}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
