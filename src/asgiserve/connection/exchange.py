"""One request with its response on HTTP/1: the `receive()` and `send()` that the application is given.

`receive()` pulls from the connection's codec, and from its stream when the codec has nothing left; `send()`, which is
in `response.py`, hands the response writer's bytes to the stream. There is no queue and no task in between, so
back-pressure follows by construction in both directions. Made by the driver (`http1.py`), called by the application.

Once the exchange is over, `receive()` says `http.disconnect`, `send()` ignores what it is given, and neither
touches the stream again: it belongs to the next exchange.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from asgiserve.asgi.http import COMPLETE
from asgiserve.connection.access import log_access
from asgiserve.connection.deadlines import Reason
from asgiserve.connection.fairness import BURST
from asgiserve.connection.origin import origin_of_request
from asgiserve.connection.over import Over
from asgiserve.connection.response import Response
from asgiserve.errors import RemoteProtocolError
from asgiserve.events import NEED_DATA
from asgiserve.protocols.http1 import informational

if TYPE_CHECKING:
    from asgiserve.backend import HostTask
    from asgiserve.connection.http1 import Http1Connection
    from asgiserve.events import RequestHead
    from asgiserve.types import Message

__all__ = ["Exchange", "Over"]

_CONTINUE: Final = informational(100, ())

_HEARD: Final = (None, Over.NOTICE, Over.GIVEN_UP)
"""While it is over like this, or not at all, the peer may be there."""

_ENDED: Final = Over.ENDED  # until py3.12, reading a member of an Enum class costs ten times as much


class Exchange(Response):
    """One request with its response."""

    __slots__ = (
        "_body_given",
        "_continued",
        "_counted",
        "_disconnects",
        "context",
        "coroutine",
        "failed",
        "host",
        "lingers",
        "origin",
        "returned",
        "scope",
        "started_at",
    )

    host: HostTask
    """The task in which the application is called."""

    def __init__(self, connection: Http1Connection, head: RequestHead) -> None:
        Response.__init__(self, connection, head)  # not by super(): one is made for every request
        service = connection.service
        self.context = service.context.copy()
        self.origin = (
            origin_of_request(connection.origin, head, service.proxies) if head.forwarding else connection.origin
        )
        self.coroutine: Any = None
        """The application's, while it is being called."""
        self.failed = self.lingers = False
        """It raised, and its error has been logged; it goes on after its response, and the connection without it."""
        self.returned: anyio.Event | None = None
        """With a task per request: the application has returned, or lingers."""
        self.scope: anyio.CancelScope | None = None
        """The request's own cancel scope, where a setting asks for one."""
        self.started_at = service.stopwatch() if service.access_log else 0.0
        self._body_given = self._continued = self._counted = False
        self._disconnects = 0

    # --- what the application calls ---

    async def receive(self) -> Message:
        """ASGI's `receive()`. What is ready is returned without a checkpoint."""
        if self.over is not None:
            return await self._disconnected()
        connection = self.connection
        if not connection.codec.body_complete:
            # Nothing of a body is taken inside a cancelled scope: Starlette's is_disconnected() calls receive() in
            # one, and would throw the message away. (A checkpoint instead would ask the application for it again.)
            cancelled = self.host.cancelled() if self.stepping else anyio.current_effective_deadline() == -math.inf
            if not (cancelled or self.head.expects_continue or connection.inlet.turn.taken):
                rest = connection.codec.rest_of_body()
                if rest is not None:
                    self._body_given = True
                    return {"type": "http.request", "body": rest, "more_body": False}
            return await self._receive_body(cancelled)
        if not self._body_given:
            self._body_given = True
            return {"type": "http.request", "body": b"", "more_body": False}
        return await self._receive_disconnect()

    # --- what the driver and the watcher call ---

    def enter(self) -> None:
        """Count for `limit_concurrency`, until the response is complete or the application has returned."""
        self._counted = True
        self.connection.service.in_flight += 1

    def leave(self) -> None:
        if self._counted:
            self._counted = False
            self.connection.service.in_flight -= 1

    def suspended(self) -> None:
        """The application's own coroutine has suspended."""
        connection = self.connection
        connection.streak = 0  # others have their turn now
        if connection.outlet.kept:
            connection.outlet.send_kept()
            if connection.outlet.broken:
                self.end(Over.PEER_LEFT)
        if self.completed:
            if not self.lingers:
                self.lingers = True
                connection.service.lingering.add(self)
                if self.returned is None:
                    connection.hand_over(self)
                else:
                    self.returned.set()
        elif self.held is not None:
            self.flush_soon()

    async def let_go(self) -> None:
        """Take the stream back: from here on, neither `receive()` nor `send()` of this exchange touch it."""
        self.end(Over.ENDED)
        self.state = COMPLETE
        turn = self.connection.inlet.turn
        if turn.taken:
            await turn.take()
            turn.free()

    @property
    def path(self) -> str:
        """The path as received, for log lines."""
        return self.head.raw_path.decode("ascii")

    @property
    def told(self) -> bool:
        """The application has been given an `http.disconnect`."""
        return self._disconnects > 0

    @property
    def unheard(self) -> bool:
        return self.told or self.over not in _HEARD

    def age(self) -> float | None:
        """Known where it is needed for the access log."""
        service = self.connection.service
        return service.stopwatch() - self.started_at if service.access_log else None

    # --- the request's side ---

    async def _receive_body(self, cancelled: bool) -> Message:
        connection = self.connection
        turn = connection.inlet.turn
        if turn.taken:
            await turn.take()
        else:
            if cancelled:
                # That the peer has left may be told: it takes nothing of the body.
                if connection.stream.peer_closed():
                    return await self._disconnected()
                await checkpoint_if_cancelled()
            turn.taken = True
        try:
            # Fairness: an upload that is there sooner than it is read lets others run. Before anything of it is taken.
            connection.streak += 1
            if connection.streak >= BURST:
                connection.streak = 0
                await checkpoint()
            if self.head.expects_continue and not self._continued:
                self._continued = True
                if not self.head_sent:
                    await self.write(_CONTINUE)
            while self.over is None and not connection.codec.body_complete:
                event = connection.codec.next_body()
                if event is not NEED_DATA:
                    self._body_given = not event.more
                    return {"type": "http.request", "body": event.data, "more_body": event.more}
                if not await connection.inlet.read_body():
                    self.end(Over.PEER_LEFT)
        except RemoteProtocolError as error:
            await self._refuse(error)
        finally:
            turn.free()
        return await self.receive()

    async def _receive_disconnect(self) -> Message:
        connection = self.connection
        if connection.stream.peer_closed():
            self.over = Over.PEER_LEFT
            return await self._disconnected()
        turn = connection.inlet.turn
        await turn.take()
        try:
            while self.over is None:
                if not await connection.inlet.read_ahead():
                    self.end(Over.PEER_LEFT)
        finally:
            turn.free()
        return await self._disconnected()

    async def _refuse(self, error: RemoteProtocolError) -> None:
        """The body broke a rule of HTTP: answer at once, whatever the application may still want to say."""
        self.over = Over.REFUSED
        self.connection.log_refusal(error)
        if not self.head_sent:
            await self.answer(error.status)

    async def _disconnected(self) -> Message:
        # A loop that calls receive() until something else comes must not hold the event loop for ever.
        if self._disconnects >= 2:
            await checkpoint()
        self._disconnects += 1
        return {"type": "http.disconnect"}

    def complete(self) -> None:
        """The kernel has the whole response, or the peer is gone and it never will."""
        self.completed = True
        if self.over is None:
            self.over = _ENDED
        if self._flush_armed:
            self.connection.deadlines.disarm(Reason.FLUSH)
        if self._counted:
            self.leave()
        if self.connection.service.access_log:
            log_access(self)
        if not self.stepping and self.coroutine is not None:
            # A task of the application's has completed it, while the application itself is suspended.
            self.suspended()
