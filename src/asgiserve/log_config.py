"""`log_config`: Python's logging configuration, a file or a dictionary, instead of our own handlers.

JSON, TOML and YAML are dictionaries for `logging.config.dictConfig`, any other file is one for `fileConfig`, as in
uvicorn. Loggers that the file does not name stay enabled unless it says otherwise: else ours would be silenced by
a file that was written without them. Called by cli.py, and by `run()` if it is asked to.
"""

from __future__ import annotations

import configparser
import json
import logging.config
import tomllib
from typing import TYPE_CHECKING, Any, Final

from asgiserve import logs
from asgiserve.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["configure_from"]


def configure_from(source: str | Mapping[str, Any], *, level: str | None) -> tuple[str, ...]:
    """Configure logging from a file or a dictionary; `level`, if there is one, is then set on our two loggers.

    Returns what somebody has to be warned of. Raises ConfigError, whose text begins with "log_config".
    """
    logs.name_trace_level()
    name = source if isinstance(source, str) else "the dictionary"
    try:
        names = _apply_file(source) if isinstance(source, str) else _apply(source)
    except OSError as error:
        raise ConfigError(f"log_config: cannot use {name}: {error}") from None
    except Exception as error:  # dictConfig and fileConfig raise what their parts raise, and those may be anybody's
        raise ConfigError(f"log_config: {name}: {_reason(error)}") from None
    if level is not None:
        for logger in (logs.general, logs.access):
            logger.setLevel(logs.LEVELS[level])
    return _warnings(names)


def _apply_file(path: str) -> set[str]:
    """Returns the names of the loggers that the file is for."""
    read = next((_READERS[end] for end in _READERS if path.endswith(end)), None)
    if read is None:
        sections = configparser.ConfigParser()
        with open(path, encoding="utf-8") as file:
            sections.read_file(file, source=path)
        logging.config.fileConfig(sections, disable_existing_loggers=False)
        return {sections.get(name, "qualname", fallback="") for name in sections if name.startswith("logger_")}
    with open(path, "rb") as file:
        table = read(file)
    if not isinstance(table, dict):
        raise ValueError("expected a dictionary")
    return _apply(table)


def _apply(table: Mapping[str, Any]) -> set[str]:
    logging.config.dictConfig({"disable_existing_loggers": False, **table})
    return {str(name) for name in table.get("loggers") or ()}


def _yaml(file: Any) -> Any:
    try:
        import yaml
    except ImportError:
        raise ConfigError("YAML needs PyYAML: pip install 'asgiserve[yaml]'") from None
    return yaml.safe_load(file)


_READERS: Mapping[str, Callable[[Any], Any]] = {
    ".json": json.load,
    ".toml": tomllib.load,
    ".yaml": _yaml,
    ".yml": _yaml,
}


def _warnings(names: set[str]) -> tuple[str, ...]:
    """A warning is shown also where nobody has said how, as all else is not."""
    if any(name.partition(".")[0] == "asgiserve" for name in names):
        return ()
    ours = "the loggers here are asgiserve.error and asgiserve.access"
    theirs = sorted(name for name in names if name.partition(".")[0] in _SERVERS)
    if theirs:
        return (f"log_config: names {', '.join(theirs)}; {ours}",)
    return () if logs.general.hasHandlers() else (f"log_config: has no handler for what is logged; {ours}",)


_SERVERS: Final = frozenset({"uvicorn", "gunicorn", "hypercorn"})
"""Whose files people bring along."""


def _reason(error: Exception) -> str:
    """What went wrong: dictConfig's own text says only where, and its cause says what."""
    cause = f": {error.__cause__}" if error.__cause__ is not None else ""
    if isinstance(error, KeyError):
        return f"there is no {error}"
    return f"{str(error) or type(error).__name__}{cause}"
