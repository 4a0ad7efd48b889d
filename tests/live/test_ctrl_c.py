"""What somebody at a terminal reads when they press Ctrl+C while a FastAPI application has everything open."""

from __future__ import annotations

import re
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.live.backends import one_loop_per_library
from tests.live.raw import RawClient, request
from tests.live.websocket_raw import upgrade

if TYPE_CHECKING:
    from tests.live.conftest import LiveServers

pytestmark = [pytest.mark.live, one_loop_per_library]

SITE = "tests.live.everything_site:app"

OPEN = [
    upgrade("/listens"),
    upgrade("/sends"),
    upgrade("/both"),
    request("/stream"),
    request("/events"),
    request("/sleeps"),
    request("/upload", "Content-Length: 9", method="POST") + b"1234",
]

SAID = [
    "Received SIGINT, stopping; again to cancel what still runs.",
    "Waiting for at most 2 s for 7 connections to close (7 with a request in flight).",
    "ASGI application ended by WebSocketDisconnect: (1012, '') (WebSocket /listens)",
    "ASGI application ended by WebSocketDisconnect (WebSocket /sends)",
    "ASGI application ended by WebSocketDisconnect.* (WebSocket /both)",
    "ASGI application ended by ClientDisconnect (POST /upload)",
    "The grace period is over, cancelling GET /sleeps.",
    "Waiting for application shutdown.",
    "Application shutdown complete.",
    "Finished server process [.*]",
]


def test_ctrl_c_with_everything_open_leaves_no_traceback(live_server: LiveServers) -> None:
    server = live_server(SITE, timeout_graceful_shutdown=2, timeout_ws_close=0.2)
    with ExitStack() as stack:
        for bytes_of_one in OPEN:
            stack.enter_context(RawClient(server.port)).send(bytes_of_one)
        server.stderr.wait_for("entered", len(OPEN))
        before = len(server.stderr.lines())

        server.send_signal(signal.SIGINT)

        assert server.wait_exit() == 0
    lines = [re.sub(r"^(INFO|WARNING): +", "", line.rstrip("\n")) for line in server.stderr.lines()[before:]]
    patterns = [re.compile(re.escape(text).replace(r"\.\*", ".*")) for text in SAID]
    unexpected = [line for line in lines if not any(pattern.fullmatch(line) for pattern in patterns)]
    assert unexpected == []
    assert lines[:2] == SAID[:2]
    for pattern in patterns:
        assert any(pattern.fullmatch(line) for line in lines), pattern.pattern
