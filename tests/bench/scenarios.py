"""What the servers are asked: one scenario for each kind of traffic, by name in `SCENARIOS`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from apps import CHUNK, CHUNKS, GREETING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SCENARIOS", "AnyScenario", "Scenario", "WebSocketScenario"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One kind of traffic, and the answer that every server must give to it."""

    title: str
    app: str
    """The name of an application in `apps.py`."""
    answer: bytes
    method: str = "GET"
    fields: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    depth: int = 1
    """How many requests a client sends before it waits for an answer."""
    connections: int = 64
    access_log: bool = False
    """Whether the server writes a line per request, to a standard output that is thrown away."""
    tls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketScenario:
    """Messages that come back, and come back whole and unchanged."""

    title: str
    app: str
    kind: Literal["text", "binary", "broadcast"]
    """An echo on every connection of messages of that kind, or one text that comes back on all of them."""
    size: int
    connections: int = 64
    access_log: bool = False
    tls: bool = False


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

SCENARIOS: Final[Mapping[str, AnyScenario]] = {
    "bare": Scenario(title="Bare GET", app="hello", answer=GREETING),
    "browser": Scenario(title="Browser's GET, 15 fields", app="hello", answer=GREETING, fields=_BROWSER),
    "access-log": Scenario(
        title="Browser's GET, access log on", app="hello", answer=GREETING, fields=_BROWSER, access_log=True
    ),
    "tls": Scenario(title="Bare GET over TLS", app="hello", answer=GREETING, tls=True),
    "post": Scenario(
        title="POST of 1 KiB JSON, echoed",
        app="echo",
        method="POST",
        answer=_DOCUMENT,
        fields=(("Content-Type", "application/json"),),
        body=_DOCUMENT,
    ),
    "pipelined": Scenario(title="GET, 16 at a time (pipelined)", app="hello", answer=GREETING, depth=16),
    # Few connections: with 64 of them the kernel's socket buffers are what would be measured.
    "download": Scenario(
        title="Download of 10 MiB in chunks of 64 KiB", app="download", answer=CHUNK * CHUNKS, connections=4
    ),
    "ws-echo-64": WebSocketScenario(title="WebSocket, echo of 64 bytes of text", app="ws_echo", kind="text", size=64),
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
        title="WebSocket, 64 bytes of text to 1,000 connections, per message that arrives",
        app="ws_broadcast",
        kind="broadcast",
        size=64,
        connections=1000,
    ),
}
