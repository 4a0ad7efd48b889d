"""The command line as typer has it: all options with their help page, completion for shells, versions, usage errors.

Every option is made from its declaration; none has a name, a default or a help text of its own here. The only file that
knows typer. Called by cli.py, for what `command_words.read` leaves to it.
"""

from __future__ import annotations

import inspect
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperCommand

from asgiserve import __version__
from asgiserve.command_words import EXAMPLE, FILES, PANELS, SHOWN, Misuse, flag_of, plain_flags
from asgiserve.from_uvicorn import Uvicorn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from asgiserve.config import Option

__all__ = ["run"]


def run(start: Callable[..., int], words: Sequence[str] | None) -> NoReturn:
    """Leave with what `start` returns for the values of these words, or with what typer makes of them.

    None stands for the process's own words.
    """

    def command(ctx: typer.Context, **given: Any) -> None:
        del given["version"]  # who asked for it has been answered
        try:
            code = start(**given)
        except Misuse as error:
            ctx.fail(str(error))
        raise typer.Exit(code)

    _program(command)(words, prog_name="asgiserve")
    raise AssertionError("typer leaves by itself")


def _program(command: Any) -> typer.Typer:
    """typer reads the options from the function's signature, which is made of the declarations."""
    command.__signature__ = inspect.Signature(list(_parameters()))
    command.__annotations__ = {}
    program = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    program.command(
        cls=_Command,
        help="Serve an ASGI application on asyncio or trio.",
        epilog=f"Example: {EXAMPLE}",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    )(command)
    return program


def _parameters() -> Iterator[inspect.Parameter]:
    app = typer.Argument(metavar="APP", show_default=False)
    shown_version = typer.Option("--version", is_eager=True, callback=_print_versions, show_default=False)
    yield _parameter("ctx", typer.Context, inspect.Parameter.empty)
    yield _parameter("app", Annotated[str | None, app], None)
    yield _parameter("version", Annotated[bool, shown_version], False)
    for name in ("print_config", "check"):
        yield _parameter(name, Annotated[bool, typer.Option(flag_of(name))], False)
    for name in FILES:
        yield _parameter(name, Annotated[str | None, typer.Option(flag_of(name))], None)
    for option in SHOWN.values():
        info = typer.Option(_declaration(option), autocompletion=_completion(option))
        yield _parameter(option.name, Annotated[_value_type(option), info], None)


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
        try:
            args = plain_flags(args)
        except Misuse as error:
            if not ctx.resilient_parsing:  # a shell asks what may follow
                ctx.fail(str(error))
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        for group in (*PANELS, Uvicorn):
            with formatter.section(group.panel):
                formatter.write_dl([_help_record(each) for each in SHOWN.values() if each.group is group])
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
