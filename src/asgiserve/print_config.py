"""`--print-config`: every setting with its value and the place that it comes from, as TOML.

The text is itself a configuration file that means the same; secrets are left out of it. Called by cli.py, which prints.
"""

from __future__ import annotations

import json
import math
import re
from datetime import date, time
from typing import TYPE_CHECKING, Any, Final

from asgiserve import setting_values
from asgiserve.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from asgiserve.declaring import Group, Option
    from asgiserve.sources import Values

__all__ = ["config_lines"]


def config_lines(
    groups: Iterable[Group], options: Mapping[str, Option], values: Values, beaten: Sequence[str] = ()
) -> Iterator[str]:
    """The file's lines: `groups` hold the values, `options` name them, `values` know where they come from.

    `beaten` are settings of the file of variables that something stronger gave. Then the file cannot be named here: it
    would beat what is shown.
    """
    for name in ("app", "env_file"):
        if name in values:
            line = f"{name} = {_text(values[name].value)}  # {values[name].origin}"
            is_told = name == "env_file" and beaten
            yield f"# {line}; has other values of {', '.join(sorted(beaten))}" if is_told else line
    for group in groups:
        yield ""
        yield f"# {type(group).panel}"
        for option in options.values():
            if option.group is type(group):
                yield _line(option, getattr(group, option.attribute), values)


def _line(option: Option, value: Any, values: Values) -> str:
    origin = values[option.name].origin if option.name in values else "default"
    if option.convert is setting_values.secret and value is not None:
        return f"# {option.name} is set, and not shown  # {origin}"
    if value is None and option.convert not in (setting_values.optional_count, setting_values.optional_size):
        _, told, words = option.text.partition(" [default: ")
        return f"# {option.name} is not set{told.removesuffix(': ') and f' [default: {words}'}  # {origin}"
    as_text = _AS_TEXT.get(option.convert)
    try:
        shown = _toml(value) if as_text is None else _nested([as_text(one) for one in value or ()])
    except RecursionError:
        raise ConfigError(f"{option.name}: is nested too deeply to be shown") from None
    return f"{option.name} = {shown}  # {origin}"


def _certificates(one: tuple[str, str, str | None]) -> str | list[str]:
    host, certfile, keyfile = one
    if "," in certfile or "=" in host:
        return [part for part in one if part is not None]
    return f"{host}={certfile}" if keyfile is None else f"{host}={certfile},{keyfile}"


_AS_TEXT: Final[Mapping[Any, Callable[[Any], str | list[str]]]] = {
    setting_values.header_pairs: ": ".join,
    setting_values.sni_certificates: _certificates,
}
"""How one of several values is written, where it is no text already; as a list where no text means it."""


def _toml(value: Any) -> str:
    if isinstance(value, (bool, dict)):
        return _nested(value)
    if value is None or value == math.inf:
        return '"none"'
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(_text(str(one)) for one in value) + "]"
    return str(value) if isinstance(value, int) else _text(str(value))


def _nested(value: Any) -> str:
    """What a table of the user's holds, `log_config`, or the table itself; on one line."""
    match value:
        case dict():
            return "{" + ", ".join(f"{_key(name)} = {_nested(one)}" for name, one in value.items()) + "}"
        case list():
            return "[" + ", ".join(_nested(one) for one in value) + "]"
        case str():
            return _text(value)
        case bool():
            return "true" if value else "false"
        case date() | time():
            return value.isoformat()
    return repr(value)  # numbers, inf and nan among them


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _text(text: str) -> str:
    # A basic string of TOML is one of JSON. What is not printable would be shown by an escape that TOML does not know.
    return "".join(one if one.isprintable() else _escape(one) for one in json.dumps(text, ensure_ascii=False))


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
