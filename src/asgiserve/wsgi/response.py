"""The rules of a WSGI response: `start_response`, and what becomes of each part of the body, as ASGI messages.

The head is kept until the first part that is not empty (PEP 3333): until then the application may replace it by
another, with `exc_info`.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final

from asgiserve.errors import LocalProtocolError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import TypeAlias

    from asgiserve.types import Headers, Message

    ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

__all__ = ["ResponseParts"]


class _Stage(enum.Enum):
    """How far the response has come."""

    NOTHING = "start_response has not been called"
    STARTED = "start_response has been called"
    SENT = "the head has been sent"
    COMPLETE = "the response is complete"


_WITHOUT_BODY: Final = (204, 304)


class ResponseParts:
    """One response, part by part."""

    def __init__(self, *, head_only: bool) -> None:
        self._stage = _Stage.NOTHING
        self._head_only = head_only
        self._status = 0
        self._headers: Headers = []
        self._left: int | None = None
        """Bytes of the body that the application's Content-Length still allows."""

    @property
    def complete(self) -> bool:
        """Nothing more is to be sent, whatever the application still has."""
        return self._stage is _Stage.COMPLETE

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None) -> None:
        """What `start_response` does. Raises the error of `exc_info` if it is too late to tell the client of it."""
        if exc_info is not None and exc_info[1] is not None:
            if self._stage in (_Stage.SENT, _Stage.COMPLETE):
                raise exc_info[1].with_traceback(exc_info[2])
        elif self._stage is not _Stage.NOTHING:
            raise LocalProtocolError("start_response was called a second time, without exc_info.")
        self._status = _status_code(status)
        self._headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        length = next((value for name, value in self._headers if name == b"content-length"), b"")
        # One that is no number is refused by the server, with the rest of what HTTP does not allow.
        self._left = int(length) if length.isdigit() else None
        self._stage = _Stage.STARTED

    def write(self, data: bytes) -> list[Message]:
        """What the `write` callable is given. Unlike an iterable, it must not be given too much."""
        if self._left is not None and len(data) > self._left:
            raise LocalProtocolError("write() was given more than the Content-Length of the response.")
        return self.part(data, last=False)

    def part(self, data: bytes, *, last: bool) -> list[Message]:
        """The messages for this part. Beyond the Content-Length nothing is sent, and at it the response is complete.

        So is one for HEAD with its first part that is not empty: of the body nothing is sent, so nobody would notice
        that the client has left, and an endless body would be made for ever.
        """
        if self._stage is _Stage.NOTHING:
            raise LocalProtocolError("The WSGI application gave a part of its body before it called start_response.")
        if not isinstance(data, bytes):
            raise LocalProtocolError(f"A part of a WSGI response is {type(data).__name__}, where bytes are expected.")
        if self._stage is _Stage.COMPLETE or (not data and not last):
            return []
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
            last = last or self._left == 0
        messages: list[Message] = [self._head(len(data) if last else None)] if self._stage is _Stage.STARTED else []
        if self._head_only:
            data, last = b"", True
        messages.append({"type": "http.response.body", "body": data, "more_body": not last})
        self._stage = _Stage.COMPLETE if last else _Stage.SENT
        return messages

    def end(self) -> list[Message]:
        """The messages that end the response, once the application has no more parts."""
        if self._stage is _Stage.NOTHING:
            raise LocalProtocolError("The WSGI application returned without calling start_response.")
        return self.part(b"", last=True)

    def _head(self, length: int | None) -> Message:
        headers = self._headers
        if length is not None and self._left is None and self._may_tell(length):
            headers = [*headers, (b"content-length", b"%d" % length)]
        return {"type": "http.response.start", "status": self._status, "headers": headers}

    def _may_tell(self, length: int) -> bool:
        """Whether it would be true as a Content-Length (RFC 9110 8.6). An application that gives no body for HEAD has
        said nothing of the length for GET."""
        has_body = self._status >= 200 and self._status not in _WITHOUT_BODY
        return has_body and (length > 0 or not self._head_only)


def _status_code(status: Any) -> int:
    code = status[:3] if isinstance(status, str) else ""
    if not (len(code) == 3 and code.isascii() and code.isdigit() and status[3:4] in ("", " ")):
        raise LocalProtocolError(f'The status of a WSGI response is like "200 OK", not {status!r}.')
    return int(code)
