"""The order of an HTTP response's messages, as a table, and what each message must hold.

`ResponseMessages.send` is the `send()` that an application is given: it reads the message and calls the method that
stands for it, or refuses it with a text that names the message, the state and what was expected. What these methods
do is told by whoever derives from the class: the exchange in `connection/`. What HTTP itself says of a status or a
field is the response writer's rule, not this file's.

    START ── start ──► BODY ── last body ──► COMPLETE      (every further response message is ignored)
      │                 └─ last body, trailers: True ──► TRAILERS ── last trailers ──► COMPLETE
      └ early_hint: any number, before the start and, while the head is not out, after it
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from asgiserve.asgi.message_values import check_headers, given_headers, read_headers, refusal, whole_number, wrong

if TYPE_CHECKING:
    from asgiserve.types import Header, Message

__all__ = ["BODY", "COMPLETE", "START", "TRAILERS", "ResponseMessages", "ResponseState"]

Waiting: TypeAlias = Awaitable[None] | None
"""What is left to wait for, if anything."""
_Reader: TypeAlias = Callable[["ResponseMessages", Any], Waiting]


@dataclass(frozen=True, eq=False, slots=True)
class ResponseState:
    """How far the application has come with its response; there are the four below, and no others.

    Not an Enum: finding a row of the table by an Enum costs a call of its Python-level hash, twice a request.
    """

    text: str
    reads: dict[str, _Reader] = field(default_factory=dict)
    """The row of the table: how each message type is read."""


START: Final = ResponseState("no response has been started")
BODY: Final = ResponseState("the response has been started")
TRAILERS: Final = ResponseState("the body is complete and trailers follow")
COMPLETE: Final = ResponseState("the response is complete")


class ResponseMessages(ABC):
    """The state of one response's messages. The methods without a body are what the messages stand for."""

    __slots__ = ("state", "trailers_follow")

    def __init__(self) -> None:
        self.state = START
        self.trailers_follow = False
        """The start message has announced trailers."""

    async def send(self, message: Message) -> None:
        """ASGI's `send()`: do what the message stands for.

        Raises LocalProtocolError for a message that is unknown, out of order or of a wrong shape; the state
        is then what it was before. A start that is refused by `begin` has not been: another may follow.

        What is out of order once nobody listens is ignored, and so is all that comes behind it: an endpoint of
        Starlette's whose stream has ended with its client returns another response, for want of a better one.
        """
        try:
            read = self.state.reads[message["type"]]
        except (KeyError, TypeError):
            if not (self.unheard and _is_known(message)):
                raise refusal(message, self.state.text, self._expected()) from None
            self.state, read = COMPLETE, _ignore
        waiting = read(self, message)
        if waiting is not None:
            await waiting

    def _expected(self) -> list[str]:
        return [kind for kind, read in self.state.reads.items() if read is not _ignore]

    @property
    @abstractmethod
    def unheard(self) -> bool:
        """The application has been told, or will be, that nobody listens to it any more."""

    @abstractmethod
    def came_before(self, status: int, given: tuple[Any, ...]) -> bool:
        """Whether a head with these headers, by their value, has been checked before; `begin` is called next."""

    @abstractmethod
    def begin(self, status: int, headers: tuple[Header, ...]) -> Waiting:
        """The response's head. Raises LocalProtocolError for one that HTTP does not allow."""

    @abstractmethod
    def write_body(self, data: bytes, more: bool) -> Waiting:
        """Bytes of the body; `more` is False with the last ones."""

    @abstractmethod
    def write_path(self, path: str) -> Waiting:
        """The rest of the body: a file, by its absolute path."""

    @abstractmethod
    def write_file(self, fd: int, offset: int | None, count: int | None, more: bool) -> Waiting:
        """Bytes of the body from an open file: `count` or all, from `offset` or its position on."""

    @abstractmethod
    def hint(self, links: list[bytes]) -> Waiting:
        """A `103 Early Hints` with these `Link` fields."""

    @abstractmethod
    def write_trailers(self, headers: tuple[Header, ...], more: bool) -> Waiting:
        """Trailer fields; `more` is False with the last ones."""

    @abstractmethod
    def ignore(self) -> Waiting:
        """A message that comes after the response, or has no place in it."""


