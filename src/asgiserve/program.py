"""The program around a server: what is to be run, how it logs, and which exit code its end is.

Shared by the command line, by `run()` and by each worker process, so that an application is loaded, served and
reported on in one way. What the settings are made of is in sources.py, what signals mean in signals.py, and what
several processes are to each other in supervise/.

Exit codes: 0 after a graceful stop; 1 if the application's shutdown failed, if something of it could not be ended, or
if workers ended again and again; 2 for options that make no sense; 3 if the application could not be loaded or
started, or an address not be bound; 130 and 143 for SIGINT and SIGTERM before the server was up.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import anyio

from asgiserve import log_output, logs
from asgiserve.backend import run_options
from asgiserve.config import Settings, split
from asgiserve.errors import (
    AppLoadError,
    AsgiserveError,
    BindError,
    ConfigError,
    ShutdownError,
    StartupError,
    WorkerError,
)
from asgiserve.loader import load
from asgiserve.process.heap import keep_heap
from asgiserve.process.notify import Notifier
from asgiserve.process.standard_streams import tell
from asgiserve.server.claims import claimed
from asgiserve.signals import interruptible, serve_until_signalled
from asgiserve.sources import with_origin

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from asgiserve.config import Launch, Processes
    from asgiserve.server.activation import PassedSocket
    from asgiserve.sources import Values
    from asgiserve.types import ASGIApplication, WSGIApplication

__all__ = ["Plan", "configure_logs", "exit_code", "loaded", "planned", "say_notes", "serve_here"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be run. A worker process is sent the supervisor's, so everything in it can be pickled."""

    app: str
    """Where to import the application from; empty if nobody has said."""
    launch: Launch
    processes: Processes
    settings: Settings
    values: Values
    """Who gave which value, for the sentences about them."""
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    """What is to be said once at the start."""
    log_level: str | None = None
    """The level that somebody has asked for, by name."""
    passed: tuple[PassedSocket, ...] = ()
    """Sockets that systemd has passed to this process."""
    notifier: Notifier = field(default_factory=Notifier)
    """Whom this process tells how it does."""


def planned(
    app: str,
    keywords: Mapping[str, Any],
    *,
    values: Values,
    notes: tuple[str, ...] = (),
    warnings: tuple[str, ...] = (),
) -> Plan:
    """Flat names as a plan. Raises ConfigError, whose text begins with the setting's name."""
    launch, processes, rest = split(keywords)
    settings = Settings.of(rest)
    run_options(launch)  # raises if loop and backend do not fit: before anything is started
    if processes.reload and processes.workers > 1:
        notes += (f"workers: reload has one worker; {processes.workers} are for a server without it",)
    notes += processes.idle
    if processes.supervised and sys.platform == "win32":
        raise ConfigError(f"{processes.reason}: needs worker processes, which are not there on Windows; leave it out")
    return Plan(
        app=app,
        launch=launch,
        processes=processes,
        settings=settings,
        values=values,
        notes=notes,
        warnings=warnings,
        log_level=launch.log_level if "log_level" in keywords else None,
    )


# --- logging ----------------------------------------------------------------------------------


def configure_logs(plan: Plan) -> None:
    """Log as the settings say, and say what is to be said once at the start. Raises ConfigError."""
    say_notes(plan, configure_logs_quietly(plan))


def say_notes(plan: Plan, warnings: Sequence[str] = ()) -> None:
    """Say what is to be said once at the start."""
    for text in plan.notes:
        logs.log_info(with_origin(text, plan.values))
    for text in (*plan.warnings, *(with_origin(text, plan.values) for text in warnings)):
        logs.log_warning(text)


def configure_logs_quietly(plan: Plan) -> tuple[str, ...]:
    """The same in another process of the same program; returns what is to be warned of."""
    launch = plan.launch
    if launch.log_config is None:
        log_output.configure(level=launch.log_level, form=launch.log_format, use_colors=_colours(launch))
        return ()
    if launch.log_format == "json":
        raise ConfigError("log_format: what lines look like is log_config's part; leave one of them out")
    # 7 ms for who asks for it: logging.config imports half a dozen modules for its handlers.
    from asgiserve.log_config import configure_from

    return configure_from(launch.log_config, level=plan.log_level)


