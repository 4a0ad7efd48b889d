"""Settings: one declaration per setting, in frozen groups that are handed to whoever needs them.

A setting is declared once, as a field of its group; the command line's options, the keyword arguments of
`serve()` and `run()`, their checks, their help texts and `docs/reference/settings.md` all follow from that
declaration. No layer is given the whole of `Settings`: a driver gets `Timeouts`, the head check `Limits`.

What does not live here: reading the environment, printing, exiting (cli.py), and what a setting *does*.

A setting's flat name, the one that users type, is its field's name behind its group's prefix
(`Timeouts.keep_alive` is `timeout_keep_alive` and `--timeout-keep-alive`). Where an option exists in uvicorn,
ours has its name and meaning; where a default differs, the field's text says so.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from asgiserve.config.launch import Launch
from asgiserve.config.processes import Processes
from asgiserve.config.proxies import Proxies
from asgiserve.config.serving import Application, Bind, Http, Limits, Timeouts, WebSockets
from asgiserve.config.tls import Tls
from asgiserve.declaring import Option, options_of
from asgiserve.errors import ConfigError
from asgiserve.log_settings import Log

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asgiserve.declaring import Group

__all__ = [
    "LAUNCH_NAMES",
    "OPTIONS",
    "PROCESS_NAMES",
    "Application",
    "Bind",
    "Http",
    "Launch",
    "Limits",
    "Log",
    "Option",
    "Processes",
    "Proxies",
    "Settings",
    "Timeouts",
    "Tls",
    "WebSockets",
    "for_one_server",
    "split",
    "split_launch",
]


_SERVER_GROUPS: Final[Mapping[str, type[Group]]] = {
    "bind": Bind,
    "application": Application,
    "http": Http,
    "limits": Limits,
    "timeouts": Timeouts,
    "websockets": WebSockets,
    "tls": Tls,
    "proxies": Proxies,
    "log": Log,
}


OPTIONS: Final = options_of([*_SERVER_GROUPS.values(), Launch, Processes])
"""Every setting by its flat name."""

LAUNCH_NAMES: Final = frozenset(options_of([Launch]))
"""The settings that `serve()` does not take: the caller has decided them already."""

PROCESS_NAMES: Final = frozenset(options_of([Processes]))
"""The settings that `serve()` does not take either: it is one server in somebody's process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that `serve()` is told, in groups."""

    bind: Bind = field(default_factory=Bind)
    application: Application = field(default_factory=Application)
    http: Http = field(default_factory=Http)
    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)
    websockets: WebSockets = field(default_factory=WebSockets)
    tls: Tls = field(default_factory=Tls)
    proxies: Proxies = field(default_factory=Proxies)
    log: Log = field(default_factory=Log)

    @classmethod
    def of(cls, keywords: Mapping[str, Any]) -> Self:
        """Settings from flat names. Raises ConfigError for an unknown name or a value that makes no sense."""
        chosen: dict[type[Group], dict[str, Any]] = {}
        for name, value in keywords.items():
            option = OPTIONS.get(name)
            if option is None:
                raise ConfigError(_unknown(name))
            if option.group is Launch:
                raise ConfigError(
                    f"{name}: is for run() and the command line; who awaits serve() has decided it already"
                )
            if option.group is Processes:
                raise ConfigError(f"{name}: is for run() and the command line; serve() is one server in your process")
            chosen.setdefault(option.group, {})[option.attribute] = value
        groups: dict[str, Any] = {name: group(**chosen.get(group, {})) for name, group in _SERVER_GROUPS.items()}
        return cls(**groups)


def split_launch(keywords: Mapping[str, Any]) -> tuple[Launch, Mapping[str, Any]]:
    """Divide flat names into what starts the loop and what `Settings.of` takes."""
    launch = {name: value for name, value in keywords.items() if name in LAUNCH_NAMES}
    rest = {name: value for name, value in keywords.items() if name not in LAUNCH_NAMES}
    return Launch(**launch), rest


def split(keywords: Mapping[str, Any]) -> tuple[Launch, Processes, Mapping[str, Any]]:
    """The same, with what is for the supervisor of several processes."""
    launch, rest = split_launch(keywords)
    processes = {name: value for name, value in rest.items() if name in PROCESS_NAMES}
    return launch, Processes(**processes), {name: value for name, value in rest.items() if name not in processes}


def for_one_server(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """The same keywords without those that ask for no more than the one process that there is."""
    return {
        name: value
        for name, value in keywords.items()
        if name not in PROCESS_NAMES or getattr(Processes(**{name: value}), name) != OPTIONS[name].default
    }


def _unknown(name: str) -> str:
    nearest = difflib.get_close_matches(name, OPTIONS, n=1)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return f"{name}: there is no such setting{hint}"
