"""The response of one exchange: what becomes of the messages that its application sends.

An ordinary response is one buffer, handed to the kernel at once. Everything else is the response writer's, and goes
through the outlet part by part. A head that says how long its body is waits for the first part and goes out with it,
or after a tick without it: while it is held, nothing is on the wire, and an error still gives a clean 500.

The request's side, and what calls the application, are in `exchange.py`, whose class derives from this one.
"""

from __future__ import annotations

import os
import stat
from abc import abstractmethod
from typing import TYPE_CHECKING, Final

from anyio.lowlevel import checkpoint

from asgiserve.asgi.http import BODY, COMPLETE, ResponseMessages
from asgiserve.backend import ki_protected
from asgiserve.connection.deadlines import TICK, Reason
from asgiserve.connection.fairness import BURST
from asgiserve.connection.outlet import ALL, NOTHING
from asgiserve.connection.over import Over
from asgiserve.errors import ClientDisconnected, LocalProtocolError
from asgiserve.events import ResponseHead
from asgiserve.protocols.http1 import (
    ResponseWriter,
    error_response,
    informational,
    known_head,
    rendered_head,
    whole_response,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Any

    from asgiserve.connection.http1 import Http1Connection
    from asgiserve.connection.outlet import Taken
    from asgiserve.events import RequestHead
    from asgiserve.protocols.http1 import RenderedHead
    from asgiserve.types import Header

__all__ = ["Response"]

_READING: Final = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
"""Without waiting: opening a pipe would wait for its writer, and the event loop with it. Files do not care."""

_JOINED: Final = 65_536
"""Bytes: a body up to this size is copied behind the head: the copy costs less than a second system call."""


class Response(ResponseMessages):
    """The response's side of an exchange."""

    __slots__ = (
        "_flush_armed",
        "_trailers",
        "_writer",
        "body_bytes",
        "completed",
        "connection",
        "fields",
        "head",
        "head_sent",
        "held",
        "may_go_on",
        "over",
        "status",
        "stepping",
    )

    def __init__(self, connection: Http1Connection, head: RequestHead) -> None:
        ResponseMessages.__init__(self)
        self.connection = connection
        self.head = head
        self.over: Over | None = None
        self.stepping = False
        """The application's own coroutine is running at this moment."""
        self.held: RenderedHead | None = None
        """The response's head, while it waits for the first body message."""
        self.head_sent = self.completed = False
        """The head is on the wire; the whole response is, by the application or in its place."""
        self.may_go_on = False
        """The response allows another request on this connection."""
        self.status = self.body_bytes = 0
        self.fields: tuple[Header, ...] = ()
        """The fields of the application's own response."""
        self._writer: ResponseWriter | None = None
        """There once the response has turned out not to go the short way."""
        self._trailers: tuple[Header, ...] = ()
        self._flush_armed = False

    # --- what the driver and the watcher call ---

    def end(self, why: Over) -> None:
        """Nothing more comes for the application: wake whoever waits in `receive()`."""
        if self.over is None:
            self.over = why
        self.connection.inlet.wake()

    @ki_protected
    async def flush(self) -> None:
        """Send the head that is held back: the body does not come soon."""
        if self.held is not None and not self.completed:
            await self.write(self._take_head())

    async def answer(self, status: int) -> None:
        """Answer in the application's place; only while nothing of its own response is on the wire."""
        self.held = None
        self.state = COMPLETE
        self.status = status
        self.fields = self.added_fields
        service = self.connection.service
        self.head_sent = True
        answer = error_response(
            status,
            service.default_fields,
            service.date(),
            head_only=self.head.method == "HEAD",
            retry_after=1 if status == 503 else None,
            fields=self.fields,
        )
        if await self.connection.outlet.write(answer):
            self.body_bytes = len(answer.partition(b"\r\n\r\n")[2])
        else:
            self._lost()
        self.complete()

    @property
    def added_fields(self) -> tuple[Header, ...]:
        """What an answer in the application's place says beyond its status."""
        return ()

    @property
    def cut_needs_reset(self) -> bool:
        """Whether closing alone would make an incomplete response look complete (RFC 9112 8)."""
        return self._writer is not None and self._writer.ends_with_connection

    @abstractmethod
    def complete(self) -> None:
        """The kernel has the whole response, or the peer is gone and it never will."""

    # --- what the application's messages stand for ---

    def came_before(self, status: int, given: tuple[Any, ...]) -> bool:
        try:
            self.held = known_head((status, given))
        except (TypeError, ValueError):
            return False  # pairs that are lists, values that are views of what may change
        return self.held is not None

    def begin(self, status: int, headers: tuple[Header, ...]) -> Awaitable[None] | None:
        rendered = self.held
        if rendered is None:
            self.held = rendered = rendered_head(status, headers)
        self.status = status
        self.fields = rendered.fields
        if rendered.length is None and not self._open_writer().length_known:
            # A stream: clients see the head before the first event.
            return self.write(self._take_head())
        if not self.stepping:
            self.flush_soon()
        return None

    def write_body(self, data: bytes, more: bool) -> Awaitable[None] | None:
        """The short way: a whole response, and the kernel takes all of it at once."""
        connection, held = self.connection, self.held
        if more or held is None or self.state is not COMPLETE:
            return self._write_body(data, more)
        head = self.head
        keep_alive = head.keep_alive and not connection.must_close()
        whole = whole_response(head, held, data, connection.service.default_block.now(), keep_alive=keep_alive)
        if whole is None:
            return self._write_body(data, more)
        self.held = None
        self.head_sent = True
        self.may_go_on = keep_alive
        if not (keep_alive and connection.streak and connection.codec.more_follows() and connection.outlet.keep(whole)):
            taken = connection.outlet.write_nowait(whole)
            if taken is not ALL:
                return self._write_rest(taken, (whole,), len(data), more)
        self.body_bytes = len(data)
        self.complete()
        return None

    async def write_path(self, path: str) -> None:
        try:
            fd = os.open(path, _READING)
        except (OSError, ValueError):  # ValueError: a path with a null byte, or one that cannot be encoded
            self.state = BODY  # nothing has happened: the application may send something else
            raise
        try:
            await self.write_file(fd, 0, None, False)
        finally:
            os.close(fd)

    async def write_file(self, fd: int, offset: int | None, count: int | None, more: bool) -> None:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            self.state = BODY
            raise LocalProtocolError("response body: not a regular file")
        start = os.lseek(fd, 0, os.SEEK_CUR) if offset is None else offset
        size = max(status.st_size - start, 0)
        count = size if count is None else min(count, size)
        if offset is None:
            os.lseek(fd, count, os.SEEK_CUR)
        if count <= _JOINED:
            # One system call less, and one packet: a small file goes out with its head.
            waiting = self.write_body(os.pread(fd, count, start), more)
            if waiting is not None:
                await waiting
        else:
            await self._write_file(fd, start, count, more)

    async def _write_file(self, fd: int, start: int, count: int, more: bool) -> None:
        writer = self._writer or self._open_writer()
        held, self.held = self.held, None
        head = b"" if held is None else writer.head(close=self.connection.must_close())
        around = writer.around(count, more)
        if held is not None:
            self.head_sent = True
            self.may_go_on = writer.keep_alive
        if around is None:
            if head:
                await self.write(head)
        elif not await self.connection.outlet.write_file(
            head + around[0], fd, start, count, around[1], progress=self._count
        ):
            self._lost_while(more)
        if more:
            await checkpoint()
        else:
            self._part_written(more)

    def _count(self, size: int) -> None:
        self.body_bytes += size

    def hint(self, links: list[bytes]) -> Awaitable[None]:
        # Behind the final head, or to a client of HTTP/1.0, there is no place for it on the wire.
        if self.head_sent or self.head.http_version == "1.0" or not links:
            return checkpoint()
        return self._write_hint(links)

    def write_trailers(self, headers: tuple[Header, ...], more: bool) -> Awaitable[None]:
        self._trailers = (*self._trailers, *headers)
        return checkpoint() if more else self._write_trailers()

    def ignore(self) -> Awaitable[None]:
        return checkpoint()

    async def _write_hint(self, links: list[bytes]) -> None:
        await self.write(informational(103, [(b"link", link) for link in links]))
        await checkpoint()

    def _write_body(self, data: bytes, more: bool) -> Awaitable[None] | None:
        """Through the writer. A small part is one buffer: where the kernel takes it at once, nothing is awaited."""
        writer = self._writer or self._open_writer()
        if self.held is None:
            buffers = writer.body(data, more)
            size = len(data) if buffers else 0
        else:
            buffers, size = self._head_and_body(writer, data, more)
        if buffers:
            taken = self.connection.outlet.write_nowait(buffers[0]) if len(buffers) == 1 else NOTHING
            if taken is not ALL:
                return self._write_rest(taken, buffers, size, more)
            self.body_bytes += size
        return self._part_written(more)

    def _head_and_body(self, writer: ResponseWriter, data: bytes, more: bool) -> tuple[tuple[bytes, ...], int]:
        """The head that was held in front of a part of the body, and how much of the body that is."""
        self.held = None
        head = writer.head(close=self.connection.must_close())
        buffers = writer.body(data, more)
        # Only now: had the body not fitted its length, nothing would be on the wire.
        self.head_sent = True
        self.may_go_on = writer.keep_alive
        size = len(data) if buffers else 0
        return (head + buffers[0],) if buffers and size <= _JOINED else (head, *buffers), size

    async def _write_rest(self, taken: Taken, buffers: tuple[bytes, ...], size: int, more: bool) -> None:
        """What the kernel has not taken at once. `size` is how much of the body that is."""
        if await self.connection.outlet.write_rest(taken, *buffers):
            self.body_bytes += size
        else:
            self._lost_while(more)
        waiting = self._part_written(more)
        if waiting is not None:
            await waiting

    def _part_written(self, more: bool) -> Awaitable[None] | None:
        """A part of the body is through, and with the last one the response."""
        if more:
            # Fairness: an application that only ever sends still lets others run.
            connection = self.connection
            connection.streak += 1
            if connection.streak < BURST:
                return None
            connection.streak = 0
            return checkpoint()
        # Of HTTP/1.0 also where trailers were announced: they were not offered, so none are waited for.
        if self.state is COMPLETE or self.head.http_version == "1.0":
            self.state = COMPLETE
            self.complete()
        return None

    async def _write_trailers(self) -> None:
        # RFC 9110 6.5.1: a peer that has not said so may throw trailer fields away, or stumble over them.
        wanted = any(name == b"te" and _takes_trailers(value) for name, value in self.head.headers)
        assert self._writer is not None
        end = self._writer.trailers(self._trailers if wanted else ())
        if end:
            await self.write(end)
        self.complete()

    def _open_writer(self) -> ResponseWriter:
        """The response's writer, made when the short way does not do."""
        service = self.connection.service
        head = ResponseHead(self.status, self.fields, self.trailers_follow)
        self._writer = ResponseWriter(self.head, head, service.default_fields, service.date(), self.held)
        return self._writer

    def _take_head(self) -> bytes:
        writer = self._writer or self._open_writer()
        head = writer.head(close=self.connection.must_close())
        self.held = None
        self.head_sent = True
        self.may_go_on = writer.keep_alive
        return head

    def flush_soon(self) -> None:
        # Once: an application that suspends again and again must not put it off for ever.
        if not self._flush_armed:
            self._flush_armed = True
            connection = self.connection
            connection.deadlines.arm(Reason.FLUSH, connection.service.clock() + TICK)

    async def write(self, buffer: bytes) -> None:
        if not await self.connection.outlet.write(buffer):
            self._lost()

    def _lost_while(self, more: bool) -> None:
        self._lost()
        if more and self.connection.service.send_raises:
            raise ClientDisconnected("The client has left before the response was complete.")

    def _lost(self) -> None:
        """Writing has failed: the peer is gone for good, unless it is our bytes that are missing in front of these."""
        if self.connection.outlet.given_up:
            self.end(Over.GIVEN_UP)
            return
        if self.over is Over.NOTICE:
            self.over = Over.PEER_LEFT  # it is not the notice that ended this
        self.end(Over.PEER_LEFT)


def _takes_trailers(value: bytes) -> bool:
    """Whether this value of a TE field has the member `trailers`."""
    return any(member.partition(b";")[0].strip() == b"trailers" for member in value.lower().split(b","))
