"""Chromium without a window, driven through its DevTools protocol: a page is opened, asked, and drawn."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from websockets.sync.client import connect

from tests.support.processes import START_PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from websockets.sync.client import ClientConnection

__all__ = ["CHROMIUM", "Page", "opened"]

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

_FLAGS: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0"),
)


class Page:
    """One page of one browser."""

    def __init__(self, devtools: ClientConnection) -> None:
        self._devtools = devtools
        self._count = 0
        self._session: dict[str, str] = {}

    def open(self, url: str) -> None:
        """Open the page and wait until it has been read."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        self._call("Page.enable")
        self._call("Page.navigate", url=url)
        while json.loads(self._devtools.recv(START_PATIENCE)).get("method") != "Page.loadEventFired":
            pass

    def evaluate(self, script: str) -> Any:
        """The value of an expression; of a promise, what it comes to."""
        done = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Wait until an expression is true. The page looks whenever it is drawn, not we."""
        self.evaluate(
            "new Promise(done => { const look = () =>"
            f" {{ if ({condition}) done(true); else requestAnimationFrame(look) }}; look() }})"
        )

    def picture(self) -> bytes:
        """The whole page as a PNG."""
        return base64.b64decode(self._call("Page.captureScreenshot", captureBeyondViewport=True)["data"])

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        call = {"id": self._count, "method": method, "params": parameters, **self._session}
        self._devtools.send(json.dumps(call))
        while True:
            answer: dict[str, Any] = json.loads(self._devtools.recv(START_PATIENCE))
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result


@contextmanager
def opened(url: str, profile: Path) -> Iterator[Page]:
    """A browser of its own with that page; it is gone afterwards, and the page with it."""
    assert CHROMIUM is not None
    browser = subprocess.Popen(
        [CHROMIUM, *_FLAGS, f"--user-data-dir={profile}"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        assert browser.stderr is not None
        line = next(line for line in browser.stderr if line.startswith("DevTools listening on "))
        with connect(line.split()[-1], max_size=None, proxy=None, compression=None) as devtools:
            page = Page(devtools)
            page.open(url)
            yield page
            devtools.send(json.dumps({"id": 0, "method": "Browser.close"}))
            browser.wait(START_PATIENCE)
    finally:
        browser.kill()
        browser.wait()
        if browser.stderr is not None:
            browser.stderr.close()
