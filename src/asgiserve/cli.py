"""The command line: options become settings, errors become sentences and exit codes.

The only file that prints, exits or reads the environment, and the only one that knows typer. Every
option is made from its declaration in `config.OPTIONS`; no setting has a name, a default or a help text
of its own here. Which of several sources wins is in sources.py, what only uvicorn's users know in from_uvicorn.py.
What comes after the start, signals and the way to stop, is in signals.py.

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
from dataclasses import fields
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import anyio
import typer
from typer.core import TyperCommand

from asgiserve import __version__, log_output, logs
from asgiserve.backend import run_options
from asgiserve.config import (
    OPTIONS,
    Application,
    Bind,
    Http,
    Launch,
    Limits,
    Log,
    Proxies,
    Settings,
    Timeouts,
    Tls,
    WebSockets,
    split_launch,
)
from asgiserve.errors import AppLoadError, AsgiserveError, BindError, ConfigError, ShutdownError
from asgiserve.from_uvicorn import FOREIGN, VALUED_FLAGS, Uvicorn, accepted
from asgiserve.loader import load
from asgiserve.log_config import configure_from
from asgiserve.print_config import config_lines
from asgiserve.server import check_with
from asgiserve.signals import serve_until_signalled
from asgiserve.sources import WORDS, gathered, with_origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from asgiserve.config import Option
    from asgiserve.server import Server
    from asgiserve.sources import Gathered, Values

__all__ = ["main"]

PANELS: Final = (Application, Bind, Launch, Http, Limits, Timeouts, WebSockets, Tls, Proxies, Log)
"""The order of the help page: what everybody needs first."""

SHOWN: Final[Mapping[str, Option]] = {**OPTIONS, **FOREIGN}
"""The options that the command line takes; `_OTHER` has those that are no settings."""

EXAMPLE: Final = "asgiserve myproject.main:app"


def main() -> None:
    """The console script. Never returns: typer leaves with the exit code."""
    _program()(prog_name="asgiserve")


# --- options ----------------------------------------------------------------------------------


def _program() -> typer.Typer:
    program = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
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
    for name in ("print_config", "check"):
        yield _parameter(name, Annotated[bool, typer.Option(_flag(name))], False)
    for name in ("config", "env_file"):
        yield _parameter(name, Annotated[str | None, typer.Option(_flag(name))], None)
    for option in SHOWN.values():
        info = typer.Option(_declaration(option), autocompletion=_completion(option))
        yield _parameter(option.name, Annotated[_value_type(option), info], None)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)


def _value_type(option: Option) -> Any:
    """What typer makes of an option's words. A text is converted in config/, for all ways in alike."""
    if option.form is None:
        return bool | None
    return list[str] | None if option.repeatable else str | None


def _completion(option: Option) -> Callable[[str], list[str]] | None:
    """What a shell is told of an option's words; None leaves it to complete the names of files."""
    choices = option.choices
    if choices is None:
        return None

    def completion(incomplete: str) -> list[str]:  # typer goes by the parameter's name
        return [each for each in choices if each.startswith(incomplete)]

    return completion


def _declaration(option: Option) -> str:
    return f"{option.flag}/--no-{option.flag[2:]}" if option.form is None else option.flag


_OTHER: Final = [
    ("--config FILE", "Settings in TOML. [default: [tool.asgiserve] of ./pyproject.toml]"),
    ("--env-file FILE", "Variables for the application, and ASGISERVE_* of settings."),
    ("--print-config", "Show each setting with the place that it comes from, and exit."),
    ("--check", "Load the application and all files, bind nothing, say yes or no, and exit."),
    ("--install-completion", "Install completion for your shell and exit."),
    ("--show-completion", "Show completion for your shell and exit."),
    ("--version", "Show the versions in use and exit."),
    ("-h, --help", "Show this page and exit."),
]


class _Command(TyperCommand):
    """Reads what uvicorn would; writes the help page: a panel per group of settings, readable at 80 columns."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(_plain_flags(args)))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        for group in (*PANELS, Uvicorn):
            with formatter.section(group.panel):
                formatter.write_dl([_help_record(each) for each in SHOWN.values() if each.group is group])
        with formatter.section("Other"):
            formatter.write_dl(_OTHER)


def _plain_flags(words: list[str]) -> Iterator[str]:
    """The same words, with `--flag` or `--no-flag` where uvicorn's flag takes true or false."""
    flags = {SHOWN[name].flag for name in VALUED_FLAGS}
    rest = iter(words)
    for word in rest:
        flag, sign, value = word.partition("=")
        if flag not in flags:
            yield word
            continue
        following = value if sign else next(rest, None)
        wanted = None if following is None else WORDS.get(following.lower())
        yield f"--no-{flag[2:]}" if wanted is False else flag
        if wanted is None and following is not None:
            yield following


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


