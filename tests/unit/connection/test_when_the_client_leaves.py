"""When the client goes away: who is told what, for every cell of the table in `tests/support/leaving.py`.

No `from __future__ import annotations` here: FastAPI evaluates the annotations of the routes below.
"""

import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from sse_starlette import EventSourceResponse
from starlette.background import BackgroundTask

from asgiserve.errors import ClientDisconnected
from asgiserve.types import ASGIApplication, Receive, Scope, Send
from tests.support.leaving import COLUMNS, TABLE, THREADS, Column, Outcome, Row, page_table
from tests.support.serving import Client, serving
from tests.support.websocket import handshake
from tests.unit.connection.applications import body, get, start

PAGE = Path(__file__).parents[3] / "docs/reference/behaviour.md"

LEAVES_AFTER = 5.1
"""Seconds: every application below is in the middle of what it does by then."""
WATCHED_FOR = 40.0
TICK = 0.25


class Marks:
    """What an application has come to, and how long after its client left."""

    def __init__(self) -> None:
        self.left: float | None = None
        self.notes: list[tuple[str, float]] = []

    def note(self, what: str) -> None:
        if self.left is not None:
            self.notes.append((what, anyio.current_time() - self.left))

    @property
    def names(self) -> list[str]:
        return [what for what, _ in self.notes]

    def after(self, what: str) -> float:
        return dict(self.notes)[what]

    async def sleep(self, seconds: float) -> None:
        """Sleep, and note how that ended."""
        try:
            await anyio.sleep(seconds)
        except anyio.get_cancelled_exc_class():
            self.note("cancelled")
            raise
        self.note("finished")


Build = Callable[[Marks], ASGIApplication]

# --- what the applications do -----------------------------------------------------------------


def sleeps(marks: Marks) -> ASGIApplication:
    app = FastAPI()

    @app.get("/")
    async def endpoint() -> str:
        await marks.sleep(10)
        return "done"

    return app


def listens(marks: Marks) -> ASGIApplication:
    app = FastAPI()

    @app.get("/")
    async def endpoint(request: Request) -> None:
        while (message := await request.receive())["type"] == "http.request":
            pass
        marks.note(message["type"])

    return app


def asks(marks: Marks) -> ASGIApplication:
    app = FastAPI()

    @app.get("/")
    async def endpoint(request: Request) -> None:
        while not await request.is_disconnected():  # noqa: ASYNC110 - the question can only be asked
            await anyio.sleep(0.1)
        marks.note("heard")

    return app


def sends(marks: Marks) -> ASGIApplication:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for _ in range(10):
            await body(send, b"part", more=True)
            await marks.sleep(1)
        await body(send, b"done")

    return app


def is_blocked(marks: Marks) -> ASGIApplication:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        try:
            await body(send, bytes(1_000_000), more=True)
            marks.note("send returned")
            await anyio.sleep(10)
        except anyio.get_cancelled_exc_class():
            marks.note("cancelled")
            raise

    return app


async def _produce(marks: Marks) -> AsyncIterator[str]:
    try:
        while True:
            yield "part"
            await anyio.sleep(1)
    finally:
        marks.note("ended")


def streams(marks: Marks) -> ASGIApplication:
    app = FastAPI()

    @app.get("/")
    async def endpoint() -> StreamingResponse:
        return StreamingResponse(_produce(marks))

    return app


def streams_then_works(marks: Marks) -> ASGIApplication:
    app = FastAPI()

    @app.get("/")
    async def endpoint() -> StreamingResponse:
        return StreamingResponse(_produce(marks), background=BackgroundTask(marks.sleep, 10))

    return app


def sends_events(marks: Marks) -> ASGIApplication:
    app = FastAPI()

    @app.get("/")
    async def endpoint() -> EventSourceResponse:
        return EventSourceResponse(_produce(marks))

    return app


def works_in_the_background(marks: Marks) -> ASGIApplication:
    app = FastAPI()

    @app.get("/")
    async def endpoint() -> JSONResponse:
        return JSONResponse("done", background=BackgroundTask(marks.sleep, 10))

    return app


def websocket_listens(marks: Marks) -> ASGIApplication:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            pass
        marks.note(f"told {message['code']}")

    return app


def websocket_sends(marks: Marks) -> ASGIApplication:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        try:
            while True:
                await send({"type": "websocket.send", "text": "part"})
                await anyio.sleep(0.1)
        except ClientDisconnected:
            marks.note("send raised")
            raise

    return app


def websocket_sleeps(marks: Marks) -> ASGIApplication:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await marks.sleep(10)

    return app


SCENARIOS: dict[str, Build] = {
    one.__name__: one
    for one in (
        sleeps,
        listens,
        asks,
        sends,
        is_blocked,
        streams,
        streams_then_works,
        sends_events,
        works_in_the_background,
        websocket_listens,
        websocket_sends,
        websocket_sleeps,
    )
}

# --- what is seen of it -----------------------------------------------------------------------


async def _leave(client: Client, how: str, *, wait: float, reads: bool = True) -> bytes:
    """Leave; all that a client that has only ended its side reads then."""
    if how == "RST":
        client.stream.abort()
        await anyio.sleep(wait)
        return b""
    await client.stream.send_eof()
    with anyio.move_on_after(wait):
        if reads:
            return await client.read_all()
        await anyio.sleep_forever()
    return b""


