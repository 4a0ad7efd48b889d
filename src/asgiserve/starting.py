"""`run()`: `serve()` with an event loop around it, for whoever has none yet; or a supervisor with its workers."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast

import anyio

from asgiserve import loader, logs
from asgiserve.backend import run_options
from asgiserve.errors import ConfigError, WorkerError
from asgiserve.from_uvicorn import accepted
from asgiserve.process.standard_streams import open_closed_streams
from asgiserve.process.taken_signals import put_back
from asgiserve.program import configure_logs, planned
from asgiserve.server import serve_with
from asgiserve.server.claims import claimed

if TYPE_CHECKING:
    import ssl

    from asgiserve.config import Launch
    from asgiserve.program import Plan
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

    :param app: the application, or where to import it from ("package.module:app"); with `factory`, what makes it
    :param backend: "asyncio" or "trio"
    :param ssl_context: serve TLS with it, instead of with certificates that the settings name
    :param settings: settings by the command line's names, those of `serve()`, of the loop and of processes
    :raises AppLoadError: the application cannot be imported; and all that `serve()` raises
    :raises WorkerError: workers ended badly, or again and again

    Installs no signal handlers and configures no logging, unless `log_config` is a dictionary or a file to do so by:
    that is the command line's part. Ctrl+C therefore cancels the server and raises KeyboardInterrupt, after the
    application's lifespan has shut down.

    With `workers`, `reload` or a limit on workers it is the command line in a call: the application is an import
    string, signals are answered until the end, and a process whose logging nobody has configured logs as the command
    line does. Then Ctrl+C is a graceful stop, and `run()` returns.
    """
    open_closed_streams()
    kept, notes = accepted({"backend": backend, **settings})
    plan = planned(app if isinstance(app, str) else "", kept, notes=notes)
    if plan.processes.supervised:
        _check_for_workers(app, ssl_context, plan.processes.reason)
        _run_supervised(plan)
        return
    _run_here(app, plan, ssl_context, level=plan.launch.log_level if "log_level" in kept else None)


def _run_here(
    app: ASGIApplication | WSGIApplication | str,
    plan: Plan,
    ssl_context: ssl.SSLContext | None,
    level: str | None,
) -> None:
    launch, warnings = plan.launch, plan.warnings
    if launch.log_format == "json":
        raise ConfigError("log_format: is for the command line; run() logs by log_config, or as its caller does")
    name, options = run_options(launch)
    if launch.log_config is not None:
        # 7 ms, see program.py
        from asgiserve.log_config import configure_from

        warnings += configure_from(launch.log_config, level=level)

    async def main() -> None:
        for note in plan.notes:
            logs.log_info(note)
        for warning in warnings:
            logs.log_warning(warning)
        with claimed(launch, plan.settings.bind) as claims:
            # Inside the running loop: applications make locks and events where they are imported or made.
            target = _application(app, launch)
            await serve_with(target, plan.settings, ssl_context=ssl_context, sockets=claims.bound)

    anyio.run(main, backend=name, backend_options=options)


def _application(app: Any, launch: Launch) -> ASGIApplication | WSGIApplication:
    if isinstance(app, str):
        return loader.load(app, app_dir=launch.app_dir, factory=launch.factory)
    return loader.made_by(app) if launch.factory else cast("ASGIApplication", app)


def _check_for_workers(app: object, ssl_context: ssl.SSLContext | None, name: str) -> None:
    """Other processes are told what to serve: they cannot be handed an object."""
    if not isinstance(app, str):
        raise ConfigError(
            f"{name}: the application must be an import string, such as 'package.module:app': each worker is a process"
            " that imports it"
        )
    if threading.current_thread() is not threading.main_thread():
        raise ConfigError(f"{name}: needs the main thread, which signals go to")
    if ssl_context is not None:
        raise ConfigError("ssl_context: cannot be handed to worker processes; name the files, ssl_certfile and so on")


def _run_supervised(plan: Plan) -> None:
    # 10 ms and 1 MiB that a process does without which serves by itself, and each worker
    from asgiserve.supervise.supervisor import check_supervised, supervise

    check_supervised(plan)
    if plan.launch.log_config is not None or not logs.general.hasHandlers():
        configure_logs(plan)
    name, options = run_options(plan.launch)
    with put_back():
        code = anyio.run(supervise, plan, backend=name, backend_options=options)
    if code == 1:
        raise WorkerError("A worker did not end well; the log says which one and how.")
