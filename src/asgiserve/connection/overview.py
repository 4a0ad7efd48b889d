"""What goes on in a server at this moment, as text for people: each connection, what it waits for, and where its
application is.

Nothing here is kept for it while the server runs: it is read off the connections when somebody asks. The text has a
bound, and what matters is first: whoever has a request, the oldest first. Called by `server/overview.py`, in any
thread: so containers are copied before they are gone through, and what may change meanwhile is read once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asgiserve.connection.deadlines import Reason
from asgiserve.connection.stacks import stack_of
from asgiserve.logs import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from asgiserve.connection.service import Connection, Running, Service

__all__ = ["connections_text", "lasting"]

_BUSY_SHOWN: Final = 200
_IDLE_SHOWN: Final = 20
"""Lines of each kind, at most: idle connections are many, and alike."""

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def connections_text(service: Service) -> str:
    """How many there are, then those with a request, those without, and the applications that go on behind theirs."""
    now = service.clock()
    asked = [(one, one.exchange) for one in sorted(service.connections, key=lambda one: one.opened_at)]
    busy = sorted(((one, running) for one, running in asked if running is not None), key=_place)
    idle = [one for one, running in asked if running is None]
    exchanges = {running for _, running in busy}
    lingering = [one for one in tuple(service.lingering) if one not in exchanges]
    stacks = _Stacks()
    return "\n".join(
        [
            *_counts(service, len(asked), len(busy), len(lingering)),
            *_shown((_about_busy(*one, now, stacks) for one in busy), len(busy), _BUSY_SHOWN, "connections"),
            *_shown(([_about(one, None, now)] for one in idle), len(idle), _IDLE_SHOWN, "idle connections"),
            *_shown(
                (_about_lingering(one, stacks) for one in lingering), len(lingering), _BUSY_SHOWN, "lingering ones"
            ),
        ]
    )


def _place(busy: tuple[Connection, Running]) -> tuple[bool, float]:
    """Requests before WebSockets, and what has taken longest first."""
    return _is_websocket(*busy), -(busy[1].age() or 0.0)


def _is_websocket(connection: object, running: object) -> bool:
    """Asked so, since its class is not imported where there can be none."""
    return running is connection  # it is its own exchange


def lasting(seconds: float) -> str:
    """A duration as people say it: "3.0 s", "12 min 5 s", "2 d 3 h"."""
    if seconds < 60:
        return f"{max(seconds, 0.0):.1f} s"
    left, parts = int(seconds), []
    for size, unit in _UNITS:
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts[:2])


def _counts(service: Service, connections: int, busy: int, lingering: int) -> Iterator[str]:
    limit = service.limits.connections
    open_ones = f"{_of(connections, limit)} {_plural('connection', connections if limit is None else limit)}"
    yield f"{open_ones}, {busy} of them with a request or a WebSocket; {_count(lingering, 'lingering application')}"
    if service.limits.concurrency is not None:
        in_flight = _of(service.in_flight, service.limits.concurrency)
        yield f"{in_flight} in flight (limit_concurrency: more are answered 503)"
    if service.handshakes:
        yield f"{_count(len(service.handshakes), 'TLS handshake')} going on"


def _shown(texts: Iterable[Iterable[str]], count: int, most: int, what: str) -> Iterator[str]:
    for number, lines in enumerate(texts):
        if number == most:
            yield f"and {count - most} more {what}"
            return
        yield from lines


def _about(connection: Connection, running: Running | None, now: float) -> str:
    peer = connection.origin.client_name or "a Unix socket"
    # A WebSocket is as old as its connection.
    age = None if running is None or _is_websocket(connection, running) else running.age()
    for_so_long = "" if age is None else f" for {lasting(age)}"
    line = f"{peer}, open for {lasting(now - connection.opened_at)}: {connection.doing(now)}{for_so_long}"
    for when, reason in connection.deadlines.armed():
        if reason is not Reason.IDLE:  # armed long ago, perhaps: `doing` knows better
            return f"{line}; {reason.name.lower()} deadline in {lasting(when - now)}"
    return line


def _about_busy(connection: Connection, running: Running, now: float, stacks: _Stacks) -> Iterator[str]:
    yield _about(connection, running, now)
    yield from stacks.of(running)


def _about_lingering(running: Running, stacks: _Stacks) -> Iterator[str]:
    age = running.age()
    yield f"lingering: {_request(running)}{'' if age is None else f', begun {lasting(age)} ago'}"
    yield from stacks.of(running)


class _Stacks:
    """Where applications are. Of those that are at one place, the first shows it: when everything hangs, it all hangs
    in one line, and that has to be seen."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def of(self, running: Running) -> Sequence[str]:
        coroutine = running.coroutine
        if coroutine is None:
            return ()
        stack = stack_of(coroutine, brief=True).rstrip("\n")
        first = self._seen.get(stack)
        if first is not None:
            return (f"  at the same place as {first}, above",)
        self._seen[stack] = _request(running)
        return stack.split("\n")


def _request(running: Running) -> str:
    return f"{printable(running.head.method)} {printable(running.path)}"


def _of(number: int, limit: int | None) -> str:
    return str(number) if limit is None else f"{number} of {limit}"


def _count(number: int, what: str) -> str:
    return f"{number} {_plural(what, number)}"


def _plural(what: str, number: int) -> str:
    return what if number == 1 else f"{what}s"
