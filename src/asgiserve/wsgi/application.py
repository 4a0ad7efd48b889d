"""A WSGI application as an ASGI application: each request in a worker thread that calls back into the event loop.

A part of a response is sent before the application is asked for the next one, and a part of a body is received when
the application reads: back-pressure in both directions, by construction. Called by the drivers.

A thread cannot be cancelled. When its request is, the next thing that it asks of the loop raises the loop's own
cancellation in it; a thread that never asks is waited for, and named when the server cannot end.
"""

from __future__ import annotations

import sys
from concurrent.futures import CancelledError
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio import from_thread, to_thread
from anyio.lowlevel import current_token

from asgiserve.errors import ClientDisconnected, LocalProtocolError
from asgiserve.wsgi.body import body_file
from asgiserve.wsgi.elsewhere import Elsewhere
from asgiserve.wsgi.environ import environ_of
from asgiserve.wsgi.response import ResponseParts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from anyio.lowlevel import EventLoopToken

    from asgiserve.types import Message, Receive, Scope, Send, WSGIApplication

__all__ = ["WsgiApplication"]

_BEGUN_BYTES: Final = 65_536
"""How much of a body must be there before a thread is taken: who sends a form slowly holds no thread."""


class WsgiApplication:
    """ASGI's side of one WSGI application."""

    asgiserve_wsgi: Final = True
    """How the server knows it: no lifespan, and `send()` may raise."""

    def __init__(self, app: WSGIApplication, threads: int, *, multiprocess: bool = False) -> None:
        """`multiprocess`: other processes serve the same application."""
        self._app = app
        self._multiprocess = multiprocess
        # Requests beyond it wait without a deadline of their own: timeout_request, limit_concurrency and
        # cancel_on_disconnect are for that.
        self._threads = anyio.CapacityLimiter(threads)
        self._loop: EventLoopToken | None = None
        self._writes_elsewhere = False
        """It has called write() in another thread than that of its request. Few do, and a task that watches is too dear
        for all the others: so requests without a long body are watched from then on only."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})  # before the handshake: 403
            return
        if scope["type"] != "http":
            raise LocalProtocolError(f"A WSGI application has no {scope['type']}.")
        begun = await _begun_body(scope, receive)
        if begun is None:
            return
        if self._loop is None:
            self._loop = current_token()
        elsewhere = Elsewhere(self._loop)
        call = _Call(self._app, scope, receive, send, *begun, elsewhere)
        call.environ["wsgi.multiprocess"] = self._multiprocess
        try:
            rest = await self._run(call, elsewhere, more=begun[1])
        except ClientDisconnected:
            if call.peer_left:
                return
            raise
        await call.send_all(rest)

    async def _run(self, call: _Call, elsewhere: Elsewhere, *, more: bool) -> list[Message]:
        run = partial(to_thread.run_sync, call.run, limiter=self._threads)
        try:
            if more or self._writes_elsewhere:
                return await elsewhere.watched(run)
            return await run()
        finally:
            await elsewhere.end()
            if elsewhere.used and not more:
                self._writes_elsewhere = True


async def _begun_body(scope: Scope, receive: Receive) -> tuple[bytes, bool] | None:
    """The body's first bytes and whether more follow; None if the client has left before they had come."""
    if any(name == b"expect" for name, _ in scope["headers"]):
        return b"", True  # the client waits for the application to read
    parts: list[bytes] = []
    size, more = 0, True
    while more and size < _BEGUN_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message["body"])
        size += len(message["body"])
        more = message["more_body"]
    return b"".join(parts), more


class _Call:
    """One request. `run` is called in a worker thread, what the application is given in any, `send_all` in the loop."""

    def __init__(
        self,
        app: WSGIApplication,
        scope: Scope,
        receive: Receive,
        send: Send,
        begun: bytes,
        more: bool,
        elsewhere: Elsewhere,
    ) -> None:
        self._app = app
        self._elsewhere = elsewhere
        self._thread: int | None = None
        """The request's own, while the application has not returned: after it the same thread has other requests."""
        self._receive = receive
        self._send = send
        self._response = ResponseParts(head_only=scope["method"] == "HEAD")
        self.environ = environ_of(scope, body_file(begun, more, self._pull), sys.stderr)
        self.peer_left = False
        """The application was told so, by an error."""

    def run(self) -> list[Message]:
        """Run the application. Gives the messages that the loop may send when the thread has ended."""
        self._thread = get_ident()
        try:
            return self._answer()
        except self._elsewhere.cancellation:
            # Out of another thread, which the application has waited for. In this one it has to be this request's.
            from_thread.check_cancelled()
            raise
        finally:
            self._elsewhere.over = True
            self._thread = None

    async def send_all(self, messages: list[Message]) -> None:
        for message in messages:
            await self._send(message)

    def _answer(self) -> list[Message]:
        parts = self._app(self.environ, self._start_response)
        close: Callable[[], None] | None = getattr(parts, "close", None)
        try:
            rest = self._send_parts(parts)
            if close is None:
                return rest
            self._in_loop(self.send_all, rest)
            return []
        finally:
            # PEP 3333: in any case, and after the client has got what there is.
            if close is not None:
                close()

    def _send_parts(self, parts: Iterable[bytes]) -> list[Message]:
        """Send all but the last messages, which are returned."""
        if self._response.complete:  # write() was given all that there is to send
            return []
        response = self._response
        only = isinstance(parts, (list, tuple)) and len(parts) == 1
        for part in parts:
            messages = response.part(part, last=only)
            if response.complete:
                return messages
            if messages:
                self._in_loop(self.send_all, messages)
        return response.end()

    # --- what the application calls ---

    def _start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
        try:
            self._response.start(status, headers, exc_info)
        finally:
            exc_info = None  # its traceback holds this frame
        return self._write

    def _write(self, data: bytes, /) -> None:
        self._elsewhere.check()
        messages = self._response.write(data)
        if messages:
            self._in_loop(self.send_all, messages)

    def _pull(self) -> tuple[bytes, bool]:
        """The next part of the body."""
        message = self._in_loop(self._receive)
        if message["type"] == "http.disconnect":
            self.peer_left = True
            raise ClientDisconnected("The body of the request does not come to its end.")
        return message["body"], message["more_body"]

    def _in_loop(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call it in the event loop, and wait. Raises the loop's own cancellation if the request is cancelled."""
        try:
            if get_ident() != self._thread:
                return self._elsewhere.call(function, *args)
            return _in_loop(function, *args)
        except ClientDisconnected:
            self.peer_left = True
            raise


def _in_loop(function: Callable[..., Any], *args: Any) -> Any:
    """The same from the request's own thread: inside its cancel scope."""
    from_thread.check_cancelled()
    try:
        return from_thread.run(function, *args)
    except CancelledError:
        # asyncio's threads see another class, an Exception, which applications catch as any of their errors.
        from_thread.check_cancelled()
        raise
