"""An application that comes to no end: neither its import, nor a thread that it has started by then."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from tests.live.saying import say

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send

never = threading.Event()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotImplementedError


threading.Thread(target=never.wait).start()
say("site: imported")
never.wait()
