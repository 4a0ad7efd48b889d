"""Where settings come from: flags, the environment, files; which of them wins, and what each is called.

A flag beats the environment, the environment beats a variable of `--env-file`, and that beats the configuration file.
Names are checked here, with the nearest one as a suggestion; values only as far as the source's own form goes, since
config/ converts and checks them for all ways in alike.

Called by cli.py, which hands in the environment and keeps what comes out. Nothing here prints or logs, nothing looks
at the environment by itself; read are the files that are named, and the `pyproject.toml` of the directory given.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from asgiserve.config import OPTIONS
from asgiserve.errors import ConfigError, quoted
from asgiserve.from_uvicorn import FOREIGN, RENAMED, renamed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

__all__ = ["PREFIX", "WORDS", "Gathered", "Given", "Values", "gathered", "with_origin"]

PREFIX: Final = "ASGISERVE_"

PLAIN_VARIABLES: Final[Mapping[str, str]] = {
    "WEB_CONCURRENCY": "workers",
    "FORWARDED_ALLOW_IPS": "forwarded_allow_ips",
}
"""Variables that platforms and uvicorn know, and the setting of each. Below the one with our prefix."""

_EMPTY_SAYS: Final = frozenset({"forwarded_allow_ips"})
"""Settings of which an empty variable is a value: who names no proxy trusts none, and must not get the default."""

NAMES: Final = frozenset({*OPTIONS, *FOREIGN, *RENAMED, "app", "env_file"})
"""What a configuration file may set; a variable also names the file."""

WORDS: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("true", "t", "1", "yes", "y", "on"), True),
    **dict.fromkeys(("false", "f", "0", "no", "n", "off"), False),
}

_SERVICE_LINK: Final = re.compile(r"(\w+_)?(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
"""What Kubernetes sets in each container for a service named asgiserve, or asgiserve-something, behind the prefix.
Nobody has chosen these, and a server must not fail to start because of a name elsewhere."""

_PYPROJECT: Final = "pyproject.toml"


@dataclass(frozen=True, slots=True)
class Given:
    """A value as somebody gave it."""

    value: Any
    origin: str
    """How errors and `--print-config` call the place: `--port`, `ASGISERVE_PORT`, `asgiserve.toml: port`."""


Values: TypeAlias = "dict[str, Given]"


@dataclass(frozen=True, slots=True)
class Gathered:
    """All that was given, the strongest value of each name."""

    values: Values
    variables: Mapping[str, str]
    """What `--env-file` has for the environment of the application; what is set there already stays."""
    notes: tuple[str, ...]
    """What somebody may wonder about, a line each."""
    beaten: tuple[str, ...] = ()
    """Settings that `--env-file` has, and that something stronger gave."""


def gathered(flags: Mapping[str, Any], environ: Mapping[str, str], directory: str) -> Gathered:
    """Everything from everywhere. Raises ConfigError, whose text begins with the place.

    `flags` has the command line's values by flat names, None for what is not there, and `config`, the file's path;
    `directory` is where a `pyproject.toml` is looked for.
    """
    named = _from_flags(flags)
    variables = _from_environment(environ)
    env_file = named.get("env_file") or variables.get("env_file")
    extra = _variables_of(env_file) if env_file else {}
    weaker = _from_environment(extra, _name_of(env_file))
    variables = _merged(variables, weaker)
    config = _merged(named, variables).get("config")
    for source in (named, variables):
        source.pop("config", None)
    table = _from_table(*_table_of(config, directory))
    if env_file is None and (env_file := table.get("env_file")) is not None:
        extra = _variables_of(env_file)
        weaker = _from_environment(extra, _name_of(env_file))
        variables = _merged(variables, weaker)
        # The file that names this one was chosen without it.
        variables.pop("config", None)
    values = _merged(named, variables, table)
    beaten = tuple(name for name, given in weaker.items() if name in values and values[name] is not given)
    notes = _notes_on_renamed(values)
    return Gathered(values, extra, (*notes, *_notes_on_uvicorns(environ)), beaten)


def with_origin(text: str, values: Values) -> str:
    """`text`, which begins with a setting's name, with the name of the place where it was given instead."""
    name, colon, rest = text.partition(":")
    if not colon or (name not in values and name not in OPTIONS):
        return text
    return f"{values[name].origin if name in values else OPTIONS[name].flag}:{rest}"


# --- each source ------------------------------------------------------------------------------


def _from_flags(flags: Mapping[str, Any]) -> Values:
    values = {
        name: Given(value, "APP" if name == "app" else _flag(name, value))
        for name, value in flags.items()
        if value is not None and value != []
    }
    return _with_our_names(values)


def _flag(name: str, value: Any) -> str:
    return f"--{'no-' if value is False else ''}{name.replace('_', '-')}"


def _from_environment(variables: Mapping[str, str], file: str = "") -> Values:
    """`file` is where the variables are written, if that is not the environment. An empty value is none, mostly."""
    where = f"{file}: " if file else ""
    values: Values = {}
    for variable, name in PLAIN_VARIABLES.items():
        if name in NAMES and (variables.get(variable) or (name in _EMPTY_SAYS and variable in variables)):
            values[name] = Given(variables[variable], where + variable)
    for variable, text in variables.items():
        name = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX) or not (text or name in _EMPTY_SAYS) or _is_service_link(variable, text):
            continue
        if name not in NAMES | {"config"} or variable != PREFIX + name.upper():
            raise ConfigError(f"{where}{variable}: {_unknown(name, PREFIX, str.upper)}")
        values[name] = Given(_of_text(name, text, where + variable), where + variable)
    return _with_our_names(values)


