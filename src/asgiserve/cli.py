"""The command line: options become settings, errors become sentences and exit codes.

The only file that reads the environment and knows typer. Every option is made from its declaration in
`config.OPTIONS`; no setting has a name, a default or a help text of its own here. Which of several sources wins is in
sources.py, what only uvicorn's users know in from_uvicorn.py. What is then run, and which exit code its end is, stands
in program.py; what several processes are to each other in supervise/.
"""

from __future__ import annotations

import inspect
import os
import platform
from dataclasses import fields, replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperCommand

from asgiserve import __version__, logs
from asgiserve.config import (
    OPTIONS,
    Application,
    Bind,
    Http,
    Launch,
    Limits,
    Log,
    Processes,
    Proxies,
    Timeouts,
    Tls,
    WebSockets,
)
from asgiserve.errors import ConfigError
from asgiserve.from_uvicorn import FOREIGN, VALUED_FLAGS, Uvicorn, accepted
from asgiserve.print_config import config_lines
from asgiserve.process.notify import Notifier
from asgiserve.program import configure_logs, exit_code, loaded, planned, serve_here
from asgiserve.server import check_with
from asgiserve.server.activation import taken_from
from asgiserve.sources import WORDS, gathered, with_origin
from asgiserve.supervise import check_supervised, supervise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping

    from asgiserve.config import Option
    from asgiserve.program import Plan
    from asgiserve.sources import Gathered, Values

__all__ = ["main"]

PANELS: Final = (Application, Bind, Launch, Processes, Http, Limits, Timeouts, WebSockets, Tls, Proxies, Log)
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
        configure_logs(plan)
        if not check:
            plan = _in_surroundings(plan, os.environ)
        if plan.processes.supervised:
            check_supervised(plan)
    except ConfigError as error:
        text = logs.printable(with_origin(str(error), values))
        if not check:
            ctx.fail(text)
        typer.echo(f"No: {text}", err=True)
        raise typer.Exit(2) from None
    if check:
        raise typer.Exit(exit_code(plan, _check, "No"))
    raise typer.Exit(exit_code(plan, supervise if plan.processes.supervised else serve_here))


def _planned(found: Gathered) -> Plan:
    values = found.values
    kept, notes = accepted({name: one.value for name, one in values.items() if name not in ("app", "env_file")})
    app = values["app"].value if "app" in values else ""
    return planned(app, kept, values=values, notes=notes, warnings=found.notes)


def _in_surroundings(plan: Plan, environ: MutableMapping[str, str]) -> Plan:
    """The plan with what systemd has for this process; the variables that are for nobody else are taken away."""
    pid = os.getpid()
    return replace(plan, passed=taken_from(environ, pid), notifier=Notifier.of(environ, pid))


def _print_config(plan: Plan) -> None:
    groups = {type(one): one for one in (getattr(plan.settings, each.name) for each in fields(plan.settings))}
    own = {Launch: plan.launch, Processes: plan.processes}
    ordered = [own[group] if group in own else groups[group] for group in PANELS]
    for line in config_lines(ordered, OPTIONS, plan.values):
        typer.echo(logs.printable(line))
    raise typer.Exit


async def _check(plan: Plan) -> int:
    """Whether the application can be served, up to where something would be bound or started."""
    check_with(loaded(plan), plan.settings)
    typer.echo(f"Yes: {logs.printable(plan.app)} can be served.")
    return 0
