"""One WebSocket: what it is made of, how far it has come, and every way that it can end.

The application is given `receive()` of the receiving side and `send()` of the sending side; the watcher of deadlines
and the stop of the server come here. Made by `websocket_running.py` for each handshake that may be accepted.

    CONNECTING ──accept──► OPEN ──`end`: a Close of either side, an error, a loss, the stop──► ENDED
        └── refused, or the peer has left ─────────────────────────────────────────────────────┘

From ENDED on, `websocket_closing.py` closes the connection: in the application's task if it has ended first, or else
in a task of its own. Then the application lingers: `receive()` gives it `websocket.disconnect`, `send()` raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from asgiserve import logs
from asgiserve.connection.deadlines import Reason
from asgiserve.connection.heartbeat import Heartbeat
from asgiserve.connection.origin import origin_of_request
from asgiserve.connection.websocket_closing import finish
from asgiserve.connection.websocket_frames import ControlFrames
from asgiserve.connection.websocket_opening import Opening
from asgiserve.connection.websocket_phase import CONNECTING, ENDED, OPEN
from asgiserve.connection.websocket_receiving import Receiving
from asgiserve.connection.websocket_sending import Sending

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asgiserve.asgi.websocket import Acceptance
    from asgiserve.connection.http1 import Http1Connection
    from asgiserve.connection.websocket_phase import Phase
    from asgiserve.events import RequestHead, ResponseHead
    from asgiserve.protocols.websocket import Handshake, WebSocketCodec

__all__ = ["WebSocket"]


class WebSocket:
    """A WebSocket from its handshake to its end."""

    __slots__ = (
        "_counted",
        "_finishing",
        "awaits_close",
        "codec",
        "context",
        "controls",
        "coroutine",
        "deadlines",
        "finished",
        "head",
        "heartbeat",
        "opened_at",
        "opening",
        "origin",
        "outlet",
        "over",
        "phase",
        "receive",
        "receiving",
        "returned",
        "send",
        "sending",
        "service",
        "stepping",
        "streak",
        "stream",
    )

    codec: WebSocketCodec  # there from the acceptance on

    def __init__(self, connection: Http1Connection, head: RequestHead, handshake: Handshake) -> None:
        service = connection.service
        self.service = service
        self.stream = connection.stream
        self.outlet = connection.outlet
        self.deadlines = connection.deadlines
        self.head = head
        self.context = service.context.copy()
        self.coroutine: Any = None
        self.stepping = False
        self.returned = False
        """The application has ended."""
        self.phase: Phase = CONNECTING
        self.over = (1006, "")
        """Code and reason for the application, once it is over."""
        self.awaits_close = False
        """Our Close frame was the first: the peer owes us one."""
        self.streak = 0
        """Frames passed on since the application suspended."""
        self._counted = False
        self._finishing = False
        self.finished = False
        """The connection is closed."""
        self.opened_at = connection.opened_at
        self.origin = origin_of_request(connection.origin, head, service.proxies)
        self.opening: Opening = Opening(service, head, handshake, self.origin.client_name)
        if self.opening.request_id:
            self.context.run(logs.request_id.set, self.opening.request_id)
        self.controls: ControlFrames = ControlFrames(connection.outlet, service)
        self.heartbeat: Heartbeat = Heartbeat(service.websockets, connection.deadlines, service.clock)
        self.receiving: Receiving = Receiving(self, connection.codec.unread())
        self.sending: Sending = Sending(self, self.receiving)
        # Not methods of ours that await these: a level less to resume for every message.
        self.receive = self.receiving.receive
        self.send = self.sending.send
        self.deadlines.arm(Reason.HANDSHAKE, service.clock() + service.websockets.timeout_ws_handshake)

    # --- what the call of the application needs ---

    @property
    def path(self) -> str:
        """The path as received, for log lines."""
        return self.head.raw_path.decode("ascii")

    def suspended(self) -> None:
        """The application's own coroutine has suspended."""
        self.streak = 0
        if self.phase is OPEN:
            if not self.receiving.turn.taken:
                self.receiving.expect_reader()
        elif self.phase is ENDED:
            self.finish_soon()

    def enter(self) -> None:
        """Count for `limit_concurrency`, until the WebSocket has ended."""
        self._counted = True
        self.service.in_flight += 1

    # --- the beginning ---

    def accept(self, acceptance: Acceptance) -> bytes:
        """Open it; the answer to be written. Raises LocalProtocolError, and nothing has changed then."""
        answer, self.codec = self.opening.accept(acceptance)
        self.codec.receive_data(bytes(self.receiving.early))
        self.receiving.early.clear()
        self.phase = OPEN
        self.deadlines.disarm(Reason.HANDSHAKE)
        self.heartbeat.start()
        self.receiving.wake()
        if not self.stepping:
            # By a task of the application's, and nobody sees it suspend.
            self.receiving.expect_reader()
        return answer

    def begin_denial(self, head: ResponseHead) -> None:
        """The application refuses with a response of its own. Raises LocalProtocolError."""
        self.opening.begin_denial(head)
        self.deadlines.disarm(Reason.HANDSHAKE)

    def refuse(self, status: int) -> None:
        """Refuse it with no more than this status; cut it off, if another answer has begun."""
        if self.phase is not CONNECTING:
            return
        if self.opening.denial_begun:
            self.cut()
        else:
            self.end(1006, last=self.opening.refuse(status))

    # --- every way to end ---

    def close(self, code: int, reason: str, *, wait: bool = True) -> None:
        """Close it the polite way: a Close frame, and a `wait` for the peer's. Raises LocalProtocolError."""
        if self.phase is OPEN:
            self.end(code, reason, last=self.codec.close(code, reason), wait=wait)

    def cut(self) -> None:
        """The rude way: nothing that could still be written would make sense to the peer."""
        self.outlet.broken = True
        self.stream.abort()
        self.end(1006)

    def end(self, code: int, reason: str = "", *, last: bytes = b"", wait: bool = False) -> None:
        """It is over for the application. `last` is what the peer is told, and all that it is told."""
        if self.phase is ENDED:
            return
        self.phase = ENDED
        self.over = (code, reason)
        self.awaits_close = wait
        self.sending.close()
        self.deadlines.arm(Reason.CLOSE, self.service.clock() + self.service.websockets.timeout_ws_close)
        if last:
            self.controls.last(last)
        self.receiving.wake()
        if not self.stepping:
            self.finish_soon()

    def leave(self) -> None:
        """The server stops: whoever holds a WebSocket is told at once, so that it can go elsewhere."""
        if self.phase is OPEN:
            self.close(1012, "")
        elif not self.opening.denial_begun:
            self.refuse(503)

    def finish_soon(self) -> None:
        """Have the connection closed although the application goes on."""
        if self.claim_finish():
            if not self.returned:
                self.service.lingering.add(self)
            self.service.spawn(finish, self)

    def claim_finish(self) -> bool:
        """Whether whoever asks is the one to close the connection; it counts no more from here on."""
        if self._finishing:
            return False
        self._finishing = True
        if self._counted:
            self._counted = False
            self.service.in_flight -= 1
        return True

    def part(self) -> None:
        """The connection is closed and the application has ended: part from the two sides, which refer to us and would
        all wait for the garbage collector. Who still calls `receive()` or `send()` has them itself."""
        del self.receive, self.send, self.receiving, self.sending

    # --- what the watcher and the stop of the server call; none of it awaits anything ---

    @property
    def exchange(self) -> WebSocket | None:
        """What is in flight here."""
        return None if self.returned else self

    def doing(self, now: float) -> str:
        """For people: how far it has come, and what its application has not taken yet."""
        receiving: Receiving | None = getattr(self, "receiving", None)  # asked in another thread, while we part
        kept = "" if receiving is None else receiving.kept_text()
        return f"WebSocket {logs.printable(self.path)}, {self.phase.value}{kept}"

    def age(self) -> float:
        """Of the whole connection."""
        return self.service.clock() - self.opened_at

    def deadline_passed(self, reason: Reason) -> None:
        _ON_DEADLINE[reason](self)

    def drain(self, now: float) -> None:
        self.leave()

    def notify(self) -> None:
        """The application was told when the stop began."""

    def _ping(self) -> None:
        if self.phase is OPEN:
            frame = self.codec.ping(self.heartbeat.payload())
            self.heartbeat.pinged(sent=self.controls.ping(frame))

    def _miss_pong(self) -> None:
        if self.phase is OPEN and self.heartbeat.overdue(reading=self.receiving.turn.taken):
            self.close(1011, "keepalive ping timeout", wait=False)


_ON_DEADLINE: Final[Mapping[Reason, Callable[[WebSocket], None]]] = {
    Reason.HANDSHAKE: lambda socket: socket.refuse(504),
    Reason.READER: lambda socket: socket.receiving.read_if_nobody_does(),
    Reason.PING: WebSocket._ping,
    Reason.PONG: WebSocket._miss_pong,
    Reason.WRITE: WebSocket.cut,
    Reason.CLOSE: WebSocket.cut,
}