def _is_known(message: Message) -> bool:
    try:
        return message["type"] in COMPLETE.reads
    except (KeyError, TypeError):
        return False


# --- one reader per message type ---


def _read_start(response: ResponseMessages, message: Message) -> Waiting:
    status = message.get("status")
    if type(status) is not int:
        status = whole_number(message, "status")  # http.HTTPStatus
    headers = given_headers(message)
    if not response.came_before(status, headers):
        headers = check_headers(message, headers)
    response.trailers_follow = bool(message.get("trailers"))
    waiting = response.begin(status, headers)
    response.state = BODY
    return waiting


def _read_body(response: ResponseMessages, message: Message) -> Waiting:
    body = message.get("body", b"")
    if type(body) is not bytes:
        if not isinstance(body, (bytes, bytearray, memoryview)):
            raise wrong(message, "body", body, "bytes")
        body = bytes(body)
    if message.get("more_body"):
        return response.write_body(body, True)
    response.state = TRAILERS if response.trailers_follow else COMPLETE
    return response.write_body(body, False)


def _read_path(response: ResponseMessages, message: Message) -> Waiting:
    path = message.get("path")
    if not isinstance(path, str):  # ASGI says an absolute one, and Starlette sends what it was given
        raise wrong(message, "path", path, "a path as a str")
    response.state = TRAILERS if response.trailers_follow else COMPLETE
    return response.write_path(path)


def _read_file(response: ResponseMessages, message: Message) -> Waiting:
    file = message.get("file")
    try:
        fd = file if type(file) is int and file >= 0 else file.fileno()  # type: ignore[union-attr]
    except (AttributeError, OSError, ValueError):  # io.UnsupportedOperation is both of the latter
        raise wrong(message, "file", file, "an open file with a descriptor") from None
    offset = None if message.get("offset") is None else _size(message, "offset")
    count = None if message.get("count") is None else _size(message, "count")
    more = bool(message.get("more_body"))
    if not more:
        response.state = TRAILERS if response.trailers_follow else COMPLETE
    return response.write_file(fd, offset, count, more)


def _size(message: Message, key: str) -> int:
    size = whole_number(message, key)
    if size < 0:
        raise wrong(message, key, size, "0 or more")
    return size


def _read_early_hint(response: ResponseMessages, message: Message) -> Waiting:
    links = message.get("links", ())
    if isinstance(links, (str, bytes)) or not isinstance(links, Iterable):
        raise wrong(message, "links", links, "an iterable of bytes")
    listed = list(links)
    if not all(isinstance(link, bytes) for link in listed):
        raise wrong(message, "links", links, "an iterable of bytes")
    return response.hint(listed)


def _read_trailers(response: ResponseMessages, message: Message) -> Waiting:
    headers = read_headers(message)
    if message.get("more_trailers"):
        return response.write_trailers(headers, True)
    response.state = COMPLETE
    return response.write_trailers(headers, False)


def _ignore(response: ResponseMessages, message: Message) -> Waiting:
    return response.ignore()


START.reads.update({"http.response.start": _read_start, "http.response.early_hint": _read_early_hint})
BODY.reads.update(
    {
        "http.response.body": _read_body,
        "http.response.pathsend": _read_path,
        "http.response.zerocopysend": _read_file,
        "http.response.early_hint": _read_early_hint,
    }
)
# ASGI: what is sent after the last body message is ignored.
TRAILERS.reads.update(
    {
        "http.response.trailers": _read_trailers,
        "http.response.body": _ignore,
        "http.response.pathsend": _ignore,
        "http.response.zerocopysend": _ignore,
        "http.response.early_hint": _ignore,
    }
)
COMPLETE.reads.update(
    {
        "http.response.start": _ignore,
        "http.response.body": _ignore,
        "http.response.pathsend": _ignore,
        "http.response.zerocopysend": _ignore,
        "http.response.trailers": _ignore,
        "http.response.early_hint": _ignore,
    }
)
