"""A Starlette application with an endless stream of server-sent events; says on stderr how far it is.

At `/found` it reads a body, and then says what sse-starlette looks for to learn of a stop.
"""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.live.saying import say

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

__all__ = ["app"]


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    say("lifespan: started")
    yield
    say("lifespan: stopped")


async def events() -> AsyncIterator[dict[str, str]]:
    try:
        yield {"data": "first"}
        await anyio.sleep_forever()
    finally:
        say("events: ended")


async def stream(request: Request) -> EventSourceResponse:
    return EventSourceResponse(events())


async def found(request: Request) -> JSONResponse:
    await request.body()
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return JSONResponse(getattr(server, "should_exit", None))


app = Starlette(routes=[Route("/", stream), Route("/found", found, methods=["GET", "POST"])], lifespan=lifespan)
