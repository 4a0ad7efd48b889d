"""Chromium on the demo's WebSocket: its form is sent, the answer is shown, and so is the end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from asgiserve.demo import app as demo
from tests.live.devtools import CHROMIUM, opened

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.conftest import LiveServers

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not on this machine"),
]

TEXT = "grün \N{GREEN HEART} " * 6000
"""Some 70 KiB: more than a frame's short lengths, and more than the stream reads at once."""


def test_what_is_typed_comes_back_and_the_end_is_shown(live_server: LiveServers, tmp_path: Path) -> None:
    server = live_server(demo, timeout_graceful_shutdown=60, timeout_shutdown_notice=0.1)

    with opened(f"{server.url}/", tmp_path) as page:
        page.wait_for("document.getElementById('socket').value == 'open'")
        for text in ("one", "", TEXT):
            page.evaluate(f"document.forms.say.elements.text.value = {json.dumps(text)}")
            page.evaluate("document.forms.say.requestSubmit()")
        expected = f"one\n\n{TEXT}\n"
        page.wait_for(f"document.getElementById('said').value.length == {utf16_length(expected)}")
        assert page.evaluate("document.getElementById('said').value") == expected

        server.stop()

        page.wait_for("document.getElementById('socket').value.startsWith('closed, 1012')")
        server.wait_ended()


@pytest.mark.parametrize("deflate", [True, False])
def test_a_browser_compresses_when_it_may(live_server: LiveServers, tmp_path: Path, deflate: bool) -> None:
    server = live_server(demo, ws_per_message_deflate=deflate)

    with opened(f"{server.url}/", tmp_path) as page:
        answer = page.evaluate(
            """new Promise((done, failed) => {
                const socket = new WebSocket(location.origin.replace("http", "ws") + "/ws")
                const parts = []
                socket.binaryType = "arraybuffer"
                socket.onerror = failed
                socket.onopen = () => { socket.send(new Uint8Array(100000)); socket.send("last") }
                socket.onmessage = event => {
                    parts.push(event.data.byteLength ?? event.data)
                    if (parts.length == 2) done([socket.extensions, ...parts])
                }
            })"""
        )

    extensions, *parts = answer
    assert parts == [100_000, "last"]
    assert ("permessage-deflate" in extensions) is deflate


def utf16_length(text: str) -> int:
    """What JavaScript calls the length."""
    return len(text.encode("utf-16-le")) // 2
