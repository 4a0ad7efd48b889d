"""What a setting's value may be: one converter per kind of value.

A converter takes what a user gave, a text from the command line or a Python value, and returns what the server works
with; it raises TypeError or ValueError for anything else. Its docstring says what it expects, and is what an error
quotes. Called by config/ for every value of every setting.
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from asgiserve.trusted import Trusted

__all__ = [
    "FORMS",
    "Converter",
    "choice",
    "count",
    "descriptor",
    "field_name",
    "file_mode",
    "finite_seconds",
    "flag",
    "forwarded_fields",
    "header_pairs",
    "host",
    "logging_config",
    "name_or_number",
    "optional_count",
    "optional_flag",
    "optional_path",
    "optional_size",
    "optional_text",
    "path_patterns",
    "port",
    "queue_length",
    "root_path",
    "seconds",
    "secret",
    "sni_certificates",
    "text",
    "texts",
    "whole",
    "worker_count",
]

Converter = Callable[[Any], Any]


def seconds(value: Any) -> float:
    """A duration in seconds, 0 or more, or none for no limit."""
    if value is None or (isinstance(value, str) and value.strip().lower() == "none"):
        return math.inf
    if isinstance(value, bool) or (isinstance(value, int) and not 0 <= value <= sys.float_info.max):
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


def worker_count(value: Any) -> int:
    """A whole number from 1 to 10000."""
    workers = count(value)
    if workers > 10_000:  # a slip of the keyboard must not fill the machine with processes
        raise ValueError
    return workers


def queue_length(value: Any) -> int:
    """A whole number from 1 to 2147483647."""
    length = count(value)
    if length >= 1 << 31:  # listen() takes a C int
        raise ValueError
    return length


def whole(value: Any) -> int:
    """A whole number, 0 or more."""
    if isinstance(value, (bool, float)) or int(value) < 0:
        raise ValueError
    return int(value)


def optional_count(value: Any) -> int | None:
    """A whole number, 1 or more, or none for no limit."""
    if value is None or (isinstance(value, str) and value.strip().lower() == "none"):
        return None
    return count(value)


def finite_seconds(value: Any) -> float:
    """A duration in seconds, from 0 to 1000000000."""
    duration = seconds(value)
    if duration > 1_000_000_000:
        raise ValueError
    return duration


_UNITS: Final[Mapping[str, int]] = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def optional_size(value: Any) -> int | None:
    """A number of bytes, 1 or more, with K, M or G behind it for their multiples by 1024; or none for no limit."""
    if isinstance(value, str) and (found := re.fullmatch(r"\s*([0-9]+)([kmg]?)(i?b)?\s*", value.lower())):
        return count(int(found[1]) * _UNITS[found[2]])
    return optional_count(value)


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


def file_mode(value: Any) -> str | None:
    """A file's permissions in octal, from 000 to 777."""
    if value is None:
        return None
    # A number is one already, as 0o660 of Python and TOML; 660 is too large for one.
    mode = int(value, 8) if isinstance(value, str) else value
    if isinstance(mode, (bool, float)) or not 0 <= mode <= 0o777:
        raise ValueError
    return f"{mode:03o}"


def name_or_number(value: Any) -> str | None:
    """A name, or a number."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value)
    return _without_null(optional_text(value))


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


def optional_path(value: Any) -> str | None:
    """The path of a file."""
    return None if value is None else _without_null(optional_text(os.fspath(value)))


def logging_config(value: Any) -> str | Mapping[str, Any] | None:
    """The path of a file, or a dictionary of Python's logging configuration."""
    return value if isinstance(value, dict) else optional_path(value)


def secret(value: Any) -> str | None:
    """A text that is not empty, and is shown nowhere."""
    return optional_text(value)


def host(value: Any) -> str | None:
    """A host name or an address, of IPv6 also in the brackets that it has in URLs; empty for all interfaces."""
    if value is None:
        return None
    name = text(value)
    in_brackets = re.fullmatch(r"\[([^\[\]]*:[^\[\]]*)\]", name)
    return in_brackets[1] if in_brackets else name


def texts(value: Any) -> tuple[str, ...]:
    """One text or several."""
    if value is None:
        return ()
    several = _several(value)
    for one in several:
        if not isinstance(one, str):
            raise TypeError
    return several


def path_patterns(value: Any) -> tuple[str, ...]:
    """Paths that begin with "/" or "*", in which * stands for anything."""
    several = texts(value)
    if not all(one.startswith(("/", "*")) for one in several):
        raise ValueError
    return several


def field_name(value: Any) -> str | None:
    """The name of a header."""
    if value is not None and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", text(value)) is None:
        raise ValueError
    return None if value is None else text(value).lower()


