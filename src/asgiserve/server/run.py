"""`run()`: `serve()` with an event loop around it, for whoever has none yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from asgiserve import loader, logs
from asgiserve.backend import run_options
from asgiserve.config import Settings, split_launch
from asgiserve.errors import ConfigError
from asgiserve.from_uvicorn import accepted
from asgiserve.log_config import configure_from
from asgiserve.server.serve import serve_with

if TYPE_CHECKING:
    import ssl

    from asgiserve.types import ASGIApplication, WSGIApplication

__all__ = ["run"]


def run(
    app: ASGIApplication | WSGIApplication | str,
    *,
    backend: str = "asyncio",
    ssl_context: ssl.SSLContext | None = None,
    **settings: Any,
) -> None:
    """Serve an application until it is stopped: `serve()` in an event loop of its own.

    :param app: the application, or where to import it from ("package.module:app")
    :param backend: "asyncio" or "trio"
    :param ssl_context: serve TLS with it, instead of with certificates that the settings name
    :param settings: settings by the command line's names, those of `serve()` and those of the loop
    :raises AppLoadError: the application cannot be imported; and all that `serve()` raises

    Installs no signal handlers and configures no logging, unless `log_config` is a dictionary or a file to do so by:
    that is the command line's part. Ctrl+C therefore cancels the server and raises KeyboardInterrupt, after the
    application's lifespan has shut down.
    """
    kept, notes = accepted({"backend": backend, **settings})
    launch, rest = split_launch(kept)
    if launch.log_format == "json":
        raise ConfigError("log_format: is for the command line; run() logs by log_config, or as its caller does")
    checked = Settings.of(rest)
    name, options = run_options(launch)
    if launch.log_config is not None:
        notes += configure_from(launch.log_config, level=launch.log_level if "log_level" in kept else None)

    async def main() -> None:
        for note in notes:
            logs.log_info(note)
        # Imported inside the running loop: applications make locks and events at import.
        target = loader.load(app, app_dir=launch.app_dir, factory=launch.factory) if isinstance(app, str) else app
        await serve_with(target, checked, ssl_context=ssl_context)

    anyio.run(main, backend=name, backend_options=options)
