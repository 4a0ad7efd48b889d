"""`run()`: `serve()` with an event loop around it, for whoever has none yet; or a supervisor with its workers."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any, cast

import anyio

from asgiserve import loader, logs
from asgiserve.backend import run_options
from asgiserve.errors import ConfigError, Terminated, WorkerError
from asgiserve.from_uvicorn import accepted
from asgiserve.process.standard_streams import open_closed_streams
from asgiserve.process.taken_signals import put_back
from asgiserve.program import configure_logs, planned, say_notes, serve_here
from asgiserve.server import serve_with
from asgiserve.server.claims import claimed
from asgiserve.sources import Given

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

    It is the command line in a call. SIGINT and SIGTERM are a graceful stop, after which it returns; before the server
    is up they are raised, as KeyboardInterrupt and as SystemExit with code 143. A stop that the application brings to
    no end ends the process. A process whose logging nobody has configured logs as the command line does. Behind it the
    program has its own signal handlers again. In a thread that is not the main one signals mean nothing to it.

    With `workers`, `reload` or a limit on workers the application is an import string, and the thread the main one.
    """
    open_closed_streams()
    kept, notes = accepted({"backend": backend, **settings})
    values = {name: Given(value, name) for name, value in kept.items()}
    plan = planned(app if isinstance(app, str) else "", kept, values=values, notes=notes)
    if plan.processes.supervised:
        _check_for_workers(app, ssl_context, plan.processes.reason)
        _run_supervised(plan)
        return
    _configure_logs(plan)
    name, options = run_options(plan.launch)
    if threading.current_thread() is not threading.main_thread():
        anyio.run(_until_stopped, plan, app, ssl_context, backend=name, backend_options=options)
        return
    with put_back():
        code = anyio.run(_until_signalled, plan, app, ssl_context, backend=name, backend_options=options)
    _check_start(code)


def _configure_logs(plan: Plan) -> None:
    if plan.launch.log_config is not None or not logs.general.hasHandlers():
        configure_logs(plan)
    elif plan.launch.log_format == "json":
        raise ConfigError("log_format: is for who configures no logging; here a handler is there already")
    else:
        say_notes(plan)


def _check_start(code: int) -> None:
    """A signal that has ended the start is raised, as it is while the application is imported."""
    if code == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    if code == 128 + signal.SIGTERM:
        raise Terminated(code)


async def _until_signalled(plan: Plan, app: Any, ssl_context: ssl.SSLContext | None) -> int:
    # Inside the running loop: applications make locks and events where they are imported or made.
    return await serve_here(plan, lambda plan: _application(app, plan.launch), ssl_context)


async def _until_stopped(plan: Plan, app: Any, ssl_context: ssl.SSLContext | None) -> None:
    with claimed(plan.launch, plan.settings.bind) as claims:
        target = _application(app, plan.launch)
        await serve_with(target, plan.settings, ssl_context=ssl_context, sockets=claims.bound)


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
    _configure_logs(plan)
    name, options = run_options(plan.launch)
    with put_back():
        code = anyio.run(supervise, plan, backend=name, backend_options=options)
    if code == 1:
        raise WorkerError("A worker did not end well; the log says which one and how.")
    _check_start(code)
