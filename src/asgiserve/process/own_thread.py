"""The threads that the server itself needs: they hear and watch where the event loop may be blocked.

Called by `last_resort.py`, and in workers by `supervise/`. What the loop and the application run in threads is theirs.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from asgiserve.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["start_thread"]


def start_thread(name: str, target: Callable[..., None], *args: Any) -> threading.Thread:
    """Start a thread that keeps no process from its end.

    Raises StartupError where the system has none left, most likely by a limit on processes. A server could do without
    some of them, but then a stop might come to no end; and it is at the start that somebody looks.
    """
    thread = threading.Thread(target=target, args=args, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise StartupError(
            f"Cannot start a thread: {error}. Limits on processes (ulimit -u, pids) count threads."
        ) from None
    return thread
