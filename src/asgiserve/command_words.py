"""The words of an ordinary command line: options of settings, each with its value, and the application.

`read` gives what typer would, and what it does not understand it leaves to typer (typer_command.py): the help page,
versions, completion, and whatever is wrong. Two ways in, as for request heads, and a property test that they agree: the
typer of 2026 makes a pydantic validator of each option, which takes 90 ms and 13 MiB of each process, for values that
config/ converts anyway.

Called by cli.py. Nothing here prints, or looks at the environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

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
from asgiserve.from_uvicorn import FOREIGN, VALUED_FLAGS
from asgiserve.sources import WORDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from asgiserve.config import Option

__all__ = ["EXAMPLE", "FILES", "PANELS", "SHOWN", "Misuse", "flag_of", "plain_flags", "read"]

EXAMPLE: Final = "asgiserve myproject.main:app"

PANELS: Final = (Application, Bind, Launch, Processes, Http, Limits, Timeouts, WebSockets, Tls, Proxies, Log)
"""The order of the help page: what everybody needs first."""

SHOWN: Final[Mapping[str, Option]] = {**OPTIONS, **FOREIGN}
"""The options that the command line takes and that are declared as settings are."""

FILES: Final = ("config", "env_file")
"""Options that are no settings: files that have some."""


class Misuse(Exception):
    """The words cannot be done as they are; the text says why, and the program leaves as for a wrong option."""


def flag_of(name: str) -> str:
    return "--" + name.replace("_", "-")


def read(words: Sequence[str]) -> dict[str, Any] | None:
    """The values by flat names, None for what is not there; or None if not all of the words are ordinary."""
    given: dict[str, Any] = dict.fromkeys(("app", *FILES, *SHOWN))
    switches, valued = _flags()
    try:
        rest = iter(plain_flags(words))
    except Misuse:
        return None
    for word in rest:
        flag, sign, value = word.partition("=")
        if flag in valued:
            name = valued[flag]
            # A value like an option is more likely a value that is missing; typer takes it for one.
            if not _is_text(value := value if sign else next(rest, "-")):
                return None
            given[name] = [*(given[name] or ()), value] if name in SHOWN and SHOWN[name].repeatable else value
        elif word in switches:
            name, given[name] = switches[word]
        elif given["app"] is None and _is_text(word):
            given["app"] = word
        else:
            return None
    return given


def _flags() -> tuple[dict[str, tuple[str, bool]], dict[str, str]]:
    """What stands for a truth, and what takes a value, with the names that they set."""
    switches: dict[str, tuple[str, bool]] = {}
    valued = {flag_of(name): name for name in FILES}
    for name, option in SHOWN.items():
        if option.form is None:
            switches[option.flag] = (name, True)
            switches[f"--no-{option.flag[2:]}"] = (name, False)
        else:
            valued[option.flag] = name
    return switches, valued


def _is_text(word: str) -> bool:
    """Whether it is no option and, unlike names of files that are not UTF-8, text in typer's eyes."""
    return word.isprintable() and not word.startswith("-")


def plain_flags(words: Iterable[str]) -> list[str]:
    """The same words, with `--flag` or `--no-flag` where uvicorn's flag takes true or false. Raises Misuse."""
    flags = {SHOWN[name].flag for name in VALUED_FLAGS}
    plain: list[str] = []
    rest = iter(words)
    for word in rest:
        flag, sign, value = word.partition("=")
        if flag not in flags:
            plain.append(word)
            continue
        following = value if sign else next(rest, None)
        wanted = None if following is None else WORDS.get(following.strip().lower())
        if wanted is None and (sign or following == ""):
            raise Misuse(f"{flag}: expected true or false, but got {following!r}")
        plain.append(f"--no-{flag[2:]}" if wanted is False else flag)
        if wanted is None and following is not None:
            plain.append(following)
    return plain
