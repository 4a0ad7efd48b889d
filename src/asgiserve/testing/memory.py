"""A server without sockets, in the test's own event loop: `async with memory_server(app) as server`.

Its connections are streams in memory, so it also runs in virtual time (`clock.py`). It is a task of its own and no
cancel scope stays open across the block, as for `async_live_server`. Public.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from asgiserve.config import Settings
from asgiserve.testing.listener import MemoryListener
from asgiserve.testing.places import COURTESY
from asgiserve.testing.recording import besides, raise_recorded
from asgiserve.testing.serving import ServerTask

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Sequence

    from asgiserve.server.listeners import Listener
    from asgiserve.testing.streams import MemoryStream
    from asgiserve.types import ASGIApplication

__all__ = ["MemoryServer", "memory_server"]


class _MemoryPlace:
    """Where it listens: one listener after the other, since each server closes its own."""

    ssl_context: ssl.SSLContext | None = None

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.listener = MemoryListener()

    def url(self, scheme: str) -> str:
        return f"{scheme}://memory"

    def listeners(self) -> Sequence[Listener]:
        self.listener = MemoryListener()
        return [self.listener]


class MemoryServer:
    """A server in memory; made by `memory_server`."""

    def __init__(self, place: _MemoryPlace, patience: float) -> None:
        self._place = place
        self._patience = patience
        self._task: ServerTask | None = None
        self.app_exceptions: list[BaseException] = []
        """What the application has raised, the first hundred of it. A test may remove what it has expected."""

    def connect(self, **options: Any) -> MemoryStream:
        """The client's end of a new connection; the options are those of `MemoryListener.connect()`."""
        return self._place.listener.connect(**options)

    def overview(self) -> str:
        """What goes on at this moment, as `Server.overview()` tells it."""
        return "stopped" if self._task is None else self._task.overview()

    async def _start(self, app: ASGIApplication) -> None:
        self._task = ServerTask(app, self._place, self.app_exceptions, self._patience)
        await self._task.start()

    async def _stop(self, *, at_once: bool) -> None:
        task, self._task = self._task, None
        if task is not None:
            await task.finish(at_once=at_once)


@asynccontextmanager
async def memory_server(
    app: ASGIApplication, *, raise_app_exceptions: bool = False, patience: float = 10.0, **settings: Any
) -> AsyncIterator[MemoryServer]:
    """Serve an application over connections in memory for the block.

    :param raise_app_exceptions: raise at the block's end what the application has raised, unless the block raises
    :param patience: seconds, of the event loop's clock, that the start, and the end, may take
    :param settings: the settings of `serve()`
    :raises: what `live_server` raises, but for what is about addresses
    """
    server = MemoryServer(_MemoryPlace(Settings.of({**COURTESY, **settings})), patience)
    await server._start(app)
    try:
        yield server
    except BaseException as error:
        try:
            await server._stop(at_once=not isinstance(error, Exception))
        except BaseException as another:
            error.add_note(besides(another))
        raise
    await server._stop(at_once=False)
    if raise_app_exceptions:
        raise_recorded(server.app_exceptions)
