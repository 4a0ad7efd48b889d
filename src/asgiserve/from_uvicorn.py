"""What people bring along from uvicorn that is no setting here, and what becomes of it.

Three kinds: options that only uvicorn has (`FOREIGN`), names that have another name here (`RENAMED`), and values that
only uvicorn's options take. What asks for nothing that is not done anyway is accepted, with a note where one would
wonder; what would change an effect is refused, with a sentence. Called wherever flat names come in: by cli.py and
sources.py, `serve()` and `run()`. Names of ours, and their values, pass unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from asgiserve import setting_values as values
from asgiserve.declaring import Group, options_of, setting
from asgiserve.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FOREIGN", "RENAMED", "VALUED_FLAGS", "Uvicorn", "accepted", "renamed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Uvicorn(Group):
    """Options of uvicorn that are no settings here. Its default is accepted, and asks for nothing."""

    panel: ClassVar[str] = "From uvicorn"

    http2: bool = setting(False, values.flag, "HTTP/2. Not there yet: refused.")
    h11_max_incomplete_event_size: int | None = setting(
        None, values.optional_count, "Is --limit-request-head here, and sets it."
    )
    reset_contextvars: bool = setting(
        False, values.flag, "Accepted: every request has a context of its own anyway, made from the lifespan's."
    )


FOREIGN: Final = options_of([Uvicorn])
"""uvicorn's options that are no settings here, by their flat names."""

RENAMED: Final[Mapping[str, str]] = {
    "h11_max_incomplete_event_size": "limit_request_head",
    # uvicorn's keywords and variables; its options are --header and so on, as ours
    "headers": "header",
    "reload_dirs": "reload_dir",
    "reload_includes": "reload_include",
    "reload_excludes": "reload_exclude",
}
"""uvicorn's names for what has another name here."""

VALUED_FLAGS: Final = frozenset({"ws_per_message_deflate"})
"""Flags of ours that take true or false as their next word in uvicorn."""

_REFUSALS: Final[Mapping[str, str]] = {
    "callback_notify": "is not there; a task of the application's lifespan can do the same",
    "env_file": "is for the command line; in a program, set the variables before",
    "http2": "HTTP/2 is not there yet; leave it out, or let a proxy in front speak it",
    "ssl_context_factory": "is ssl_context here, which takes the context itself",
}

_NONE_IS_DEFAULT: Final = frozenset(
    {*FOREIGN, *RENAMED, *_REFUSALS, "app_dir", "forwarded_allow_ips", "log_level", "workers"}
)
"""Keywords for which None is uvicorn's way to say that nothing was given."""

_ASK_NOTHING: Final = frozenset({"timeout_notify"})
"""Keywords that do nothing without another one, which is refused."""

_ENGINES: Final[Mapping[str, Mapping[str, str]]] = {
    "http": dict.fromkeys(("httptools", "zttp"), "asgiserve's own reader and h11 serve instead, as for auto"),
    "ws": dict.fromkeys(
        ("websockets", "websockets-sansio", "wsproto"), "asgiserve's own reader and wsproto serve instead, as for auto"
    ),
    "loop": {
        "zuvloop": "auto serves instead: uvloop where it is installed, or else asyncio's own loop",
        "none": "asyncio's own loop serves instead, as for asyncio",
    },
}
"""Values that name an engine, not an effect."""


def renamed(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """The same with our names. Raises ConfigError if something is there under both."""
    for theirs, ours in RENAMED.items():
        if keywords.get(theirs) is not None and ours in keywords:
            raise ConfigError(f"{theirs}: is {ours} here, which is given too; leave one of them out")
    given = {name: one for name, one in keywords.items() if one is not None or name not in _NONE_IS_DEFAULT}
    return {RENAMED.get(name, name): one for name, one in given.items()}


def accepted(keywords: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What is left for our settings, and notes that begin with the setting's name. Raises ConfigError for the rest."""
    kept: dict[str, Any] = {}
    notes: list[str] = []
    for name, value in renamed(keywords).items():
        if name in _ASK_NOTHING:
            continue
        if name in FOREIGN:
            notes += _foreign(name, value)
        elif name in _REFUSALS:
            raise ConfigError(f"{name}: {_REFUSALS[name]}")
        elif isinstance(value, str) and (served := _ENGINES.get(name, {}).get(value)):
            kept[name] = "asyncio" if value == "none" else "auto"
            notes.append(f"{name}: {value} is a choice of uvicorn's; {served}")
        else:
            _refuse_value(name, value)
            kept[name] = value
    return kept, tuple(notes)


def _foreign(name: str, value: Any) -> list[str]:
    option = FOREIGN[name]
    converted = getattr(Uvicorn(**{name: value}), name)
    if converted == option.default:
        return []
    if name in _REFUSALS:
        raise ConfigError(f"{name}: {_REFUSALS[name]}")
    return [f"{name}: every request has a context of its own anyway; what the lifespan has set is seen in it"]


def _refuse_value(name: str, value: Any) -> None:
    if name == "loop" and isinstance(value, str) and ":" in value:
        raise ConfigError(
            f"loop: expected one of auto, asyncio, uvloop, but got {value!r}, a loop of yours:"
            " start that yourself, and await asgiserve.serve() in it"
        )
