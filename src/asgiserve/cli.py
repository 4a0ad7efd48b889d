"""The command line: options become settings, errors become sentences and exit codes.

The only file that prints, exits or reads the environment, and the only one that knows typer. Every
option is made from its declaration in `config.OPTIONS`; no setting has a name, a default or a help text
of its own here. What comes after the start, signals and the way to stop, is in signals.py.

Exit codes: 0 after a graceful stop; 1 if the application's shutdown failed, or if something of it could not be ended;
2 for options that make no sense; 3 if the application could not be loaded or started, or an address not be bound; 130
and 143 for SIGINT and SIGTERM before the server was up.
"""

from __future__ import annotations

import errno
import inspect
import os
import platform
import sys
import traceback
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated, Any, Final

import anyio
import typer
from typer.core import TyperCommand

from asgiserve import __version__, logs
from asgiserve.backend import run_options
from asgiserve.config import (
    OPTIONS,
    Application,
    Bind,
    Http,
    Launch,
    Limits,
    Log,
    Settings,
    Timeouts,
    split_launch,
)
from asgiserve.errors import AppLoadError, AsgiserveError, BindError, ConfigError, ShutdownError
from asgiserve.loader import load
from asgiserve.signals import serve_until_signalled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asgiserve.config import Option
    from asgiserve.server import Server

__all__ = ["main"]

PANELS: Final = (Application, Bind, Launch, Http, Limits, Timeouts, Log)
"""The order of the help page: what everybody needs first."""

EXAMPLE: Final = "asgiserve myproject.main:app"


def main() -> None:
    """The console script. Never returns: typer leaves with the exit code."""
    _program()(prog_name="asgiserve")


# --- options ----------------------------------------------------------------------------------


def _program() -> typer.Typer:
    program = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    program.command(
        cls=_Command,
        help="Serve an ASGI application on asyncio or trio.",
        epilog=f"Example: {EXAMPLE}",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    )(_command())
    return program


def _command() -> Any:
    """The function that typer reads the options from: its signature is made of the declarations."""

    def command(ctx: typer.Context, **given: Any) -> None:
        _start(ctx, **given)

    command.__signature__ = inspect.Signature(list(_parameters()))  # type: ignore[attr-defined]
    command.__annotations__ = {}
    return command


def _parameters() -> Iterator[inspect.Parameter]:
    app = typer.Argument(metavar="APP", show_default=False)
    shown_version = typer.Option("--version", is_eager=True, callback=_print_versions, show_default=False)
    yield _parameter("ctx", typer.Context, inspect.Parameter.empty)
    yield _parameter("app", Annotated[str | None, app], None)
    yield _parameter("version", Annotated[bool, shown_version], False)
    for option in OPTIONS.values():
        info = typer.Option(_declaration(option))
        yield _parameter(option.name, Annotated[_value_type(option), info], None)


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)


def _value_type(option: Option) -> Any:
    """What typer makes of an option's words. A text is converted in config.py, for all ways in alike."""
    if option.form is None:
        return bool | None
    return list[str] | None if option.repeatable else str | None


def _declaration(option: Option) -> str:
    return f"{option.flag}/--no-{option.flag[2:]}" if option.form is None else option.flag


_OTHER: Final = [
    ("--version", "Show the versions in use and exit."),
    ("-h, --help", "Show this page and exit."),
]


class _Command(TyperCommand):
    """Writes the help page: one panel per group of settings, readable at 80 columns."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        for group in PANELS:
            with formatter.section(group.panel):
                formatter.write_dl([_help_record(each) for each in OPTIONS.values() if each.group is group])
        with formatter.section("Other"):
            formatter.write_dl(_OTHER)


def _help_record(option: Option) -> tuple[str, str]:
    names = _declaration(option).replace("/", " / ")
    default = option.default_text
    shown = f" [default: {default}]" if default is not None and "[default:" not in option.text else ""
    return (names if option.form is None else f"{names} {option.form}"), option.text + shown


def _print_versions(wanted: bool) -> None:
    if not wanted:
        return
    names = ("anyio", "trio", "h11", "wsproto")
    typer.echo(f"asgiserve {__version__}")
    typer.echo(f"{platform.python_implementation()} {platform.python_version()} on {platform.system()}")
    typer.echo(", ".join(f"{name} {_version(name)}" for name in names))
    typer.echo(f"backends: asyncio (uvloop {_version('uvloop')}), trio")
    raise typer.Exit


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


# --- starting ---------------------------------------------------------------------------------


def _start(ctx: typer.Context, *, app: str | None, **given: Any) -> None:
    given.pop("version")
    if not app:
        ctx.fail(f"APP is missing: name the application as MODULE:ATTRIBUTE, for example: {EXAMPLE}")
    try:
        launch, rest = split_launch({k: v for k, v in given.items() if v is not None and v != []})
        settings = Settings.of(rest)
        backend, options = run_options(launch)
    except ConfigError as error:
        ctx.fail(_in_flags(error))
    logs.configure(level=launch.log_level, use_colors=_colours(launch))
    raise typer.Exit(
        _exit_code(lambda: anyio.run(_main, app, launch, settings, backend=backend, backend_options=options))
    )


def _colours(launch: Launch) -> bool | None:
    # https://no-color.org: set and not empty means no colours, unless the user asks for them by option.
    return False if launch.use_colors is None and os.environ.get("NO_COLOR") else launch.use_colors


def _exit_code(run: Callable[[], int]) -> int:
    """Run the server; errors that it raises on purpose become one sentence on stderr."""
    try:
        return run()
    except AsgiserveError as error:
        if isinstance(error, AppLoadError) and error.__cause__ is not None:
            traceback.print_exception(error.__cause__)
        typer.echo(f"Error: {logs.printable(_sentence(error))}", err=True)
        return 1 if isinstance(error, ShutdownError) else 3
    except KeyboardInterrupt:
        return 130


def _sentence(error: AsgiserveError) -> str:
    if isinstance(error, ConfigError):
        return _in_flags(error)
    if isinstance(error, BindError):
        return f"{error.strerror or error}{_bind_hint(error.errno)}"
    return str(error)


def _bind_hint(number: int | None) -> str:
    if number == errno.EADDRINUSE:
        tool = "ss -ltnp" if sys.platform == "linux" else "lsof -nP -iTCP -sTCP:LISTEN"
        return f"; `{tool}` shows who listens there, --port takes another port, --port 0 any free one"
    if number == errno.EACCES:
        return "; ports below 1024 and others' directories need privileges, --port takes another port"
    return ""


def _in_flags(error: ConfigError) -> str:
    """The error's text, which begins with a setting's name, with the flag's name instead."""
    name, colon, rest = str(error).partition(":")
    return f"{OPTIONS[name].flag}:{rest}" if colon and name in OPTIONS else str(error)


# --- serving ----------------------------------------------------------------------------------


async def _main(target: str, launch: Launch, settings: Settings) -> int:
    """The program inside the event loop; the application is imported here, where it may use the loop."""
    app = load(target, app_dir=launch.app_dir, factory=launch.factory)
    logs.log_info(f"Started server process [{os.getpid()}]")
    exit_code = await serve_until_signalled(app, settings, _announce)
    logs.log_info(f"Finished server process [{os.getpid()}]")
    return exit_code


def _announce(server: Server) -> None:
    for url in server.urls:
        logs.log_info(f"asgiserve running on {url} (Press CTRL+C to quit)")
