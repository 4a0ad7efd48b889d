"""A server in memory, whose end a test can look at: when it came, and what came out of it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asgiserve.config import Settings
from asgiserve.errors import StartupError
from asgiserve.server import serve_with
from asgiserve.testing import MemoryListener
from tests.support.serving import PATIENCE, Serving
from tests.unit.server.apps import Journal

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable

    from anyio.abc import TaskStatus

    from asgiserve.server import Server
    from asgiserve.types import ASGIApplication


class Run(Serving):
    """A server from its start to its end."""

    server: Server

    def __init__(self) -> None:
        self.listener = MemoryListener()
        self.scope = anyio.CancelScope()
        """What `serve()` runs in: the caller's scope."""
        self.error: Exception | None = None
        self.returned = anyio.Event()

    async def end(self) -> float:
        """Wait until `serve()` has returned or raised; how many seconds that took."""
        began = anyio.current_time()
        with anyio.fail_after(PATIENCE):
            await self.returned.wait()
        return anyio.current_time() - began

    async def serve(
        self,
        app: ASGIApplication,
        settings: Settings,
        options: dict[str, Any],
        task_status: TaskStatus[None],
    ) -> None:
        started = _Reporting(self, task_status)
        try:
            with self.scope:
                await serve_with(app, settings, listeners=[self.listener], task_status=started, **options)
        except Exception as error:
            if not started.reported:
                raise
            self.error = error
        finally:
            self.returned.set()


class _Reporting:
    """Keeps the `Server` that is reported, and passes the word on."""

    def __init__(self, run: Run, outer: TaskStatus[None]) -> None:
        self.reported = False
        self._run = run
        self._outer = outer

    def started(self, value: Any = None) -> None:
        self.reported = True
        self._run.server = value
        self._outer.started()


@asynccontextmanager
async def running(
    app: ASGIApplication,
    *,
    unstoppable: Callable[[], None] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    stop: anyio.Event | None = None,
    **settings: Any,
) -> AsyncIterator[Run]:
    """Serve `app` in memory for the block, and cancel what is left of the server then.

    Only a `Journal` has a lifespan; the other applications are not asked for one.
    """
    run = Run()
    settings.setdefault("lifespan", "on" if isinstance(app, Journal) else "off")
    async with anyio.create_task_group() as group:

        async def serve(*, task_status: TaskStatus[None]) -> None:
            options = {"unstoppable": unstoppable, "ssl_context": ssl_context, "stop": stop}
            await run.serve(app, Settings.of(settings), options, task_status)

        await group.start(serve)
        yield run
        group.cancel_scope.cancel()


async def startup_error(
    app: ASGIApplication, *, unstoppable: Callable[[], None] | None = None, **settings: Any
) -> StartupError:
    """The bare error with which the start of this server fails."""
    options: dict[str, Any] = {"listeners": [MemoryListener()], "unstoppable": unstoppable}
    async with anyio.create_task_group() as group:
        serve = partial(serve_with, app, Settings.of(settings), **options)
        with anyio.fail_after(PATIENCE), pytest.raises(StartupError) as caught:
            await group.start(serve)
    assert type(caught.value) is StartupError
    return caught.value
