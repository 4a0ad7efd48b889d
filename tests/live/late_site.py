"""Applications in whose process one more Ctrl+C comes in the worst moment: the loop's handler is gone, and ours not
back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    import signal

    from asgiserve.types import Receive, Scope, Send

_open_signal_receiver = anyio.open_signal_receiver


class _Late:
    def __init__(self, *numbers: signal.Signals) -> None:
        self._real = _open_signal_receiver(*numbers)

    def __enter__(self) -> Any:
        return self._real.__enter__()

    def __exit__(self, *raised: object) -> None:
        self._real.__exit__(*raised)
        raise KeyboardInterrupt


anyio.open_signal_receiver = _Late  # type: ignore[assignment]


async def plain(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "lifespan"
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def fails(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "lifespan"
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.failed", "message": "no database"})
