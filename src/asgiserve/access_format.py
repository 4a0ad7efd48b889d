"""What `--access-log-format` and `--access-log-exclude` say: a line with named fields, and paths without one.

A format is read once, when its setting is checked, into a template of Python's `%` with named fields; a name that
there is not is refused there. What lives here are names and texts: where a field's value comes from is told in
`connection/access.py`, and who writes the line in `logs.py`. Called by config/ and by the server when it starts.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from fnmatch import translate
from string import Formatter
from typing import TYPE_CHECKING, Final

from asgiserve.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["AccessFormat", "excluding", "read_format"]

_CONVERSIONS: Final[Mapping[str, str]] = {
    "client": "s",
    "method": "s",
    "target": "s",
    "path": "s",
    "query": "s",
    "http_version": "s",
    "scheme": "s",
    "status": "d",
    "phrase": "s",
    "bytes": "d",
    "duration": ".1f",
    "time": "s",
    "request_id": "s",
}
"""The fields that are no headers, and how each is shown."""

_HEADER: Final = re.compile(r"(request|response)\[([!#$%&'*+.^_`|~0-9A-Za-z-]+)\]")
_GLOB: Final = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class AccessFormat:
    """A format, ready to be filled in."""

    template: str
    """For Python's `%` with a mapping of the names."""
    names: frozenset[str]
    """The fields in it that are no headers."""
    request: tuple[tuple[str, bytes], ...]
    response: tuple[tuple[str, bytes], ...]
    """The headers in it: the whole name in the format, and the header's own in lower case."""


def read_format(text: str) -> AccessFormat:
    """The format that `text` describes. Raises ConfigError, whose text begins with the setting's name."""
    template: list[str] = []
    names: set[str] = set()
    headers: dict[str, dict[str, bytes]] = {"request": {}, "response": {}}
    for literal, name, spec, conversion in _parts(text):
        template.append(literal.replace("%", "%%"))
        if name is None:
            continue
        if spec or conversion:
            raise ConfigError(f"access_log_format: {{{name}}} takes no form of its own behind its name")
        found = _HEADER.fullmatch(name)
        if found is not None:
            headers[found[1]][name] = found[2].lower().encode("ascii")
        elif name not in _CONVERSIONS:
            raise ConfigError(f"access_log_format: {_unknown(name)}")
        else:
            names.add(name)
        # Python's `%` ends a name at the parenthesis that closes it, and a header's name has none.
        template.append(f"%({name}){_CONVERSIONS.get(name, 's')}")
    request, response = (tuple(headers[side].items()) for side in ("request", "response"))
    return AccessFormat("".join(template), frozenset(names), request, response)


def _parts(text: str) -> list[tuple[str, str | None, str | None, str | None]]:
    if not text.replace("\t", "").isprintable():
        raise ConfigError("access_log_format: a line has no control characters")
    try:
        return list(Formatter().parse(text))
    except ValueError as error:
        raise ConfigError(f"access_log_format: {error}; a brace of the text is written twice") from None


def _unknown(name: str) -> str:
    nearest = difflib.get_close_matches(name, [*_CONVERSIONS, f"request[{name}]"], n=1)
    hint = f"did you mean {{{nearest[0]}}}?" if nearest else "a header is {request[NAME]} or {response[NAME]}"
    return f"there is no field {{{name}}}; {hint}"


def excluding(patterns: Iterable[str]) -> Callable[[str], bool] | None:
    """Whether a path, as it was received, is one of these, with `*`, `?` and `[…]` as in file names; None for none.

    Percent-encoded bytes are not decoded: whoever writes a path in an unusual way is told in the log.
    """
    several = tuple(patterns)
    exact = frozenset(one for one in several if _GLOB.search(one) is None)
    globs = [translate(one) for one in several if one not in exact]
    if not several:
        return None
    if not globs:
        return exact.__contains__
    matches = re.compile("|".join(globs)).match
    return lambda path: path in exact or matches(path) is not None
