"""An application that tells what it knows of its process, for the tests of sockets, users and systemd.

The environment variable SLOW_IMPORT keeps its import from ending.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

from tests.live.applications import lifespan, respond
from tests.live.saying import say

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send

IMPORTED_AS = (os.getuid(), os.getgid())

COUNT_SOCKETS = """
import os, stat
numbers = [n for n in range(3, 1000) if os.path.exists(f"/proc/self/fd/{n}")]
print(sum(stat.S_ISSOCK(os.fstat(n).st_mode) for n in numbers))
"""

if "SLOW_IMPORT" in os.environ:
    say("import: entered")
    threading.Event().wait()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    await respond(send, 200, json.dumps(_told(scope)).encode())


def _told(scope: Scope) -> dict[str, Any]:
    if scope["path"] == "/child":
        # A program that takes over whatever may be inherited.
        words = [sys.executable, "-c", COUNT_SOCKETS]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=10, close_fds=False)
        return {"sockets": int(done.stdout)}
    return {
        "server": scope["server"],
        "draining": scope["state"].get("asgiserve.draining"),
        "variables": {name: text for name, text in os.environ.items() if name.startswith(("LISTEN_", "NOTIFY_"))},
        "imported_as": IMPORTED_AS,
        "serves_as": [os.getuid(), os.getgid(), sorted(os.getgroups())],
    }


async def blocks(scope: Scope, receive: Receive, send: Send) -> None:
    """Keeps the event loop from turning."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    say("request: entered")
    threading.Event().wait()