def _colours(launch: Launch) -> bool | None:
    # https://no-color.org: set and not empty means no colours, unless the user asks for them by option.
    return False if launch.use_colors is None and os.environ.get("NO_COLOR") else launch.use_colors


# --- serving ----------------------------------------------------------------------------------


def loaded(plan: Plan) -> ASGIApplication:
    """The application, imported inside the event loop, where it may make locks and groups. Raises AppLoadError."""
    return load(plan.app, app_dir=plan.launch.app_dir, factory=plan.launch.factory)


async def serve_here(
    plan: Plan,
    application: Callable[[Plan], ASGIApplication | WSGIApplication] = loaded,
    ssl_context: ssl.SSLContext | None = None,
) -> int:
    """Serve in this process until a signal stops it; returns the exit code. `application` imports or makes it."""
    with ExitStack() as stack:
        with interruptible(plan.settings) as taken:
            claims = stack.enter_context(claimed(plan.launch, plan.settings.bind, plan.passed))
            app = application(plan)
        code = await serve_until_signalled(
            app,
            plan.settings,
            lambda server: announce(server.urls),
            ssl_context=ssl_context,
            sockets=claims.bound,
            taken=taken,
            notifier=plan.notifier,
            release=claims.release,
        )
    logs.log_info(f"Finished server process [{os.getpid()}]")
    return code


def announce(urls: Sequence[str]) -> None:
    for url in urls:
        logs.log_info(f"asgiserve running on {url} (Press CTRL+C to quit)")


# --- the end ----------------------------------------------------------------------------------


def exit_code(plan: Plan, main: Callable[[Plan], Awaitable[int]], failed: Literal["Error", "No"] = "Error") -> int:
    """Run `main` in an event loop; what it raises on purpose becomes one sentence on stderr, and its exit code."""
    backend, options = run_options(plan.launch)
    keep_heap()
    try:
        return anyio.run(main, plan, backend=backend, backend_options=options)
    except AsgiserveError as error:
        cause = error.__cause__ if isinstance(error, AppLoadError) else None
        as_record = plan.launch.log_format == "json" and failed == "Error"
        say = _tell_as_record if as_record else partial(_tell, failed)
        say(_sentence(error, plan.values), cause)
        return 1 if isinstance(error, (ShutdownError, WorkerError)) else 3
    except KeyboardInterrupt:
        return 130


def _tell(failed: str, sentence: str, cause: BaseException | None) -> None:
    text = "" if cause is None else "".join(traceback.format_exception(cause))
    tell(f"{text}{failed}: {logs.printable_lines(sentence)}")


def _tell_as_record(sentence: str, cause: BaseException | None) -> None:
    # Whoever asked for a JSON object a line reads this line by a program too.
    logs.log_critical(sentence, cause)


def _sentence(error: AsgiserveError, values: Values) -> str:
    """What it says. Several lines only where the application has written them: Starlette tells a whole traceback."""
    if isinstance(error, (StartupError, ShutdownError)):
        return str(error).rstrip()
    return logs.printable(_of_the_start(error, values))


def _of_the_start(error: AsgiserveError, values: Values) -> str:
    if isinstance(error, ConfigError):
        return with_origin(str(error), values)
    if isinstance(error, BindError):
        text = error.strerror or str(error)
        return text + (_unix_hint(error.errno) if " unix:" in text else _port_hint(error.errno))
    return str(error)


def _port_hint(number: int | None) -> str:
    if number == errno.EADDRINUSE:
        tool = "ss -ltnp" if sys.platform == "linux" else "lsof -nP -iTCP -sTCP:LISTEN"
        return f" `{tool}` shows which; --port takes another port, --port 0 any free one."
    return " --port takes another port." if number == errno.EACCES else ""


def _unix_hint(number: int | None) -> str:
    if number == errno.EADDRINUSE:
        tool = "ss -lxp" if sys.platform == "linux" else "lsof -U"
        return f" `{tool}` shows which; --uds takes another path."
    return " --uds takes another path." if number == errno.EACCES else ""
