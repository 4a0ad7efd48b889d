"""`run()`: `serve()` with an event loop around it, for whoever has none yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from asgiserve import loader
from asgiserve.backend import run_options
from asgiserve.config import Settings, split_launch
from asgiserve.server.serve import serve_with

if TYPE_CHECKING:
    from asgiserve.types import ASGIApplication

__all__ = ["run"]


def run(app: ASGIApplication | str, *, backend: str = "asyncio", **settings: Any) -> None:
    """Serve an application until it is stopped: `serve()` in an event loop of its own.

    :param app: the application, or where to import it from ("package.module:app")
    :param backend: "asyncio" or "trio"
    :param settings: settings by the command line's names, those of `serve()` and those of the loop
    :raises AppLoadError: the application cannot be imported; and all that `serve()` raises

    Installs no signal handlers and configures no logging: that is the command line's part. Ctrl+C therefore
    cancels the server and raises KeyboardInterrupt, after the application's lifespan has shut down.
    """
    launch, rest = split_launch({"backend": backend, **settings})
    checked = Settings.of(rest)
    name, options = run_options(launch)

    async def main() -> None:
        # Imported inside the running loop: applications make locks and events at import.
        target = loader.load(app, app_dir=launch.app_dir, factory=launch.factory) if isinstance(app, str) else app
        await serve_with(target, checked)

    anyio.run(main, backend=name, backend_options=options)
