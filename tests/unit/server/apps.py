"""Applications for the tests of the server, named for what they do; `running.py` serves them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from asgiserve.types import ASGIApplication, Receive, Scope, Send


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a request at once; refuses a lifespan."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


class Journal:
    """An application with a lifespan, which writes down what happens to it; requests go to `http`."""

    def __init__(self, http: ASGIApplication = hello) -> None:
        self.http = http
        self.lines: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.lifespan(receive, send)
        else:
            await self.http(scope, receive, send)

    async def lifespan(self, receive: Receive, send: Send) -> None:
        self.lines.append((await receive())["type"])
        await send({"type": "lifespan.startup.complete"})
        self.lines.append((await receive())["type"])
        await self.shut_down()
        await send({"type": "lifespan.shutdown.complete"})

    async def shut_down(self) -> None:
        """What its shutdown does."""

    @property
    def was_shut_down(self) -> bool:
        return self.lines == ["lifespan.startup", "lifespan.shutdown"]


class Slow:
    """Answers after some seconds; says when a request has begun, and how it ended."""

    def __init__(self, seconds: float = 5.0) -> None:
        self.seconds = seconds
        self.begun = anyio.Event()
        self.cancelled = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun.set()
        try:
            await anyio.sleep(self.seconds)
        except anyio.get_cancelled_exc_class():
            self.cancelled = True
            raise
        await hello(scope, receive, send)


class Stubborn:
    """Does not end when it is cancelled, but only when it is let go."""

    def __init__(self) -> None:
        self.begun = anyio.Event()
        self.let_go = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun.set()
        with anyio.CancelScope(shield=True):
            await self.let_go.wait()


class Listening:
    """Streams until its client leaves, as far as `receive()` says."""

    def __init__(self) -> None:
        self.begun = anyio.Event()
        self.told_at: float | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"event", "more_body": True})
        self.begun.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        self.told_at = anyio.current_time()
        await send({"type": "http.response.body", "body": b"bye"})


class Deaf:
    """Streams for ever and never calls `receive()`."""

    def __init__(self) -> None:
        self.begun = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"event", "more_body": True})
            self.begun.set()
            await anyio.sleep(1)


class Lingering:
    """Answers, and then works on for a while, as a background task does."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.done = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await hello(scope, receive, send)
        await anyio.sleep(self.seconds)
        self.done = True


class Large:
    """A response of `pieces` pieces of 1 MiB each."""

    def __init__(self, pieces: int = 16) -> None:
        self.pieces = pieces
        self.begun = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        self.begun.set()
        for _ in range(self.pieces):
            await send({"type": "http.response.body", "body": bytes(2**20), "more_body": True})
        await send({"type": "http.response.body"})
