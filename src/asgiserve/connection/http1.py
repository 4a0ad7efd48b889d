"""The driver of an HTTP/1 connection: reads heads, has the application called for each, ends the connection well.

One task *leads* a connection. It reads a request head, calls the application inline, settles what is left of the
exchange and reads the next head. When an application suspends although its response is complete (a background
task, the exit of a dependency), it keeps the task, and a new one leads from there: the next request never waits.

    lead():  [settle the last exchange] ─► next head ─► call the application ─► settle ─► next head …
                                              │                │                   │
                                              │                └ lingers: a new lead() takes over
                                              └ nothing more ──────────────────────┴► close

A wait for a head that takes too long is interrupted; a running application whose peer is too slow loses the stream
instead. Nothing of this cancels: an application is cancelled only where a setting asks for it, in a scope of its own.

Called by `opening.py`, the watcher (`deadline_passed`) and the stopping task (`drain`, `notify`).
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

import anyio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream, WouldBlock
from anyio.lowlevel import checkpoint

from asgiserve import logs
from asgiserve.backend import host_task, ki_protected
from asgiserve.connection.closing import Drain, close_at_last, close_now, drop_arrived
from asgiserve.connection.deadlines import OF_AN_EXCHANGE, Deadlines, Reason
from asgiserve.connection.fairness import BURST
from asgiserve.connection.head_wait import HEAD, IDLE, HeadWait
from asgiserve.connection.inlet import Inlet
from asgiserve.connection.origin import origin_of_connection
from asgiserve.connection.outlet import Outlet
from asgiserve.connection.over import Over
from asgiserve.connection.running import contain
from asgiserve.connection.unanswered import answer_for
from asgiserve.connection.upgrade import becomes_websocket
from asgiserve.errors import RemoteProtocolError
from asgiserve.events import NEED_DATA
from asgiserve.protocols.http1 import Http1Codec, error_response

if TYPE_CHECKING:
    from asgiserve.asgi.scope import Peer
    from asgiserve.backend import HostTask
    from asgiserve.connection.exchange import Exchange
    from asgiserve.connection.origin import Origin
    from asgiserve.connection.service import Service
    from asgiserve.events import NeedData, RequestHead
    from asgiserve.streams import Stream

__all__ = ["Http1Connection"]


class Close(enum.Enum):
    """How a connection is to end."""

    AT_ONCE = "both sides know that nothing more comes"
    DRAIN = "the peer may still be sending: let it read our answer first"
    RESET = "the response is incomplete, and only a reset shows it"
    DONE = "it has ended"


# Names of this module: until py3.12, reading a member of an Enum class costs ten times as much.
_AT_ONCE, _DRAIN, _RESET, _DONE = Close.AT_ONCE, Close.DRAIN, Close.RESET, Close.DONE

_REFUSAL_SECONDS: Final = 2.0
"""How long the answer to a bad head may take: no deadline of an exchange watches over it."""


class Http1Connection:
    """One HTTP/1 connection, from its first byte to its last."""

    __slots__ = (
        "_close",
        "_drain",
        "_last",
        "_leader",
        "_wait",
        "codec",
        "deadlines",
        "exchange",
        "inlet",
        "opened_at",
        "origin",
        "outlet",
        "service",
        "streak",
        "stream",
    )

    def __init__(self, service: Service, stream: Stream, peer: Peer) -> None:
        self.service = service
        self.stream = stream
        self.origin: Origin = origin_of_connection(peer, service.mount)
        self.opened_at = service.clock()
        self.codec = Http1Codec(service.limits, engine=service.http.http)
        self.deadlines: Deadlines = Deadlines(service.watcher)
        self.inlet: Inlet = Inlet(stream, self.codec, self.deadlines, service)
        self.outlet: Outlet = Outlet(stream, self.deadlines, service)
        self._wait: HeadWait = HeadWait(service, self.deadlines, stream)
        self._close: Close = _AT_ONCE
        self._drain: Drain | None = None
        """The close itself, while the peer still sends."""
        self.exchange: Exchange | None = None
        """The exchange that is going on."""
        self._last = False
        """Whatever is answered next is the last."""
        self._leader: HostTask | None = None
        self.streak = 0
        """Requests that were here already, and parts of bodies that had to wait for nobody, since the last checkpoint
        for the sake of others."""

    # --- the leading task ---

    @ki_protected
    async def lead(self, unsettled: Exchange | None = None) -> None:
        """Serve the connection until it is closed or handed over: from its first byte on, or from this exchange.

        One function, not a ladder of small ones: each level of it would be entered again for every request.
        """
        service = self.service
        service.connections.add(self)
        self._leader = host = host_task()
        try:
            while unsettled is None or self._settle_at_once(unsettled) or await self._settle(unsettled):
                unsettled = self.exchange = None  # nothing of it stays alive while the connection idles
                head = await self._next_head()
                if head is None:
                    break
                service.requests += 1
                if head.upgrade and becomes_websocket(service, head):
                    # 20 ms and 2 MiB that a server with ws=none does without; for auto, see serve.py
                    from asgiserve.connection.websocket_running import serve_websocket

                    await self._write_kept()
                    self._leader = None  # the stream is the WebSocket's from here on
                    await serve_websocket(self, head, host)
                    return
                unsettled = self.exchange = service.exchange(self, head)
                try:
                    await service.run(self, unsettled, host)
                except BaseException as error:
                    await contain(service, unsettled, error)
                if host.cancelling():
                    await host.absorb_cancellation()
                if unsettled.lingers and unsettled.returned is None:
                    service.lingering.discard(unsettled)
                    return
            await self._end()
        finally:
            if self._leader is host:
                # Closed by now, or cancelled: the descriptor must not outlive the task that owns it.
                if self.outlet.kept:
                    self.outlet.send_kept()
                try:
                    if self._close is not _DONE:
                        cut = self.outlet.broken or self.outlet.turn.taken or not self._complete()
                        await close_at_last(self.stream, cut=cut)
                finally:
                    self.exchange = None  # it refers to us: all this would wait for the garbage collector
                    service.release(self)

    def hand_over(self, exchange: Exchange) -> None:
        """The application of this exchange lingers in the leading task: another task leads from here."""
        self._leader = None
        self.service.spawn(self.lead, exchange)

    # --- between exchanges ---

    async def _next_head(self) -> RequestHead | None:
        """The next request's head; None if the connection is to be closed."""
        codec, wait = self.codec, self._wait
        head: RequestHead | NeedData = NEED_DATA
        nothing = codec.empty()
        try:
            if not nothing:
                self.streak += 1
                if self.streak >= BURST:
                    self.streak = 0
                    await self._write_kept()
                    await checkpoint()
                head = codec.next_head()
                if head is NEED_DATA:
                    await self._write_kept()
            while head is NEED_DATA:
                if nothing or not codec.head_begun:
                    if self._last:
                        return None
                    if wait.phase is not IDLE:
                        wait.begin()
                elif wait.phase is not HEAD:
                    wait.head_begun()
                data = await self.stream.receive()
                nothing = False
                if wait.expired is None:
                    head = codec.receive_head(data)
                else:
                    head = self._after_deadline(data)
        except RemoteProtocolError as error:
            await self._refuse(error)
            return None
        except (EndOfStream, BrokenResourceError, ClosedResourceError):
            return None
        wait.end()
        return head

    def _after_deadline(self, data: bytes) -> RequestHead | NeedData:
        """The wait was ended. A request may have arrived in this very moment: closing now would lose it.

        Raises RemoteProtocolError if the rest of a head is too late, otherwise what the stream raises.
        """
        expired = self._wait.expired
        self._wait.let_go()
        self._last = True
        head: RequestHead | NeedData = NEED_DATA
        try:
            while head is NEED_DATA:
                head = self.codec.receive_head(data or self.stream.receive_nowait())
                data = b""
        except WouldBlock:
            if expired is Reason.HEAD:
                raise RemoteProtocolError("The request head took too long.", status=408) from None
        return head

    async def _refuse(self, error: RemoteProtocolError) -> None:
        """Answer a head that breaks a rule. Nothing more is read from this connection."""
        self._wait.end()
        self.deadlines.disarm_all_but_write()
        self.log_refusal(error)
        service, head_only = self.service, self.codec.asks_for_head()
        answer = error_response(error.status, service.default_fields, service.date(), head_only=head_only)
        with anyio.move_on_after(_REFUSAL_SECONDS):
            await self.outlet.write(answer)
        self._close = _DRAIN

    async def _write_kept(self) -> None:
        """Nothing more is about to be written that would take it along."""
        if self.outlet.kept:
            await self.outlet.write()

    def log_refusal(self, error: RemoteProtocolError) -> None:
        """Tell the operator what the peer did wrong."""
        logs.log_refusal(self.origin.client_name, error.status, str(error))

    # --- after an exchange ---

    def _settle_at_once(self, exchange: Exchange) -> bool:
        """Settle the ordinary exchange, of which nothing is left. False: ask `_settle`."""
        return (
            exchange.completed
            and exchange.may_go_on
            and not self.inlet.turn.taken
            and not self.outlet.broken
            and self.codec.finish_request()
        )

    async def _settle(self, exchange: Exchange) -> bool:
        """Finish what the application left; whether the connection may go on with another request."""
        await exchange.let_go()
        for reason in OF_AN_EXCHANGE:
            self.deadlines.disarm(reason)
        if not exchange.completed and not await answer_for(exchange):
            self._close = _RESET if exchange.cut_needs_reset else _AT_ONCE
        if not (exchange.completed and exchange.may_go_on) or self.outlet.broken:
            if self._close is _AT_ONCE and (self.codec.buffered or not self.codec.body_complete):
                self._close = _DRAIN
            return False
        # What is left of a body has arrived: otherwise the response's head would have said `close`.
        self.codec.discard_body()
        self.codec.next_request()
        return True

    async def _end(self) -> None:
        """Close, in the way that was found to fit."""
        self._wait.end()
        self.deadlines.disarm_all_but_write()
        if self.outlet.kept or (self.outlet.turn.taken and self._complete()):
            await self.outlet.write()  # behind whoever writes what was kept: the rest of a whole response
        if self.outlet.broken or self.outlet.turn.taken:
            return  # something is missing on the wire: a reset, by the task that leads, is the honest end
        if self._close is _AT_ONCE and drop_arrived(self.stream):
            # Behind the last answered request something has come: also from a client that has said "close" there are
            # another request, the CRLF that some send behind a body, or TLS's close_notify, which is nothing to drain.
            self._close = _DRAIN
        if self._close is _DRAIN:
            self._drain = Drain(self.stream, self.deadlines, self.service)
            await self._drain.close()
        elif self._close is _AT_ONCE:
            await close_now(self.stream, secure=self.origin.peer.scheme == "https")
        else:
            return
        self._close = _DONE

    def _complete(self) -> bool:
        """Whether everything that was begun has been said."""
        return self.exchange is None or self.exchange.completed

    # --- what others tell the connection; none of it awaits anything ---

    def must_close(self) -> bool:
        """Whether the response that is about to be sent has to be the last one."""
        return self._last or self.service.says_close or not self.codec.body_arrived()

    def deadline_passed(self, reason: Reason) -> None:
        """What the watcher calls. Waiting for a head: end that wait. Application running: cut its stream."""
        exchange = self.exchange
        if reason is Reason.IDLE:
            self._wait.idled()
        elif reason is Reason.HEAD:
            self._wait.expire(reason)
        elif reason in (Reason.BODY, Reason.WRITE):
            self.outlet.broken = True
            if exchange is not None:  # responses that were kept are written between two
                exchange.end(Over.TIMED_OUT)
            self.stream.abort()
        elif reason is Reason.DRAIN:
            self.stream.abort()
        elif exchange is None:
            return
        elif reason is Reason.REQUEST and not exchange.completed:
            # First: who is cancelled is not told to end in the same moment, and does not return instead.
            if exchange.scope is not None:
                exchange.scope.cancel()
            exchange.end(Over.OVERRAN)
        elif reason is Reason.FLUSH:
            self.service.spawn(exchange.flush)
        elif reason is Reason.POLL:
            self._poll(exchange)

    def drain(self, now: float) -> None:
        """The server stops: an idle connection is closed after a linger."""
        if self._drain is None:
            self._wait.drain(now)
        else:
            self._drain.hurry(now)

    def doing(self, now: float) -> str:
        """For people: what is waited for, or the request that is being answered."""
        exchange = self.exchange
        if exchange is None:
            return self._wait.doing(now)
        stage = "answered" if exchange.completed else "being answered" if exchange.head_sent else "no answer yet"
        return f"{logs.printable(exchange.head.method)} {logs.printable(exchange.path)}, {stage}"

    def notify(self) -> None:
        """The server stops: the running application is told `http.disconnect`."""
        if self.exchange is not None:
            self.exchange.end(Over.NOTICE)

    def _poll(self, exchange: Exchange) -> None:
        if exchange.completed:
            return
        if not self.stream.peer_closed():
            self.inlet.poll_soon()
            return
        # Who has been told knows, and tidies up: Starlette runs the background task of a stream whose client has left.
        told = exchange.told and exchange.over is not Over.NOTICE
        if self.service.http.cancel_on_disconnect and not told and exchange.scope is not None:
            exchange.scope.cancel()
        exchange.end(Over.PEER_LEFT)
