"""How a WebSocket begins or is refused: the bytes of each answer to a handshake, and its line in the log.

The answer is the application's word, or the server's where the application has none to say: it failed, took too long,
or the server stops. Made by the driver for each handshake that may be accepted, used by `websocket.py`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from asgiserve import logs
from asgiserve.connection.request_id import identify, with_id
from asgiserve.protocols.http1 import ResponseWriter, error_response
from asgiserve.protocols.websocket import (
    WebSocketCodec,
    WebSocketLimits,
    accept_response,
    negotiate_deflate,
)

if TYPE_CHECKING:
    from asgiserve.asgi.websocket import Acceptance
    from asgiserve.connection.service import Service
    from asgiserve.events import BodyChunk, RequestHead, ResponseHead
    from asgiserve.protocols.websocket import Handshake
    from asgiserve.types import Header

__all__ = ["Opening"]

_JOINED: Final = 65_536
"""Bytes: a body up to this size is copied behind the head: the copy costs less than a second system call."""


class Opening:
    """The answer to one handshake."""

    __slots__ = ("_client_name", "_handshake", "_head", "_held", "_id_field", "_service", "_status", "_writer")

    def __init__(self, service: Service, head: RequestHead, handshake: Handshake, client_name: str) -> None:
        self._service = service
        self._head = head
        self._handshake = handshake
        self._client_name = client_name
        self._writer: ResponseWriter | None = None
        self._held = False
        name = service.request_id_header
        self._id_field: Header | None = None if name is None else (name, identify(head, name))

    @property
    def request_id(self) -> str:
        """The id of the handshake; empty where requests have none."""
        return "" if self._id_field is None else self._id_field[1].decode("ascii")

    def accept(self, acceptance: Acceptance) -> tuple[bytes, WebSocketCodec]:
        """The 101, and the codec for what comes behind it. Raises LocalProtocolError."""
        service = self._service
        settings = service.websockets
        deflate = None
        if settings.ws_per_message_deflate:
            deflate = negotiate_deflate(self._handshake.extensions, settings.ws_max_size)
        answer = accept_response(
            self._handshake,
            subprotocol=acceptance.subprotocol,
            headers=with_id(acceptance.headers, self._id_field),
            extension=None if deflate is None else deflate.response,
            defaults=service.default_fields,
            date=service.date(),
        )
        self._log("[accepted]")
        return answer, WebSocketCodec(WebSocketLimits(settings.ws_max_size), deflate)

    def refuse(self, status: int) -> bytes:
        """A whole answer that says no more than its status."""
        self._log(str(status))
        service = self._service
        retry_after, fields = 1 if status == 503 else None, with_id((), self._id_field)
        return error_response(status, service.default_fields, service.date(), retry_after=retry_after, fields=fields)

    # --- a refusal of the application's own (extension `websocket.http.response`) ---

    def begin_denial(self, head: ResponseHead) -> None:
        """Check the head of it, and hold it for the first part of the body. Raises LocalProtocolError."""
        service = self._service
        head = replace(head, headers=with_id(head.headers, self._id_field))
        self._writer = ResponseWriter(self._head, head, service.default_fields, service.date())
        self._held = True
        self._status = head.status

    def denial_body(self, chunk: BodyChunk) -> tuple[bytes, ...]:
        """What to send for this part of the body. Raises LocalProtocolError if it does not fit its length."""
        writer = self._writer
        assert writer is not None
        head = writer.head(close=True) if self._held else b""
        buffers = writer.body(chunk.data, chunk.more)
        if not self._held:
            return buffers
        self._held = False  # only now: had the body not fitted its length, nothing would be on the wire
        self._log(str(self._status))
        return (head + buffers[0], *buffers[1:]) if buffers and len(buffers[0]) <= _JOINED else (head, *buffers)

    @property
    def denial_begun(self) -> bool:
        """Whether something of such an answer may be on the wire."""
        return self._writer is not None and not self._held

    def _log(self, outcome: str) -> None:
        head, lines = self._head, self._service.access_lines
        if lines is not None and lines.excluded is not None and lines.excluded(head.raw_path.decode("ascii")):
            return
        target = head.raw_path + b"?" + head.query if head.query else head.raw_path
        logs.log_websocket(self._client_name, target.decode("ascii"), outcome)