def root_path(value: Any) -> str:
    """A path that starts with "/" and does not end with one; empty for none."""
    path = text(value).rstrip("/")
    if path and not path.startswith("/"):
        raise ValueError
    return path


def header_pairs(value: Any) -> tuple[tuple[str, str], ...]:
    """Fields of the form "Name: value", or pairs of name and value."""
    pairs: list[tuple[str, str]] = []
    for one in _several(value):
        name, content = one.split(":", 1) if isinstance(one, str) else _several(one)
        if not text(name).strip():
            raise ValueError
        pairs.append((name.strip(), text(content).strip()))
    return tuple(pairs)


def sni_certificates(value: Any) -> tuple[tuple[str, str, str | None], ...]:
    """Certificates of the form "HOST=CERTFILE" or "HOST=CERTFILE,KEYFILE", or tuples of these, each host once."""
    certificates: list[tuple[str, str, str | None]] = []
    for one in _several(value):
        if isinstance(one, str):
            name, _, files = one.partition("=")
            # Not ":", which is a part of Windows' paths.
            certfile, comma, keyfile = files.partition(",")
        else:
            parts = _several(one)
            name, certfile, keyfile = (*parts, None) if len(parts) == 2 else parts
            comma = keyfile
        file, key = optional_path(certfile), optional_path(keyfile) if comma else None
        # TLS speaks of names in their ASCII form, without the root's dot (RFC 6066 3).
        name = text(name).strip().rstrip(".").lower()
        name = name if name.isascii() else name.encode("idna").decode("ascii")
        if not name or file is None or name in [host for host, _, _ in certificates]:
            raise ValueError
        certificates.append((name, file, key))
    return tuple(certificates)


def trusted(value: Any) -> Trusted:
    """Addresses and networks, * for every peer and unix for those of Unix sockets, with commas between them."""
    names = value.names if isinstance(value, Trusted) else _words(value)
    return Trusted.of(names)


FORWARDED_FIELDS: Final = ("for", "proto", "host", "port", "prefix", "forwarded")


def forwarded_fields(value: Any) -> str:
    """Some of for, proto, host, port, prefix, with commas between them; or forwarded, alone or with prefix."""
    chosen = _words(value)
    if not set(chosen) <= set(FORWARDED_FIELDS) or ("forwarded" in chosen and not {*chosen} <= {"forwarded", "prefix"}):
        # Two fields for the same thing: a proxy writes one of them, and its client the other.
        raise ValueError
    return ",".join(chosen)


def _words(value: Any) -> tuple[str, ...]:
    several = value.split(",") if isinstance(value, str) else _several(value)
    return tuple(word for each in several if (word := text(each).strip()))


def _without_null(value: str | None) -> str | None:
    """C, and so the system, would end a name there."""
    if value is not None and "\0" in value:
        raise ValueError
    return value


def _several(value: Any) -> tuple[Any, ...]:
    """One text, or what a list holds. A table is no list of its keys."""
    if isinstance(value, Mapping):
        raise TypeError
    return (value,) if isinstance(value, str) else tuple(value)


def choice(*choices: str, numbers: Mapping[int, str] = MappingProxyType({})) -> Converter:
    """One of these words. `numbers` are the ones that uvicorn takes for some of them."""

    def convert(value: Any) -> str:
        if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()):
            value = None if isinstance(value, bool) else numbers.get(int(value))
        elif isinstance(value, float):
            value = str(value)  # as a configuration file may have a version
        if value not in choices:
            raise ValueError
        return str(value)

    convert.__doc__ = f"One of {', '.join(choices)}."
    convert.choices = choices  # type: ignore[attr-defined]
    return convert


FORMS: Final[Mapping[Converter, str | None]] = {
    seconds: "SECONDS",
    count: "NUMBER",
    worker_count: "NUMBER",
    queue_length: "NUMBER",
    whole: "NUMBER",
    optional_count: "NUMBER",
    optional_size: "BYTES",
    finite_seconds: "SECONDS",
    port: "PORT",
    descriptor: "NUMBER",
    file_mode: "OCTAL",
    name_or_number: "NAME",
    text: "TEXT",
    optional_text: "TEXT",
    optional_path: "PATH",
    logging_config: "PATH",
    path_patterns: "PATH",
    field_name: "NAME",
    secret: "TEXT",
    sni_certificates: "HOST=CERTFILE[,KEYFILE]",
    host: "TEXT",
    texts: "TEXT",
    root_path: "PATH",
    header_pairs: '"NAME: VALUE"',
    trusted: "ADDRESSES",
    forwarded_fields: "FIELDS",
    flag: None,
    optional_flag: None,
}
"""What a value looks like, for the help texts; a choice shows its words instead, a flag has no value."""
