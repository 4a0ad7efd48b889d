"""What one call of the application does in a plan: its script, played word by word, and what is noted of it.

A script is a list of operations (`plans.py` draws them). Its pauses have an odd bit that no other actor's have.
Called by `playing.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import anyio

from asgiserve.errors import ClientDisconnected, LocalProtocolError

if TYPE_CHECKING:
    from asgiserve.types import Message, Receive, Send

__all__ = ["Call", "Script", "name_of"]

_APPLICATION, _CHILD = 0.003_169, 0.004_327
"""Seconds: the odd bit of an application, and of its children."""
_SIBLING = 0.000_113
"""What the children of one application are apart."""
_MANY: Final = 300
"""Messages that a loop of an application takes at most."""


@dataclass
class Call:
    """One call of the application."""

    kind: str
    method: str
    http_version: str = "1.1"
    body: bytes = b""
    """What it has received of the request's body."""
    heard: list[Any] = field(default_factory=list)
    """Everything else that it has received."""
    status: int | None = None
    sent: bytes = b""
    """The body of its response, as far as `send()` took it."""
    trailers: bool = False
    """The start has announced trailers."""
    body_sent: bool = False
    complete: bool = False
    """`send()` has taken the whole response."""
    refused: list[str] = field(default_factory=list)
    """What `send()` has raised."""
    said: list[Any] = field(default_factory=list)
    """Messages that were given to the `send()` of a WebSocket, taken or not."""
    end: str = "runs"


class Script:
    """What one call of the application does."""

    def __init__(self, call: Call, receive: Receive, send: Send, *, careful: bool, odd: float = _APPLICATION) -> None:
        self._call = call
        self._receive = receive
        self._send = send
        self._careful = careful
        self._odd = odd

    async def run(self, ops: list[Any]) -> None:
        async with anyio.create_task_group() if any(op[0] == "child" for op in ops) else _no_group() as group:
            for place, op in enumerate(ops):
                if op[0] == "child":
                    odd = _CHILD + place * _SIBLING
                    child = Script(self._call, self._receive, self._send, careful=True, odd=odd)
                    group.start_soon(child.run_as_child, op[1])
                else:
                    await self._do(op)

    async def run_as_child(self, ops: list[Any]) -> None:
        await anyio.sleep(self._odd)
        for op in ops:
            await self._do(op)

    async def _do(self, op: Any) -> None:
        match op[0]:
            case "receive":
                await self._take()
            case "drain":
                await self._take_until("http.disconnect", "websocket.disconnect", end_of_body=True)
            case "until gone":
                await self._take_until("http.disconnect", "websocket.disconnect", end_of_body=False)
            case "receive for":
                with anyio.move_on_after(op[1] / 1000 + self._odd):
                    await self._take()
            case "poll":
                await anyio.sleep(self._odd)  # never in the instant in which room that it has made is filled
                with anyio.CancelScope() as scope:
                    scope.cancel()
                    await self._take()
            case "sleep":
                await anyio.sleep(op[1] / 1000 + self._odd)
            case "send":
                await self._say(_message(self._call.kind, op[1]))
            case "raise":
                raise _ERRORS[op[1]]()

    async def _take_until(self, *types: str, end_of_body: bool) -> None:
        for _ in range(_MANY):
            message = await self._take()
            if message["type"] in types or (end_of_body and message.get("more_body") is False):
                return

    async def _take(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._call.body += message["body"]
        else:
            self._call.heard.append(message)
        return message

    async def _say(self, message: Message) -> None:
        call = self._call
        if call.kind == "websocket" and message.get("type") == "websocket.send":
            call.said.append(message.get("text", message.get("bytes")))
        try:
            await self._send(message)
        except (LocalProtocolError, ClientDisconnected) as error:
            call.refused.append(name_of(error))
            if not self._careful:
                raise
            return
        if call.kind == "http" and not call.complete:
            _note_sent(call, message)


def _note_sent(call: Call, message: Message) -> None:
    match message["type"]:
        case "http.response.start" if call.status is None:
            call.status = int(message["status"])
            # A client of HTTP/1.0 can be sent no trailers, and none are waited for.
            call.trailers = bool(message.get("trailers")) and call.http_version != "1.0"
        case "http.response.body" if not call.body_sent:
            call.sent += bytes(message.get("body", b""))
            call.body_sent = not message.get("more_body")
            call.complete = call.body_sent and not call.trailers
        case "http.response.trailers" if call.body_sent:
            call.complete = not message.get("more_trailers")


class _no_group:
    async def __aenter__(self) -> Any:
        return None

    async def __aexit__(self, *_: object) -> None:
        return None


# --- messages ---


class _Number(int):
    pass


_FIELDS: Final[dict[str, list[tuple[bytes, bytes]]]] = {
    "none": [],
    "close": [(b"connection", b"close")],
    "chunked": [(b"Transfer-Encoding", b"chunked")],
    "odd": [(b"X", b"a\r\nb: c")],
    "trailers": [],
    "date": [(b"date", b"today"), (b"server", b"mine")],
}

_ODD: Final[list[Any]] = [
    {},
    {"type": None},
    {"type": "http.response.nothing"},
    {"type": "http.response.start"},
    {"type": "http.response.start", "status": "200"},
    {"type": "http.response.start", "status": 99},
    {"type": "http.response.start", "status": 1000},
    {"type": "http.response.start", "status": 101},
    {"type": "http.response.start", "status": 200, "headers": [("a", "b")]},
    {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5"), (b"content-length", b"6")]},
    {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"x")]},
    {"type": "http.response.body", "body": "text"},
    {"type": "http.response.body", "body": None},
    {"type": "websocket.send"},
    {"type": "websocket.send", "text": "a", "bytes": b"b"},
    {"type": "websocket.close", "code": 1000, "reason": "x" * 200},
]


def _message(kind: str, spec: Any) -> Message:
    prefix = "http.response" if kind == "http" else "websocket.http.response"
    match spec:
        case ["start", status, fields, size]:
            headers = [(b"content-length", b"%d" % size)] if fields == "length" else _FIELDS[fields]
            made = {"type": f"{prefix}.start", "status": status, "headers": headers}
            return {**made, "trailers": True} if fields == "trailers" else made
        case ["body", size, more]:
            return {
                "type": f"{prefix}.body",
                "body": b"0123456789" * (size // 10) + b"x" * (size % 10),
                "more_body": more,
            }
        case ["trailers", more]:
            return {"type": f"{prefix}.trailers", "headers": [(b"x-end", b"1")], "more_trailers": more}
        case ["hint"]:
            return {"type": f"{prefix}.early_hint", "links": [b"</a>; rel=preload"]}
        case ["accept", subprotocol]:
            return {"type": "websocket.accept", "subprotocol": subprotocol}
        case ["text", size]:
            return {"type": "websocket.send", "text": "\u00e9" * (size // 2) + "t" * (size % 2)}
        case ["bytes", size]:
            return {"type": "websocket.send", "bytes": b"b" * size}
        case ["close", code]:
            return {"type": "websocket.close", "code": code, "reason": "done"}
    odd: Message = _ODD[spec[1]]
    return odd


_ERRORS: Final[dict[str, Any]] = {
    "ValueError": lambda: ValueError("of the application"),
    "SystemExit": lambda: SystemExit(3),
    "GeneratorExit": GeneratorExit,
    "group": lambda: BaseExceptionGroup("two", [ValueError("1"), SystemExit(2)]),
}


def name_of(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return f"{type(error).__name__}({', '.join(sorted(map(name_of, error.exceptions)))})"
    return type(error).__name__
