"""One request with its response on HTTP/1: the `receive()` and `send()` that the application is given.

`receive()` pulls from the connection's codec, and from its stream when the codec has nothing left; `send()` hands
the response writer's bytes to the stream. There is no queue and no task in between, so back-pressure follows by
construction in both directions. Made by the driver (`http1.py`), called by the application.

Once the exchange is over, `receive()` says `http.disconnect`, `send()` ignores what it is given, and neither
touches the stream again: it belongs to the next exchange.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from asgiserve.asgi.http import COMPLETE, EarlyHint, ResponseMessages, Trailers
from asgiserve.backend import ki_protected
from asgiserve.connection.access import log_access
from asgiserve.connection.deadlines import TICK, Reason
from asgiserve.connection.over import Over
from asgiserve.errors import LocalProtocolError, RemoteProtocolError
from asgiserve.events import BodyChunk, NeedData, ResponseHead
from asgiserve.protocols.http1 import ResponseWriter, error_response, informational

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asgiserve.connection.http1 import Http1Connection
    from asgiserve.events import RequestHead
    from asgiserve.types import Header, Message

__all__ = ["Exchange", "Over"]

READ_AHEAD: Final = 65_536
"""Bytes of pipelined requests that are kept while an application waits for a disconnect; then reading stops."""

_JOINED: Final = 65_536
"""Bytes: a body up to this size is copied behind the head: the copy costs less than a second system call."""

_CONTINUE: Final = informational(100, ())


_ENDED: Final = Over.ENDED  # until py3.12, reading a member of an Enum class costs ten times as much


class Exchange:
    """One request with its response."""

    # Defaults on the class: an ordinary exchange never changes most of them, and setting two dozen attributes
    # for each request costs more than reading its head.
    held = False
    """The response's head has been checked and waits for the first body message."""
    head_sent = False
    completed = False
    """The whole response has been sent, by the application or in its place."""
    may_go_on = False
    """The response allows another request on this connection."""
    over: Over | None = None
    failed = False
    """The application raised, and its error has been logged."""
    lingers = False
    """The application goes on after its response; the connection does not wait for it."""
    returned: anyio.Event | None = None
    """With a task per request: the application has returned, or lingers."""
    coroutine: Any = None
    stepping = False
    scope: anyio.CancelScope | None = None
    """The request's own cancel scope, where a setting asks for one."""
    status = 0
    body_bytes = 0
    writer: ResponseWriter | None = None
    """There from the start message on."""
    _body_given = False
    _counted = False
    _continued = False
    _disconnects = 0
    _flush_armed = False
    _receiving: anyio.CancelScope | None = None
    started_at = 0.0
    _trailers: Sequence[Header] = ()

    def __init__(self, connection: Http1Connection, head: RequestHead) -> None:
        service = connection.service
        self.head = head
        self.context = service.context.copy()
        self.connection = connection
        self._messages = ResponseMessages()
        if service.access_log:
            self.started_at = service.stopwatch()

    # --- what the application calls ---

    async def receive(self) -> Message:
        """ASGI's `receive()`. What is ready is returned without a checkpoint."""
        if self.over is not None:
            return await self._disconnected()
        if not self.connection.codec.body_complete:
            return await self._receive_body()
        if not self._body_given:
            self._body_given = True
            return {"type": "http.request", "body": b"", "more_body": False}
        return await self._receive_disconnect()

    async def send(self, message: Message) -> None:
        """ASGI's `send()`. Raises LocalProtocolError; never because the peer is gone (see `spec_version`)."""
        event = self._messages.advance(message)
        kind = type(event)
        if kind is BodyChunk:
            await self._send_body(event)  # type: ignore[arg-type]
        elif kind is ResponseHead:
            if self._begin(event):  # type: ignore[arg-type]
                await self._write(self._take_head())
        elif event is None:
            await checkpoint()
        elif isinstance(event, EarlyHint):
            await self._send_early_hint(event)
        elif isinstance(event, Trailers):
            await self._send_trailers(event)

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
        if self.completed:
            if not self.lingers:
                self.lingers = True
                self.connection.service.lingering.add(self)
                if self.returned is None:
                    self.connection.hand_over(self)
                else:
                    self.returned.set()
        elif self.held:
            self._arm_flush()

    def end(self, why: Over) -> None:
        """Nothing more comes for the application: wake whoever waits in `receive()`."""
        if self.over is None:
            self.over = why
        if self._receiving is not None:
            self._receiving.cancel()

    async def let_go(self) -> None:
        """Take the stream back: from here on, neither `receive()` nor `send()` of this exchange touch it."""
        self.end(Over.ENDED)
        self._messages.end()
        reading = self.connection.reading
        if reading.taken:
            await reading.take()
            reading.free()

    @ki_protected
    async def flush(self) -> None:
        """Send the head that is held back: the body does not come soon."""
        if self.held and not self.completed:
            await self._write(self._take_head())

    async def answer(self, status: int) -> None:
        """Answer in the application's place; only while nothing of its own response is on the wire."""
        self.held = False
        self._messages.end()
        self.status = status
        service = self.connection.service
        self.head_sent = True
        await self._write(
            error_response(
                status,
                service.default_fields,
                service.date(),
                head_only=self.head.method == "HEAD",
                retry_after=1 if status == 503 else None,
            )
        )
        self._complete()

    @property
    def path(self) -> str:
        """The path as received, for log lines."""
        return self.head.raw_path.decode("ascii")

    @property
    def cut_needs_reset(self) -> bool:
        """Whether closing alone would make an incomplete response look complete (RFC 9112 8)."""
        return self.writer is not None and self.writer.ends_with_connection

    # --- the request's side ---

    async def _receive_body(self) -> Message:
        connection = self.connection
        reading = connection.reading
        if reading.taken:
            await reading.take()
        else:
            # Nothing of a body is taken inside a cancelled scope: Starlette's is_disconnected() calls
            # receive() in one, and would throw the message away. That the peer has left may be told there:
            # it takes nothing of the body.
            if anyio.current_effective_deadline() == -math.inf and connection.stream.peer_closed():
                return {"type": "http.disconnect"}
            await checkpoint_if_cancelled()
            reading.taken = True
        try:
            if self.head.expects_continue and not self._continued:
                self._continued = True
                if not self.head_sent:
                    await self._write(_CONTINUE)
            while self.over is None and not connection.codec.body_complete:
                event = connection.codec.next_body()
                if not isinstance(event, NeedData):
                    self._body_given = not event.more
                    return {"type": "http.request", "body": event.data, "more_body": event.more}
                await self._read_more(Reason.BODY, connection.service.timeouts.body)
        except RemoteProtocolError as error:
            await self._refuse(error)
        finally:
            reading.free()
        return await self.receive()

    async def _receive_disconnect(self) -> Message:
        connection = self.connection
        if connection.stream.peer_closed():
            self.over = Over.PEER_LEFT
            return await self._disconnected()
        await connection.reading.take()
        try:
            while self.over is None:
                if connection.codec.buffered < READ_AHEAD:
                    await self._read_more(None, 0.0)
                else:
                    await self._wait_without_reading()
        finally:
            connection.reading.free()
        return await self._disconnected()

    async def _read_more(self, reason: Reason | None, seconds: float) -> None:
        """Feed the codec once. The wait is a scope of its own, which `end` and `let_go` cancel."""
        connection = self.connection
        data = b""
        with anyio.CancelScope() as self._receiving:
            if reason is not None:
                connection.deadlines.arm(reason, connection.service.clock() + seconds)
            try:
                data = await connection.stream.receive()
            except (EndOfStream, BrokenResourceError, ClosedResourceError):
                self.over = self.over or Over.PEER_LEFT
            finally:
                if reason is not None:
                    connection.deadlines.disarm(reason)
                self._receiving = None
        if data:
            connection.codec.receive_data(data)

    async def _wait_without_reading(self) -> None:
        """The buffer is full: the watcher asks for the peer's FIN instead of a read that would find it."""
        connection = self.connection
        connection.poll_soon()
        with anyio.CancelScope() as self._receiving:
            try:
                await anyio.sleep_forever()
            finally:
                self._receiving = None
                if not connection.service.http.cancel_on_disconnect:
                    # The answer would come to the next exchange, which has not asked.
                    connection.deadlines.disarm(Reason.POLL)

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

    # --- the response's side ---

    def _begin(self, event: ResponseHead) -> bool:
        """Check the response's head; whether it has to go out at once."""
        service = self.connection.service
        try:
            self.writer = writer = ResponseWriter(self.head, event, service.default_fields, service.date())
        except LocalProtocolError:
            # Nothing of it is on the wire: an error middleware may still begin a clean response.
            self._messages.retract_start()
            raise
        self.status = event.status
        if not writer.length_known:
            # A stream: clients see the head before the first event.
            return True
        self.held = True
        if not self.stepping:
            self._arm_flush()
        return False

    async def _send_body(self, chunk: BodyChunk) -> None:
        data, more, writer = chunk.data, chunk.more, self.writer
        assert writer is not None
        held, self.held = self.held, False
        head = writer.head(close=self.connection.must_close()) if held else b""
        buffers = writer.body(data, more)
        size = len(data) if buffers else 0
        if held:
            # Only now: had the body not fitted its length, nothing would be on the wire.
            self.head_sent = True
            self.may_go_on = writer.keep_alive
            buffers = (head + buffers[0],) if buffers and size <= _JOINED else (head, *buffers)
        if buffers:
            if await self.connection.outlet.write(*buffers):
                self.body_bytes += size
            else:
                self._lost()
        if self._messages.state is COMPLETE:
            self._complete()
        elif more:
            # Fairness: an application that only ever sends still lets others run.
            await checkpoint()
        elif self.head.http_version == "1.0":
            # Trailers were not offered, so none are waited for.
            self._messages.end()
            self._complete()

    async def _send_early_hint(self, event: EarlyHint) -> None:
        # Behind the final head, or to a client of HTTP/1.0, there is no place for it on the wire.
        if not self.head_sent and self.head.http_version != "1.0" and event.links:
            await self._write(informational(103, [(b"link", link) for link in event.links]))
        await checkpoint()

    async def _send_trailers(self, event: Trailers) -> None:
        self._trailers = [*self._trailers, *event.headers]
        if event.more:
            await checkpoint()
            return
        # RFC 9110 6.5.1: a peer that has not said so may throw trailer fields away, or stumble over them.
        wanted = any(name == b"te" and _takes_trailers(value) for name, value in self.head.headers)
        assert self.writer is not None
        end = self.writer.trailers(self._trailers if wanted else ())
        if end:
            await self._write(end)
        self._complete()

    def _take_head(self) -> bytes:
        assert self.writer is not None
        head = self.writer.head(close=self.connection.must_close())
        self.held = False
        self.head_sent = True
        self.may_go_on = self.writer.keep_alive
        return head

    def _arm_flush(self) -> None:
        # Once: an application that suspends again and again must not put it off for ever.
        if not self._flush_armed:
            self._flush_armed = True
            connection = self.connection
            connection.deadlines.arm(Reason.FLUSH, connection.service.clock() + TICK)

    async def _write(self, *buffers: bytes) -> None:
        if not await self.connection.outlet.write(*buffers):
            self._lost()

    def _lost(self) -> None:
        """Writing has failed: the peer is gone for good."""
        if self.over is Over.NOTICE:
            self.over = Over.PEER_LEFT  # it is not the notice that ended this
        self.end(Over.PEER_LEFT)

    def _complete(self) -> None:
        """The kernel has the whole response, or the peer is gone and it never will."""
        self.completed = True
        if self.over is None:
            self.over = _ENDED
        if self._counted:
            self.leave()
        if self.connection.service.access_log:
            log_access(self)
        if self.coroutine is not None and not self.stepping:
            # A task of the application's has completed it, while the application itself is suspended.
            self.suspended()


def _takes_trailers(value: bytes) -> bool:
    """Whether this value of a TE field has the member `trailers`."""
    return any(member.partition(b";")[0].strip() == b"trailers" for member in value.lower().split(b","))
