"""Chromium without a window on the demo application: a page, its script, its stream of events."""

from __future__ import annotations

import html
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from asgiserve.demo import app as demo
from tests.live.servers import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

    from asgiserve.types import Receive, Scope, Send
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
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Watched:
    """The demo, and whether its clock has begun and ended."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.ended = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        clock = scope["type"] == "http" and scope["path"] == "/clock"
        if clock:
            self.began.set()
        try:
            await demo(scope, receive, send)
        finally:
            if clock:
                self.ended.set()


def test_the_page_is_shown_and_its_clock_ends_when_the_browser_leaves(live_server: LiveServers, tmp_path: Path) -> None:
    app = Watched()
    server = live_server(app, timeout_graceful_shutdown=60)

    page = html.unescape(chromium(tmp_path, "--dump-dom", f"{server.url}/"))

    assert "<h1><span>asgiserve</span> is running</h1>" in page
    assert f"127.0.0.1:{server.port}" in page
    assert "Chrome" in page
    assert app.began.wait(PATIENCE)
    assert app.ended.wait(PATIENCE)


def test_the_page_can_be_drawn(live_server: LiveServers, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"

    chromium(tmp_path, f"--screenshot={picture}", f"{live_server(demo).url}/")

    assert picture.read_bytes().startswith(b"\x89PNG\r\n")
    assert picture.stat().st_size > 10_000  # an empty page takes some 2 KB
