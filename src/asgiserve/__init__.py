"""asgiserve: an ASGI server for structured concurrency, on asyncio or trio with the same behaviour.

    await serve(app, ...)      inside a running program, on whichever event loop it runs
    run(app, backend="trio")   with an event loop of its own

What is listed in `__all__` is public and keeps its name and meaning; tests/test_exports.py holds the list.
"""

from __future__ import annotations

from asgiserve.errors import (
    AppLoadError,
    AsgiserveError,
    BindError,
    ClientDisconnected,
    ConfigError,
    LocalProtocolError,
    ShutdownError,
    StartupError,
    WorkerError,
)
from asgiserve.server import Server, serve
from asgiserve.starting import run

__all__ = [
    "AppLoadError",
    "AsgiserveError",
    "BindError",
    "ClientDisconnected",
    "ConfigError",
    "LocalProtocolError",
    "Server",
    "ShutdownError",
    "StartupError",
    "WorkerError",
    "__version__",
    "run",
    "serve",
]

__version__ = "0.1.0"
