"""The order of an HTTP response's messages, as a table, and what each message must hold.

`ResponseMessages.advance` turns the application's next `send()` message into an event for the wire side, or refuses it
with a text that names the message, the state and what was expected. What HTTP itself says of a status or a
field is the response writer's rule, not this file's. Called by the exchange in `connection/`.

    START ── start ──► BODY ── last body ──► COMPLETE      (every further response message is ignored)
      │                 └─ last body, trailers: True ──► TRAILERS ── last trailers ──► COMPLETE
      └ early_hint: any number, before the start and, while the head is not out, after it
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from asgiserve.errors import LocalProtocolError
from asgiserve.events import BodyChunk, ResponseHead

if TYPE_CHECKING:
    from asgiserve.types import Headers, Message

__all__ = ["EarlyHint", "ResponseEvent", "ResponseMessages", "ResponseState", "Trailers"]


class ResponseState(enum.Enum):
    """How far the application has come with its response."""

    START = "no response has been started"
    BODY = "the response has been started"
    TRAILERS = "the body is complete and trailers follow"
    COMPLETE = "the response is complete"


@dataclass(slots=True)
class EarlyHint:
    """A `103 Early Hints` with these `Link` fields."""

    links: list[bytes]


@dataclass(slots=True)
class Trailers:
    """Trailer fields; `more` is False with the last ones."""

    headers: Headers
    more: bool


ResponseEvent: TypeAlias = ResponseHead | BodyChunk | EarlyHint | Trailers


class ResponseMessages:
    """The state of one response's messages."""

    __slots__ = ("_reads", "_state", "_trailers")

    def __init__(self) -> None:
        self._state = ResponseState.START
        self._reads = _TABLE[ResponseState.START]
        self._trailers = False

    @property
    def state(self) -> ResponseState:
        return self._state

    def advance(self, message: Message) -> ResponseEvent | None:
        """The event that the message stands for; None if ASGI says that it is to be ignored.

        Raises LocalProtocolError for a message that is unknown, out of order or of a wrong shape; the state
        is then what it was before.
        """
        try:
            read = self._reads[message["type"]]
        except (KeyError, TypeError):
            raise self._refusal(message) from None
        return None if read is None else read(self, message)

    def retract_start(self) -> None:
        """The start message turned out to be against HTTP's rules: the application may begin another."""
        self._enter(ResponseState.START)

    def end(self) -> None:
        """The server itself has ended the response: whatever the application still sends is ignored."""
        self._enter(ResponseState.COMPLETE)

    def _enter(self, state: ResponseState) -> None:
        self._state = state
        self._reads = _TABLE[state]

    def _refusal(self, message: object) -> LocalProtocolError:
        if not isinstance(message, Mapping) or not isinstance(message.get("type"), str):
            return LocalProtocolError(f'A message is a dict with a "type"; got {_shape(message)}.')
        expected = " or ".join(f"'{kind}'" for kind, read in self._reads.items() if read is not None)
        instead = f"; expected {expected}" if expected else ""
        return LocalProtocolError(
            f"Unexpected ASGI message {message['type']!r}: {self._state.value}{instead}."
        )

    # --- one reader per message type ---

    def _read_start(self, message: Message) -> ResponseHead:
        status = message.get("status")
        if type(status) is not int:
            raise _wrong(message, "status", status, "an int")
        self._trailers = bool(message.get("trailers", False))
        head = ResponseHead(status, _read_headers(message), self._trailers)
        self._enter(ResponseState.BODY)
        return head

    def _read_body(self, message: Message) -> BodyChunk:
        body = message.get("body", b"")
        if type(body) is not bytes:
            if not isinstance(body, (bytes, bytearray, memoryview)):
                raise _wrong(message, "body", body, "bytes")
            body = bytes(body)
        more = bool(message.get("more_body", False))
        if not more:
            self._enter(ResponseState.TRAILERS if self._trailers else ResponseState.COMPLETE)
        return BodyChunk(body, more)

    def _read_early_hint(self, message: Message) -> EarlyHint:
        links = message.get("links", ())
        if isinstance(links, (str, bytes)) or not all(isinstance(link, bytes) for link in links):
            raise _wrong(message, "links", links, "an iterable of bytes")
        return EarlyHint(list(links))

    def _read_trailers(self, message: Message) -> Trailers:
        trailers = Trailers(_read_headers(message), bool(message.get("more_trailers", False)))
        if not trailers.more:
            self._enter(ResponseState.COMPLETE)
        return trailers


def _read_headers(message: Message) -> Headers:
    headers = message.get("headers", ())
    try:
        pairs = [(name, value) for name, value in headers]
    except (TypeError, ValueError):
        raise _wrong(message, "headers", headers, "an iterable of pairs (name, value)") from None
    for name, value in pairs:
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise _wrong(message, "headers", (name, value), "pairs of bytes")
    return pairs


def _wrong(message: Message, key: str, value: object, expected: str) -> LocalProtocolError:
    return LocalProtocolError(
        f"ASGI message {message['type']!r}: {key!r} must be {expected}, but it is {_shape(value)}."
    )


def _shape(value: object) -> str:
    """What a value is, without its contents: they may be secret, and their repr may fail."""
    return "missing" if value is None else f"of type {type(value).__name__}"


_Reader: TypeAlias = Callable[[ResponseMessages, Any], ResponseEvent]

# None: known, and ignored in this state. A type that a state does not list is refused.
_TABLE: Final[Mapping[ResponseState, Mapping[str, _Reader | None]]] = {
    ResponseState.START: {
        "http.response.start": ResponseMessages._read_start,
        "http.response.early_hint": ResponseMessages._read_early_hint,
    },
    ResponseState.BODY: {
        "http.response.body": ResponseMessages._read_body,
        "http.response.early_hint": ResponseMessages._read_early_hint,
    },
    ResponseState.TRAILERS: {
        "http.response.trailers": ResponseMessages._read_trailers,
        # ASGI: messages after the last body are ignored.
        "http.response.body": None,
        "http.response.early_hint": None,
    },
    ResponseState.COMPLETE: {
        "http.response.start": None,
        "http.response.body": None,
        "http.response.trailers": None,
        "http.response.early_hint": None,
    },
}
