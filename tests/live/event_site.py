"""A Starlette application with an endless stream of server-sent events; says on stderr how far it is."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.routing import Route

from tests.live.applications import say

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


app = Starlette(routes=[Route("/", stream)], lifespan=lifespan)