def _of_text(name: str, text: str, origin: str) -> Any:
    """A variable's text as the kind of value that the setting takes: a flag's word, or a text a line."""
    ours = RENAMED.get(name, name)
    option = OPTIONS.get(ours) or FOREIGN.get(ours)
    if option is None or (option.form is not None and not option.repeatable):
        return text
    if option.repeatable:
        return [line.strip() for line in text.splitlines() if line.strip()]
    if text.strip().lower() not in WORDS:
        raise ConfigError(f"{origin}: expected true or false, but got {text!r}")
    return WORDS[text.strip().lower()]


def _is_service_link(variable: str, text: str) -> bool:
    if variable.endswith("_PORT") and re.match(r"(tcp|udp|sctp)://", text):
        return True
    return _SERVICE_LINK.fullmatch(variable.removeprefix(PREFIX)) is not None


def _from_table(table: Mapping[str, Any], file: str) -> Values:
    values: Values = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in NAMES:
            raise ConfigError(f"{file}: {key}: {_unknown(name)}")
        if name in values:
            raise ConfigError(f"{file}: {key}: is there twice, with hyphens and with underscores")
        if name in {"app", "env_file"} and not (isinstance(value, str) and "\0" not in value):
            raise ConfigError(f"{file}: {key}: expected a text, but got {quoted(value)}")
        values[name] = Given(value, f"{file}: {key}")
    return _with_our_names(values)


def _unknown(name: str, prefix: str = "", case: Any = str) -> str:
    nearest = difflib.get_close_matches(name, sorted(NAMES), n=1)
    return "there is no such setting" + (f"; did you mean {prefix}{case(nearest[0])}?" if nearest else "")


def _with_our_names(values: Values) -> Values:
    try:
        return renamed(values)
    except ConfigError as error:
        raise ConfigError(with_origin(str(error), values)) from None


def _merged(*sources: Values) -> Values:
    """The first that has a name wins."""
    return {name: given for source in reversed(sources) for name, given in source.items()}


# --- files ------------------------------------------------------------------------------------


def _name_of(given: Given | None) -> str:
    return os.path.basename(given.value) if given else ""


def _table_of(config: Given | None, directory: str) -> tuple[Mapping[str, Any], str]:
    """The settings of the configuration file, and what to call it; none without one."""
    path = str(config.value) if config else os.path.join(directory, _PYPROJECT)
    if config is None and not os.path.isfile(path):
        return {}, _PYPROJECT
    import tomllib

    name = os.path.basename(path)
    try:
        with open(path, "rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{config.origin if config else name}: cannot read {path}: {error.strerror}") from None
    except ValueError as error:  # also what is no UTF-8
        raise ConfigError(f"{name}: is not TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{name}: is nested too deeply to be read") from None
    if name != _PYPROJECT:
        return table, name
    tools = table.get("tool")
    ours = tools.get("asgiserve") if isinstance(tools, dict) else None
    if config is not None and not isinstance(ours, dict):
        raise ConfigError(f"{config.origin}: {path} has no [tool.asgiserve]")
    return ours if isinstance(ours, dict) else {}, name


def _variables_of(given: Given) -> dict[str, str]:
    """What a file of variables sets. A line without a value sets nothing."""
    try:
        import dotenv
    except ImportError:
        raise ConfigError(f"{given.origin}: needs python-dotenv: pip install 'asgiserve[dotenv]'") from None
    try:
        with open(given.value, encoding="utf-8") as file:
            found = {name: text for name, text in dotenv.dotenv_values(stream=file).items() if text is not None}
    except OSError as error:
        raise ConfigError(f"{given.origin}: cannot read {given.value}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{given.origin}: {given.value} is not UTF-8") from None
    for name, text in found.items():
        if (why := _why_not(name, text)) is not None:
            raise ConfigError(f"{_name_of(given)}: {name}: cannot be set: {why}")
    return found


def _why_not(name: str, text: str) -> str | None:
    """Why the system does not take this variable, if it does not."""
    if not name or "=" in name or "\0" in name + text:
        return 'a variable has a name without "=", and no NUL byte'
    try:
        os.fsencode(name + text)
    except UnicodeEncodeError:
        return "it has characters that the locale has not"
    return None


# --- what to say ------------------------------------------------------------------------------


def _notes_on_renamed(values: Values) -> list[str]:
    notes = []
    for theirs in RENAMED.keys() & FOREIGN.keys():
        ours = RENAMED[theirs]
        given = values.get(ours)
        if given is not None and given.origin.lower().replace("-", "_").endswith(theirs):
            notes.append(f"{given.origin}: is {OPTIONS[ours].flag} here, and sets it")
    return notes


def _notes_on_uvicorns(environ: Mapping[str, str]) -> list[str]:
    """A variable of uvicorn's is not read; who moves over should not find that out by the wrong port."""
    theirs = [each for each in environ if each.startswith("UVICORN_") and each[8:].lower() in NAMES]
    return [f"{each}: is not read; the variable here is {PREFIX}{each[8:]}" for each in sorted(theirs)]
