"""What a setting's value may be: one converter per kind of value.

A converter takes what a user gave, a text from the command line or a Python value, and returns what the server works
with; it raises TypeError or ValueError for anything else. Its docstring says what it expects, and is what an error
quotes. Called by config.py for every value of every setting.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "FORMS",
    "Converter",
    "choice",
    "count",
    "descriptor",
    "flag",
    "header_pairs",
    "host",
    "optional_count",
    "optional_flag",
    "optional_text",
    "port",
    "root_path",
    "seconds",
    "text",
    "texts",
]

Converter = Callable[[Any], Any]


def seconds(value: Any) -> float:
    """A duration in seconds, 0 or more, or none for no limit."""
    if value is None or (isinstance(value, str) and value.strip().lower() == "none"):
        return math.inf
    if isinstance(value, bool):
        raise ValueError
    duration = float(value)
    if math.isnan(duration) or duration < 0:
        raise ValueError
    return duration


def count(value: Any) -> int:
    """A whole number, 1 or more."""
    if isinstance(value, (bool, float)) or int(value) < 1:
        raise ValueError
    return int(value)


def optional_count(value: Any) -> int | None:
    """A whole number, 1 or more, or none for no limit."""
    if value is None or (isinstance(value, str) and value.strip().lower() == "none"):
        return None
    return count(value)


def port(value: Any) -> int | None:
    """A port from 0 to 65535 (0: any free one)."""
    if value is None:
        return None
    if isinstance(value, (bool, float)) or not 0 <= int(value) <= 65535:
        raise ValueError
    return int(value)


def descriptor(value: Any) -> int | None:
    """The number of an open file descriptor, 0 or more."""
    if value is None:
        return None
    if isinstance(value, (bool, float)) or int(value) < 0:
        raise ValueError
    return int(value)


def flag(value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise TypeError
    return value


def optional_flag(value: Any) -> bool | None:
    """True, False, or None for automatic."""
    return None if value is None else flag(value)


def text(value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise TypeError
    return value


def optional_text(value: Any) -> str | None:
    """A text that is not empty."""
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise TypeError
    return value


def host(value: Any) -> str | None:
    """A host name or an address; empty for all interfaces."""
    return None if value is None else text(value)


def texts(value: Any) -> tuple[str, ...]:
    """One text or several."""
    if value is None:
        return ()
    several = (value,) if isinstance(value, str) else tuple(value)
    for one in several:
        if not isinstance(one, str):
            raise TypeError
    return several


def root_path(value: Any) -> str:
    """A path that starts with "/" and does not end with one; empty for none."""
    path = text(value).rstrip("/")
    if path and not path.startswith("/"):
        raise ValueError
    return path


def header_pairs(value: Any) -> tuple[tuple[str, str], ...]:
    """Fields of the form "Name: value", or pairs of name and value."""
    pairs: list[tuple[str, str]] = []
    for one in (value,) if isinstance(value, str) else value:
        name, separator, text = one.partition(":") if isinstance(one, str) else (one[0], ":", one[1])
        if not separator or not name.strip() or not isinstance(text, str):
            raise ValueError
        pairs.append((name.strip(), text.strip()))
    return tuple(pairs)


def choice(*choices: str) -> Converter:
    def convert(value: Any) -> str:
        if value not in choices:
            raise ValueError
        return str(value)

    convert.__doc__ = f"One of {', '.join(choices)}."
    convert.choices = choices  # type: ignore[attr-defined]
    return convert


FORMS: Final[Mapping[Converter, str | None]] = {
    seconds: "SECONDS",
    count: "NUMBER",
    optional_count: "NUMBER",
    port: "PORT",
    descriptor: "NUMBER",
    text: "TEXT",
    optional_text: "TEXT",
    host: "TEXT",
    texts: "TEXT",
    root_path: "PATH",
    header_pairs: '"NAME: VALUE"',
    flag: None,
    optional_flag: None,
}
"""What a value looks like, for the help texts; a choice shows its words instead, a flag has no value."""
