"""What the servers are asked: one scenario for each kind of traffic, by name in `SCENARIOS`.

Who is asked is in `servers.py`, how the load is made in `load.py`, what is measured in `measuring.py`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from apps import CHUNK, CHUNKS, GREETING
from scratch import FILES, content

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SCENARIOS", "AnyScenario", "Scenario", "WebSocketScenario"]

OURS: Final = ("asgiserve-asyncio", "asgiserve-uvloop", "asgiserve-trio")
_PAIR: Final = (*OURS, "uvicorn")
_CORE: Final = (*_PAIR, "granian")
_H11: Final = (*_PAIR, "uvicorn-h11")
_WEBSOCKETS: Final = (*OURS, "uvicorn-sansio")
_ALL: Final = ()
"""Every server that can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One kind of traffic, and the answer that every server must give to it."""

    title: str
    app: str
    """The name of an application in `apps.py`; of another module's with the module's name and a colon in front."""
    answer: bytes
    group: str = ""
    """Which part of docs/explanation/performance.md shows it."""
    servers: tuple[str, ...] = _ALL
    """Which servers run it, unless somebody names others."""
    load: Literal["wrk", "busy", "idle", "events", "start"] = "wrk"
    """Who loads it: wrk; clients of ours that stay connected and are busy, or idle beside wrk; readers of
    server-sent events; nobody, since only the start is measured."""
    unit: str = "request"
    target: str = "/"
    method: str = "GET"
    fields: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    chunk: int = 0
    """Bytes of each chunk of a chunked body; 0: its length is announced."""
    depth: int = 1
    """How many requests a client sends before it waits for an answer."""
    connections: int = 64
    access_log: bool = False
    """Whether the server writes a line per request, to a standard output that is thrown away."""
    tls: bool = False
    workers: int = 1
    pinned: bool = True
    """Whether server and load stay on a core each."""
    family: str = ""
    """Scenarios of one family differ in `size` only."""
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketScenario:
    """Messages that come back, and come back whole and unchanged."""

    title: str
    app: str
    kind: Literal["text", "binary", "broadcast"]
    """An echo on every connection of messages of that kind, or one text that comes back on all of them."""
    size: int
    servers: tuple[str, ...] = _WEBSOCKETS
    connections: int = 64
    group: str = "websocket"
    load: Literal["websocket"] = "websocket"
    unit: str = "message"
    access_log: bool = False
    tls: bool = False
    workers: int = 1
    pinned: bool = True
    family: str = ""


AnyScenario = Scenario | WebSocketScenario

# Chromium on Linux, navigating to a page of the same site. With Host, 15 fields.
_BROWSER: Final = (
    ("Connection", "keep-alive"),
    ("Cache-Control", "max-age=0"),
    ("sec-ch-ua", '"Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140"'),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", '"Linux"'),
    ("Upgrade-Insecure-Requests", "1"),
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    ),
    (
        "Accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    ),
    ("Sec-Fetch-Site", "none"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-User", "?1"),
    ("Sec-Fetch-Dest", "document"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "en-GB,en-US;q=0.9,en;q=0.8"),
)

_DOCUMENT: Final = json.dumps({"items": list(range(256))}).encode()[:1022] + b"]}"
"""1 KiB of JSON."""

_ITEM: Final = b'{"id":42,"name":"Kettle","price":39.5,"tags":["kitchen","electric"],"stock":7}'
_100_KIB: Final = content(102_400)
_10_MIB: Final = content(10_485_760)

_GETS: Final = {
    "bare": Scenario(title="Bare GET", app="hello", answer=GREETING, group="get"),
    "browser": Scenario(
        title="Browser's GET, 15 fields",
        app="hello",
        answer=GREETING,
        group="get",
        servers=(*_CORE, "uvicorn-h11"),
        fields=_BROWSER,
    ),
    "access-log": Scenario(
        title="Browser's GET, access log on",
        app="hello",
        answer=GREETING,
        group="get",
        servers=_PAIR,
        fields=_BROWSER,
        access_log=True,
    ),
    "pipelined": Scenario(
        title="GET, 16 at a time (pipelined)", app="hello", answer=GREETING, group="get", servers=_CORE, depth=16
    ),
    "close": Scenario(
        title="GET, a connection for each",
        app="hello",
        answer=GREETING,
        group="get",
        servers=_CORE,
        fields=(("Connection", "close"),),
    ),
    "tls": Scenario(title="Bare GET over TLS", app="hello", answer=GREETING, group="get", servers=_CORE, tls=True),
}

_BODIES: Final = {
    "post": Scenario(
        title="POST of 1 KiB JSON, echoed",
        app="echo",
        group="bodies",
        servers=_CORE,
        method="POST",
        answer=_DOCUMENT,
        fields=(("Content-Type", "application/json"),),
        body=_DOCUMENT,
    ),
    "post-100k": Scenario(
        title="POST of 100 KiB",
        app="count",
        group="bodies",
        servers=_PAIR,
        method="POST",
        answer=b"102400",
        body=_100_KIB,
    ),
    # Few connections, here and below: with 64 of them the kernel's socket buffers are what would be measured.
    "post-10m": Scenario(
        title="POST of 10 MiB",
        app="count",
        group="bodies",
        servers=_PAIR,
        method="POST",
        answer=b"10485760",
        body=_10_MIB,
        connections=4,
    ),
    "upload-chunked": Scenario(
        title="Chunked upload of 100 KiB, 8 KiB a chunk",
        app="count",
        group="bodies",
        servers=_H11,
        method="POST",
        answer=b"102400",
        body=_100_KIB,
        chunk=8192,
    ),
}

_FRAMEWORKS: Final = {
    name: Scenario(
        title=f"JSON through {title}",
        app=f"framework_apps:{name}",
        answer=_ITEM,
        group="frameworks",
        servers=_PAIR,
        target="/item",
    )
    for name, title in (("starlette", "Starlette"), ("fastapi", "FastAPI"))
}

_STREAMS: Final = {
    "download": Scenario(
        title="Download of 10 MiB in chunks of 64 KiB",
        app="download",
        answer=CHUNK * CHUNKS,
        group="streams",
        servers=_CORE,
        connections=4,
    ),
    "sse-1000": Scenario(
        title="Server-sent events to 1,000 clients",
        app="events_app:events",
        answer=GREETING,
        group="streams",
        servers=_PAIR,
        load="events",
        unit="event",
        connections=1000,
    ),
}


def _file(name: str, title: str, *, tls: bool) -> Scenario:
    return Scenario(
        title=f"File of {title} through Starlette's FileResponse{', over TLS' if tls else ''}",
        app="framework_apps:starlette",
        answer=content(FILES[name]),
        group="files",
        servers=_PAIR if tls else (*_CORE, "nginx"),
        target=f"/files/{name}",
        connections=4 if FILES[name] > 2**20 else 64,
        tls=tls,
    )


_FILES: Final = {
    "file-100k": _file("100k.bin", "100 KiB", tls=False),
    "file-10m": _file("10m.bin", "10 MiB", tls=False),
    "file-100k-tls": _file("100k.bin", "100 KiB", tls=True),
    "file-10m-tls": _file("10m.bin", "10 MiB", tls=True),
}

_WEBSOCKET: Final = {
    "ws-echo-64": WebSocketScenario(
        title="WebSocket, echo of 64 bytes of text",
        app="ws_echo",
        kind="text",
        size=64,
        servers=(*_WEBSOCKETS, "uvicorn-wsproto", "granian"),
    ),
    "ws-echo-16k": WebSocketScenario(
        title="WebSocket, echo of 16 KiB of bytes", app="ws_echo", kind="binary", size=16384
    ),
    "ws-echo-64-1000c": WebSocketScenario(
        title="WebSocket, echo of 64 bytes of text, 1,000 connections",
        app="ws_echo",
        kind="text",
        size=64,
        connections=1000,
    ),
    "ws-broadcast-1000": WebSocketScenario(
        title="WebSocket, 64 bytes of text to 1,000 connections",
        app="ws_broadcast",
        kind="broadcast",
        size=64,
        connections=1000,
    ),
}

_SCALE: Final = {
    "idle": Scenario(
        title="10,000 idle connections, and a GET beside them",
        app="hello",
        answer=GREETING,
        group="idle",
        servers=(*_CORE, "hypercorn-trio"),
        load="idle",
        size=10_000,
    ),
    **{
        f"growth-{size}": Scenario(
            title=f"Bare GET on {size:,} connections",
            app="hello",
            answer=GREETING,
            group="growth",
            servers=_PAIR,
            load="busy",
            connections=size,
            family="growth",
            size=size,
        )
        for size in (1, 100, 1_000, 10_000)
    },
    **{
        f"workers-{size}": Scenario(
            title=f"Bare GET, {size} worker{'s' if size > 1 else ''}",
            app="hello",
            answer=GREETING,
            group="workers",
            servers=("asgiserve-asyncio", "asgiserve-trio", "uvicorn"),
            workers=size,
            pinned=False,
            family="workers",
            size=size,
        )
        for size in (1, 2)
    },
    "start": Scenario(
        title="Start-up, until the first answer is complete",
        app="hello",
        answer=GREETING,
        group="start",
        load="start",
        unit="start",
    ),
}

SCENARIOS: Final[Mapping[str, AnyScenario]] = {
    **_GETS,
    **_BODIES,
    **_FRAMEWORKS,
    **_STREAMS,
    **_FILES,
    **_WEBSOCKET,
    **_SCALE,
}
