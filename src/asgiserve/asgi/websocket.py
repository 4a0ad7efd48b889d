"""A WebSocket's scope, and the order of the messages that an application sends, as a table.

`WebSocketMessages.advance` reads the application's next `send()` message, or refuses it with a text that names the
message, the state and what was expected. The state moves when the driver says that the message took effect: an
acceptance whose headers are refused, or a close with an impossible code, leaves everything as it was. What may stand in
a header or a frame is the codec's rule, not this file's. Called by the WebSocket driver in `connection/`.

    CONNECTING ── accept ──► OPEN ── send: any number; close ──► CLOSED   (every further message: ClientDisconnected)
        │ ├ close: a 403 ─────────────────────────────────────────►┤
        │ └ http.response.start ──► DENYING ── the last body ──────►┤
        └ the peer leaves, the server ends it ─────────────────────►┘
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from asgiserve.asgi.message_values import optional_text, read_headers, refusal, whole_number, wrong
from asgiserve.asgi.scope import http_scope
from asgiserve.errors import ClientDisconnected, LocalProtocolError
from asgiserve.events import BodyChunk, ResponseHead

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asgiserve.asgi.scope import Mount, Peer
    from asgiserve.events import RequestHead
    from asgiserve.types import Header, Message, Scope

__all__ = [
    "CLOSED",
    "CONNECTING",
    "DENYING",
    "OPEN",
    "WEBSOCKET_SPEC_VERSION",
    "Acceptance",
    "Closing",
    "WebSocketEvent",
    "WebSocketMessages",
    "WebSocketState",
    "disconnect",
    "websocket_scope",
]

WEBSOCKET_SPEC_VERSION: Final = "2.5"
"""From 2.4 on `send()` raises an OSError once the WebSocket is closed; 2.5 has the reason of a disconnect."""


@dataclass(slots=True)
class Acceptance:
    """The application opens the WebSocket."""

    subprotocol: str | None
    headers: tuple[Header, ...]


@dataclass(slots=True)
class Closing:
    """The application closes the WebSocket, or refuses it if it is not open yet."""

    code: int
    reason: str


WebSocketEvent: TypeAlias = str | bytes | Acceptance | Closing | ResponseHead | BodyChunk
"""What a message of the application stands for. `str` and `bytes`: a message to the peer."""

_Reader: TypeAlias = Callable[[Any], WebSocketEvent]


@dataclass(frozen=True, eq=False, slots=True)
class WebSocketState:
    """How far a WebSocket has come, as its application sees it; there are the four below, and no others.

    Not an Enum: finding a row of the table by an Enum costs a call of its Python-level hash for every message.
    """

    text: str
    reads: dict[str, _Reader] = field(default_factory=dict)
    """The row of the table: how each message type is read."""


CONNECTING: Final = WebSocketState("the WebSocket has been neither accepted nor refused")
OPEN: Final = WebSocketState("the WebSocket is open")
DENYING: Final = WebSocketState("a response that refuses the WebSocket has been started")
CLOSED: Final = WebSocketState("the WebSocket is closed")


class WebSocketMessages:
    """The state of one WebSocket's messages. Whoever drives it sets `state` when a message has taken effect."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = CONNECTING

    def advance(self, message: Message) -> WebSocketEvent:
        """What the message stands for.

        Raises LocalProtocolError for a message that is unknown, out of order or of a wrong shape, and
        ClientDisconnected for any that comes too late.
        """
        try:
            read = self.state.reads[message["type"]]
        except (KeyError, TypeError):
            raise refusal(message, self.state.text, self._expected()) from None
        return read(message)

    def _expected(self) -> list[str]:
        return [] if self.state is CLOSED else list(self.state.reads)


# --- what the application receives ------------------------------------------------------------


def websocket_scope(
    head: RequestHead, peer: Peer, mount: Mount, state: dict[str, Any], subprotocols: Sequence[str]
) -> Scope:
    """The scope of a WebSocket: that of its handshake's request, but for what an HTTP exchange alone has."""
    scope = http_scope(head, peer, mount, state)
    del scope["method"]
    scope["type"] = "websocket"
    scope["asgi"] = {"version": "3.0", "spec_version": WEBSOCKET_SPEC_VERSION}
    scope["scheme"] = "wss" if peer.scheme == "https" else "ws"
    scope["subprotocols"] = list(subprotocols)
    scope["extensions"] = {"websocket.http.response": {}}
    if peer.tls is not None:
        scope["extensions"]["tls"] = peer.tls.extension()
    return scope


def disconnect(code: int, reason: str) -> Message:
    """The last message that an application receives, again and again."""
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


# --- one reader per message type --------------------------------------------------------------


def _read_accept(message: Message) -> Acceptance:
    return Acceptance(optional_text(message, "subprotocol"), read_headers(message))


def _read_close(message: Message) -> Closing:
    return Closing(whole_number(message, "code", 1000), optional_text(message, "reason") or "")


def _read_send(message: Message) -> str | bytes:
    text = message.get("text")
    data = message.get("bytes")
    if data is None:
        if type(text) is str:
            return text
        if text is None:
            raise LocalProtocolError("ASGI message 'websocket.send': one of 'bytes' and 'text' must be there.")
        if not isinstance(text, str):
            raise wrong(message, "text", text, "a str")
        return str(text)
    if text is not None:
        raise LocalProtocolError("ASGI message 'websocket.send': only one of 'bytes' and 'text' may be there.")
    if type(data) is bytes:
        return data
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise wrong(message, "bytes", data, "bytes")
    return bytes(data)


def _read_start(message: Message) -> ResponseHead:
    return ResponseHead(whole_number(message, "status"), read_headers(message), trailers=False)


def _read_body(message: Message) -> BodyChunk:
    body = message.get("body", b"")
    if not isinstance(body, (bytes, bytearray, memoryview)):
        raise wrong(message, "body", body, "bytes")
    return BodyChunk(bytes(body), bool(message.get("more_body", False)))


def _come_too_late(message: Message) -> WebSocketEvent:
    raise ClientDisconnected(f"{message['type']}: the WebSocket is closed")


CONNECTING.reads.update(
    {
        "websocket.accept": _read_accept,
        "websocket.close": _read_close,
        "websocket.http.response.start": _read_start,
    }
)
OPEN.reads.update({"websocket.send": _read_send, "websocket.close": _read_close})
DENYING.reads.update({"websocket.http.response.body": _read_body})
CLOSED.reads.update(
    dict.fromkeys(
        (
            "websocket.accept",
            "websocket.send",
            "websocket.close",
            "websocket.http.response.start",
            "websocket.http.response.body",
        ),
        _come_too_late,
    )
)
