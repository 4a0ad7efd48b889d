"""Chromium without a window on the demo application: a page, its script, its stream of events."""

from __future__ import annotations

import html
import shutil
import threading
from typing import TYPE_CHECKING

import anyio
import pytest

from asgiserve.demo import app as demo
from tests.support.processes import START_PATIENCE, ran

if TYPE_CHECKING:
    from pathlib import Path

    from asgiserve.types import Message, Receive, Scope, Send
    from tests.live.conftest import LiveServers

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not on this machine"),
]


def chromium(profile: Path, *arguments: str) -> str:
    """What Chromium printed; fails if it does."""
    assert CHROMIUM is not None
    flags = ["headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking"]
    flags += ["disable-component-update", "disable-sync", f"user-data-dir={profile}"]
    words = [CHROMIUM, *(f"--{flag}" for flag in flags), *arguments]
    done = ran(words)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Watched:
    """The demo, and whether its clock has begun and ended.

    Chromium leaves as soon as the page is complete, perhaps before its script has asked for the clock (in 1 of 48 runs
    on a busy machine, from any server). So the page's last byte waits for the clock.
    """

    def __init__(self) -> None:
        self.asked = anyio.Event()
        self.ended = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path")

        async def send_but_the_last_byte(message: Message) -> None:
            body = message.get("body", b"")
            if body:
                await send({**message, "body": body[:-1], "more_body": True})
                await self.asked.wait()
                message = {**message, "body": body[-1:]}
            await send(message)

        if path == "/clock":
            self.asked.set()
        try:
            await demo(scope, receive, send_but_the_last_byte if path == "/" else send)
        finally:
            if path == "/clock":
                self.ended.set()


def test_the_page_is_shown_and_its_clock_ends_when_the_browser_leaves(live_server: LiveServers, tmp_path: Path) -> None:
    app = Watched()
    server = live_server(app, timeout_graceful_shutdown=60)

    page = html.unescape(chromium(tmp_path, "--dump-dom", f"{server.url}/"))

    assert "<h1><span>asgiserve</span> is running</h1>" in page
    assert f"127.0.0.1:{server.port}" in page
    assert "Chrome" in page
    assert app.ended.wait(START_PATIENCE)


def test_the_page_can_be_drawn(live_server: LiveServers, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"

    chromium(tmp_path, f"--screenshot={picture}", f"{live_server(demo).url}/")

    assert picture.read_bytes().startswith(b"\x89PNG\r\n")
    assert picture.stat().st_size > 10_000  # an empty page takes some 2 KB
