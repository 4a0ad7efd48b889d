"""The order of an HTTP response's messages, as a table, and what each message must hold.

`ResponseMessages.advance` turns the application's next `send()` message into an event for the wire side, or refuses it
with a text that names the message, the state and what was expected. What HTTP itself says of a status or a
field is the response writer's rule, not this file's. Called by the exchange in `connection/`.

    START ── start ──► BODY ── last body ──► COMPLETE      (every further response message is ignored)
      │                 └─ last body, trailers: True ──► TRAILERS ── last trailers ──► COMPLETE
      └ early_hint: any number, before the start and, while the head is not out, after it
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from asgiserve.errors import LocalProtocolError
from asgiserve.events import BodyChunk, ResponseHead

if TYPE_CHECKING:
    from asgiserve.types import Headers, Message

__all__ = [
    "BODY",
    "COMPLETE",
    "START",
    "TRAILERS",
    "EarlyHint",
    "ResponseEvent",
    "ResponseMessages",
    "ResponseState",
    "Trailers",
]


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
_Reader: TypeAlias = Callable[["ResponseMessages", Any], ResponseEvent]


@dataclass(frozen=True, eq=False, slots=True)
class ResponseState:
    """How far the application has come with its response; there are the four below, and no others.

    Not an Enum: finding a row of the table by an Enum costs a call of its Python-level hash, twice a request.
    """

    text: str
    reads: dict[str, _Reader | None] = field(default_factory=dict)
    """The row of the table: how each message type is read. None: known, and ignored in this state."""


START: Final = ResponseState("no response has been started")
BODY: Final = ResponseState("the response has been started")
TRAILERS: Final = ResponseState("the body is complete and trailers follow")
COMPLETE: Final = ResponseState("the response is complete")


_PAIR: Final = frozenset({2})
_BYTES: Final = frozenset({bytes})


class ResponseMessages:
    """The state of one response's messages."""

    __slots__ = ("_trailers", "state")

    def __init__(self) -> None:
        self.state = START
        self._trailers = False

    def advance(self, message: Message) -> ResponseEvent | None:
        """The event that the message stands for; None if ASGI says that it is to be ignored.

        Raises LocalProtocolError for a message that is unknown, out of order or of a wrong shape; the state
        is then what it was before.
        """
        try:
            read = self.state.reads[message["type"]]
        except (KeyError, TypeError):
            raise self._refusal(message) from None
        return None if read is None else read(self, message)

    def retract_start(self) -> None:
        """The start message turned out to be against HTTP's rules: the application may begin another."""
        self.state = START

    def end(self) -> None:
        """The server itself has ended the response: whatever the application still sends is ignored."""
        self.state = COMPLETE

    def _refusal(self, message: object) -> LocalProtocolError:
        if not isinstance(message, Mapping) or not isinstance(message.get("type"), str):
            return LocalProtocolError(f'A message is a dict with a "type"; got {_shape(message)}.')
        expected = " or ".join(f"'{kind}'" for kind, read in self.state.reads.items() if read is not None)
        instead = f"; expected {expected}" if expected else ""
        return LocalProtocolError(f"Unexpected ASGI message {message['type']!r}: {self.state.text}{instead}.")

    # --- one reader per message type ---

    def _read_start(self, message: Message) -> ResponseHead:
        status = message.get("status")
        if type(status) is not int:
            if not isinstance(status, int) or isinstance(status, bool):
                raise _wrong(message, "status", status, "an int")
            status = int(status)  # http.HTTPStatus
        self._trailers = bool(message.get("trailers", False))
        head = ResponseHead(status, _read_headers(message), self._trailers)
        self.state = BODY
        return head

    def _read_body(self, message: Message) -> BodyChunk:
        body = message.get("body", b"")
        if type(body) is not bytes:
            if not isinstance(body, (bytes, bytearray, memoryview)):
                raise _wrong(message, "body", body, "bytes")
            body = bytes(body)
        more = bool(message.get("more_body", False))
        if not more:
            self.state = TRAILERS if self._trailers else COMPLETE
        return BodyChunk(body, more)

    def _read_early_hint(self, message: Message) -> EarlyHint:
        links = message.get("links", ())
        if isinstance(links, (str, bytes)) or not isinstance(links, Iterable):
            raise _wrong(message, "links", links, "an iterable of bytes")
        listed = list(links)
        if not all(isinstance(link, bytes) for link in listed):
            raise _wrong(message, "links", links, "an iterable of bytes")
        return EarlyHint(listed)

    def _read_trailers(self, message: Message) -> Trailers:
        trailers = Trailers(_read_headers(message), bool(message.get("more_trailers", False)))
        if not trailers.more:
            self.state = COMPLETE
        return trailers


def _read_headers(message: Message) -> Headers:
    headers = message.get("headers", ())
    try:
        pairs = list(map(tuple, headers))
        # Nearly always true, and asked without a loop of ours: this runs for every response.
        if _PAIR.issuperset(map(len, pairs)) and _BYTES.issuperset(map(type, chain.from_iterable(pairs))):
            return pairs
        for name, value in pairs:
            if not isinstance(name, bytes) or not isinstance(value, bytes):
                raise _wrong(message, "headers", (name, value), "pairs of bytes")
    except (TypeError, ValueError):
        raise _wrong(message, "headers", headers, "an iterable of pairs (name, value)") from None
    return pairs


def _wrong(message: Message, key: str, value: object, expected: str) -> LocalProtocolError:
    return LocalProtocolError(
        f"ASGI message {message['type']!r}: {key!r} must be {expected}, but it is {_shape(value)}."
    )


def _shape(value: object) -> str:
    """What a value is, without its contents: they may be secret, and their repr may fail."""
    return "missing" if value is None else f"of type {type(value).__name__}"


START.reads.update(
    {
        "http.response.start": ResponseMessages._read_start,
        "http.response.early_hint": ResponseMessages._read_early_hint,
    }
)
BODY.reads.update(
    {
        "http.response.body": ResponseMessages._read_body,
        "http.response.early_hint": ResponseMessages._read_early_hint,
    }
)
# ASGI: what is sent after the last body message is ignored.
TRAILERS.reads.update(
    {
        "http.response.trailers": ResponseMessages._read_trailers,
        "http.response.body": None,
        "http.response.early_hint": None,
    }
)
COMPLETE.reads.update(
    {
        "http.response.start": None,
        "http.response.body": None,
        "http.response.trailers": None,
        "http.response.early_hint": None,
    }
)