class _Plan(NamedTuple):
    """What is to be run, from all sources."""

    app: str
    launch: Launch
    settings: Settings
    loop: tuple[str, Any]
    values: Values
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def _start(ctx: typer.Context, *, version: bool, print_config: bool, check: bool, **given: Any) -> None:
    values: Values = {}
    try:
        found = gathered(given, os.environ, os.getcwd())
        values.update(found.values)
        for name, text in found.variables.items():
            os.environ.setdefault(name, text)
        plan = _planned(found)
        if print_config:
            _print_config(plan)
        if not plan.app:
            ctx.fail(f"APP is missing: name the application as MODULE:ATTRIBUTE, for example: {EXAMPLE}")
        _configure_logs(plan)
    except ConfigError as error:
        text = logs.printable(with_origin(str(error), values))
        if not check:
            ctx.fail(text)
        typer.echo(f"No: {text}", err=True)
        raise typer.Exit(2) from None
    backend, options = plan.loop
    main, failed = (_check, "No") if check else (_main, "Error")
    tell = _tell_as_record if plan.launch.log_format == "json" and not check else partial(_tell, failed)
    raise typer.Exit(_exit_code(lambda: anyio.run(main, plan, backend=backend, backend_options=options), values, tell))


def _planned(found: Gathered) -> _Plan:
    values = found.values
    kept, notes = accepted({name: one.value for name, one in values.items() if name not in ("app", "env_file")})
    launch, rest = split_launch(kept)
    app = values["app"].value if "app" in values else ""
    return _Plan(app, launch, Settings.of(rest), run_options(launch), values, notes, found.notes)


def _print_config(plan: _Plan) -> None:
    groups = {type(one): one for one in (getattr(plan.settings, each.name) for each in fields(plan.settings))}
    ordered = [plan.launch if group is Launch else groups[group] for group in PANELS]
    for line in config_lines(ordered, OPTIONS, plan.values):
        typer.echo(logs.printable(line))
    raise typer.Exit


def _configure_logs(plan: _Plan) -> None:
    launch, notes = plan.launch, plan.notes
    if launch.log_config is None:
        log_output.configure(level=launch.log_level, form=launch.log_format, use_colors=_colours(launch))
    elif launch.log_format == "json":
        raise ConfigError("log_format: what lines look like is log_config's part; leave one of them out")
    else:
        notes += configure_from(launch.log_config, level=launch.log_level if "log_level" in plan.values else None)
    for text in notes:
        logs.log_info(with_origin(text, plan.values))
    for text in plan.warnings:
        logs.log_warning(text)


def _colours(launch: Launch) -> bool | None:
    # https://no-color.org: set and not empty means no colours, unless the user asks for them by option.
    return False if launch.use_colors is None and os.environ.get("NO_COLOR") else launch.use_colors


def _exit_code(run: Callable[[], int], values: Values, tell: Callable[[str, BaseException | None], None]) -> int:
    """Run the server; errors that it raises on purpose become one sentence on stderr."""
    try:
        return run()
    except AsgiserveError as error:
        cause = error.__cause__ if isinstance(error, AppLoadError) else None
        tell(logs.printable(_sentence(error, values)), cause)
        return 1 if isinstance(error, ShutdownError) else 3
    except KeyboardInterrupt:
        return 130


def _tell(failed: str, sentence: str, cause: BaseException | None) -> None:
    if cause is not None:
        traceback.print_exception(cause)
    typer.echo(f"{failed}: {sentence}", err=True)


def _tell_as_record(sentence: str, cause: BaseException | None) -> None:
    # Whoever asked for a JSON object a line reads this line by a program too.
    logs.general.critical("%s", sentence, exc_info=cause)


def _sentence(error: AsgiserveError, values: Values) -> str:
    if isinstance(error, ConfigError):
        return with_origin(str(error), values)
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


# --- serving ----------------------------------------------------------------------------------


async def _main(plan: _Plan) -> int:
    """The program inside the event loop; the application is imported here, where it may use the loop."""
    app = load(plan.app, app_dir=plan.launch.app_dir, factory=plan.launch.factory)
    logs.log_info(f"Started server process [{os.getpid()}]")
    exit_code = await serve_until_signalled(app, plan.settings, _announce)
    logs.log_info(f"Finished server process [{os.getpid()}]")
    return exit_code


async def _check(plan: _Plan) -> int:
    """The same up to where something would be bound or started."""
    app = load(plan.app, app_dir=plan.launch.app_dir, factory=plan.launch.factory)
    check_with(app, plan.settings)
    typer.echo(f"Yes: {logs.printable(plan.app)} can be served.")
    return 0


def _announce(server: Server) -> None:
    for url in server.urls:
        logs.log_info(f"asgiserve running on {url} (Press CTRL+C to quit)")
