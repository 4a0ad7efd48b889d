"""The application that server-sent events are measured with. It waits, on asyncio or trio: hence anyio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
from apps import EVENT, GREETING, live, start

if TYPE_CHECKING:
    from apps import Receive, Send

_news = anyio.Event()


async def events(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Server-sent events: `/events` streams them, each in its client's own task; every other request causes one."""
    global _news
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    if scope["path"] != "/events":
        news, _news = _news, anyio.Event()
        news.set()
        await send(start(b"text/plain", len(GREETING)))
        await send({"type": "http.response.body", "body": GREETING})
        return
    news = _news
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    # The head is out when the client has this: it misses nothing from here on.
    await send({"type": "http.response.body", "body": EVENT, "more_body": True})
    while True:
        await news.wait()
        # Before the event goes out, so that the next one cannot be caused unseen.
        news = _news
        await send({"type": "http.response.body", "body": EVENT, "more_body": True})
