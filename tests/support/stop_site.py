"""What may go on in a server when it is stopped: an application with a path for each, in memory and in processes.

It says what it is told: to stderr in a process of the live tests, into a list elsewhere. What a client does to bring it
about is in `tests/unit/server/test_stop_matrix.py` and `tests/live/test_stop_matrix.py`; what is expected then, in
`stop_matrix.py`.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asgiserve.types import Receive, Scope, Send

__all__ = ["Site", "app", "fail", "fails", "hangs", "sleep_forever"]

EVENT = b"data: event\n\n"
MEBIBYTE = bytes(2**20)


class Site:
    """The application. `say` is given what happens to it, a line each; `shut_down` is its lifespan's shutdown."""

    def __init__(self, say: Callable[[str], None], shut_down: Callable[[], Awaitable[None]] | None = None) -> None:
        self.say = say
        self.let_go = threading.Event()
        """Set to end what cannot be cancelled."""
        self._shut_down = shut_down

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        name = scope["path"][1:]
        try:
            await getattr(self, name)(receive, send)
            self.say("app: returned")
        except anyio.get_cancelled_exc_class():
            self.say("app: cancelled")
            raise

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.say("lifespan: shutdown")
        if self._shut_down is not None:
            await self._shut_down()
        await send({"type": "lifespan.shutdown.complete"})

    # --- requests -----------------------------------------------------------------------------

    async def hello(self, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"hello"})

    async def body(self, receive: Receive, send: Send) -> None:
        """Reads a body; one that does not come to its end is not answered."""
        message = await receive()
        self.say("app: entered")
        while message["type"] == "http.request":
            message = await receive()
        self.say(f"app: {message['type']}")

    async def sleep(self, receive: Receive, send: Send) -> None:
        self.say("app: entered")
        await anyio.sleep_forever()

    async def events(self, receive: Receive, send: Send) -> None:
        """Streams, and listens."""
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        self.say("app: entered")
        await send({"type": "http.response.body", "body": EVENT, "more_body": True})
        message = await receive()
        while message["type"] == "http.request":
            message = await receive()
        self.say(f"app: {message['type']}")
        await send({"type": "http.response.body", "body": EVENT})

    async def deaf(self, receive: Receive, send: Send) -> None:
        """Streams, and does not listen."""
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        self.say("app: entered")
        while True:
            await send({"type": "http.response.body", "body": EVENT, "more_body": True})
            await anyio.sleep(0.1)

    async def large(self, receive: Receive, send: Send) -> None:
        """A response of 100 MiB."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        self.say("app: entered")
        for _ in range(100):
            await send({"type": "http.response.body", "body": MEBIBYTE, "more_body": True})
        await send({"type": "http.response.body"})

    async def background(self, receive: Receive, send: Send) -> None:
        await self.hello(receive, send)
        self.say("app: entered")
        await anyio.sleep_forever()

    # --- WebSockets ---------------------------------------------------------------------------

    async def websocket(self, receive: Receive, send: Send) -> None:
        await self._accept(receive, send)
        message = await receive()
        while message["type"] == "websocket.receive":
            message = await receive()
        self.say(f"app: {message['type']} {message['code']}")

    async def deaf_websocket(self, receive: Receive, send: Send) -> None:
        await self._accept(receive, send)
        await anyio.sleep_forever()

    async def undecided(self, receive: Receive, send: Send) -> None:
        """Neither accepts nor refuses."""
        await receive()
        self.say("app: entered")
        message = await receive()
        self.say(f"app: {message['type']} {message['code']}")

    async def _accept(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        self.say("app: entered")

    # --- what does not end by being cancelled -------------------------------------------------

    async def shielded(self, receive: Receive, send: Send) -> None:
        self.say("app: entered")
        with anyio.CancelScope(shield=True):
            while not self.let_go.is_set():  # noqa: ASYNC110 - one event for this and for threads
                await anyio.sleep(0.05)

    async def swallows(self, receive: Receive, send: Send) -> None:
        self.say("app: entered")
        while not self.let_go.is_set():
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                continue

    async def thread(self, receive: Receive, send: Send) -> None:
        """Waits for a thread that cannot be interrupted."""
        self.say("app: entered")
        await anyio.to_thread.run_sync(self.let_go.wait)

    async def blocking(self, receive: Receive, send: Send) -> None:
        """Blocks the event loop."""
        self.say("app: entered")
        self.let_go.wait()

    async def abandoned(self, receive: Receive, send: Send) -> None:
        """Leaves its thread behind when it is cancelled."""
        self.say("app: entered")
        await anyio.to_thread.run_sync(self.let_go.wait, abandon_on_cancel=True)

    async def asyncio_thread(self, receive: Receive, send: Send) -> None:
        """The same, in asyncio's own pool of threads."""
        self.say("app: entered")
        await asyncio.to_thread(self.let_go.wait)

    async def pooled(self, receive: Receive, send: Send) -> None:
        """The same, in a pool of its own, which outlives the event loop."""
        ThreadPoolExecutor(1, "pooled").submit(self.let_go.wait)
        await self.hello(receive, send)
        self.say("app: entered")

    async def finishing(self, receive: Receive, send: Send) -> None:
        """Leaves a thread behind that has something to do when the main thread has ended."""
        threading.Thread(target=self._finish, name="finishing").start()
        await self.hello(receive, send)

    def _finish(self) -> None:
        threading.main_thread().join()
        self.say("thread: finished")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


async def fail() -> None:
    raise RuntimeError("no database")


async def sleep_forever() -> None:
    await anyio.sleep_forever()


app = Site(_say)
hangs = Site(_say, sleep_forever)
fails = Site(_say, fail)