def _check(outcome: Outcome, marks: Marks, received: bytes) -> None:
    """Whether the application has come to this."""
    match outcome:
        case Outcome.ANSWERS:
            assert set(marks.names) == {"finished"}
            assert b"done" in received
        case Outcome.GOES_ON:
            assert set(marks.names) == {"finished"}
            assert b"done" not in received
        case Outcome.WORKS_ON:
            assert marks.notes == [("finished", pytest.approx(10 - LEAVES_AFTER))]
        case Outcome.WAITS:
            assert marks.names == ["send returned"]
            # It was waiting when the client left; so much is left of its 30 seconds, and a tick.
            assert -1e-6 <= marks.after("send returned") - (30 - LEAVES_AFTER) <= TICK + 1e-6
        case Outcome.IS_RELEASED:
            assert marks.notes == [("send returned", 0)]
        case Outcome.IS_TOLD:
            assert marks.notes == [("http.disconnect", 0)]
        case Outcome.HEARS:
            assert marks.names == ["heard"]
            assert marks.after("heard") <= 0.1
        case Outcome.IS_ENDED:
            assert marks.notes == [("ended", 0)]
        case Outcome.IS_ENDED_AND_WORKS_ON:
            assert marks.notes == [("ended", 0), ("finished", pytest.approx(10))]
        case Outcome.IS_CANCELLED:
            assert marks.names == ["cancelled"]
            assert marks.after("cancelled") <= TICK + 1e-6
        case Outcome.IS_RELEASED_AND_CANCELLED:
            assert marks.names == ["send returned", "cancelled"]
            assert marks.after("send returned") == 0
            assert marks.after("cancelled") <= TICK + 1e-6
        case Outcome.WEBSOCKET_IS_TOLD:
            assert marks.notes == [("told 1006", 0)]
        case Outcome.SEND_RAISES_SOON:
            assert marks.names == ["send raised"]
            assert marks.after("send raised") <= 0.5
        case Outcome.SEND_RAISES:
            assert marks.names == ["send raised"]
            assert marks.after("send raised") <= 0.1
        case _:
            raise AssertionError(f"no check for {outcome}")


CELLS = [
    pytest.param(row, column, outcome, id=f"{row.scenario}-{column.leaves}{'-cancel' * column.cancel_on_disconnect}")
    for row in TABLE
    for column, outcome in zip(COLUMNS, row.outcomes, strict=True)
]
ABOUT_THREADS = [one for one in CELLS if one.values[0].scenario == THREADS]  # type: ignore[union-attr]
OTHERS = [one for one in CELLS if one not in ABOUT_THREADS]


@pytest.mark.anyio
@pytest.mark.parametrize(("row", "column", "outcome"), OTHERS)
async def test_every_cell_of_the_table_is_what_happens(row: Row, column: Column, outcome: Outcome) -> None:
    marks = Marks()
    app = SCENARIOS[row.scenario](marks)
    async with serving(app, lifespan="off", cancel_on_disconnect=column.cancel_on_disconnect) as served:
        client = served.connect()
        await client.send(handshake() if row.scenario.startswith("websocket") else get())
        await anyio.sleep(LEAVES_AFTER)
        marks.left = anyio.current_time()
        received = await _leave(client, column.leaves, wait=WATCHED_FOR, reads=row.scenario != "is_blocked")
        await anyio.sleep(WATCHED_FOR)
        _check(outcome, marks, received)


# --- threads, which know no virtual time ------------------------------------------------------


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(("row", "column", "outcome"), ABOUT_THREADS)
def test_every_cell_about_threads_is_what_happens(row: Row, column: Column, outcome: Outcome, backend: str) -> None:
    entered, go_on = threading.Event(), threading.Event()
    app = FastAPI()
    ends: list[str] = []

    @app.get("/")
    def endpoint() -> str:
        entered.set()
        assert go_on.wait(10)
        ends.append("thread")
        return "done"

    async def outermost(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
            ends.append("returned")
        except anyio.get_cancelled_exc_class():
            ends.append("cancelled")
            raise

    async def play() -> bytes:
        async with serving(outermost, lifespan="off", cancel_on_disconnect=column.cancel_on_disconnect) as served:
            client = served.connect()
            await client.send(get())
            await anyio.to_thread.run_sync(entered.wait, 10)
            received = await _leave(client, column.leaves, wait=3 * TICK)
            assert ends == []
            go_on.set()
            with anyio.move_on_after(1):
                if column.leaves == "FIN" and not column.cancel_on_disconnect:
                    received += await client.read_all()
            for _ in range(100):
                if len(ends) == 2:
                    break
                await anyio.sleep(0.01)
            return received

    began = time.monotonic()
    received = anyio.run(play, backend=backend)
    assert time.monotonic() - began < 10
    cancelled = outcome is Outcome.THREAD_ENDS_FIRST
    assert ends == ["thread", "cancelled" if cancelled else "returned"]
    assert (b"done" in received) is (outcome is Outcome.ANSWERS)


# --- the page ---------------------------------------------------------------------------------


def test_the_page_has_the_table_as_it_is() -> None:
    assert page_table() in PAGE.read_text(), "python -m tests.support.leaving"
