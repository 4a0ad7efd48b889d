"""A FastAPI application with everything that may be open at a stop, written as people write it: nothing catches a
disconnect. Served by import string.

No `from __future__ import annotations` here: FastAPI evaluates the annotations of its routes.
"""

from collections.abc import AsyncIterator

import anyio
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse
from sse_starlette import EventSourceResponse

from tests.live.saying import say

__all__ = ["app"]

app = FastAPI()


@app.websocket("/listens")
async def listens(websocket: WebSocket) -> None:
    await websocket.accept()
    say("entered")
    while True:
        await websocket.receive_text()


@app.websocket("/sends")
async def sends(websocket: WebSocket) -> None:
    await websocket.accept()
    say("entered")
    while True:
        await websocket.send_text("x")
        await anyio.sleep(0.01)


@app.websocket("/both")
async def both(websocket: WebSocket) -> None:
    """In a task group, so that what the one raises comes as a group."""

    async def send() -> None:
        while True:
            await websocket.send_text("x")
            await anyio.sleep(0.01)

    async def receive() -> None:
        while True:
            await websocket.receive_text()

    await websocket.accept()
    say("entered")
    async with anyio.create_task_group() as group:
        group.start_soon(send)
        group.start_soon(receive)


@app.post("/upload")
async def upload(request: Request) -> int:
    say("entered")
    return len(await request.body())


async def _events() -> AsyncIterator[str]:
    say("entered")
    while True:
        yield "data: event\n\n"
        await anyio.sleep(0.01)


@app.get("/stream")
async def stream() -> StreamingResponse:
    return StreamingResponse(_events(), media_type="text/event-stream")


@app.get("/events")
async def events() -> EventSourceResponse:
    return EventSourceResponse(_events())


@app.get("/sleeps")
async def sleeps() -> None:
    say("entered")
    await anyio.sleep_forever()
