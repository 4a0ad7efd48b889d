"""How a setting is declared: as a field of a frozen group, with its default, its converter and its text.

What lives here: the group that checks its values, and the view of a field that the command line and the reference
page are made of. The declarations themselves are in config/ and, for options that only uvicorn has, in
from_uvicorn.py; print_config.py shows them.
"""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Final

from asgiserve import setting_values as values
from asgiserve.errors import ConfigError, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Group", "Option", "options_of", "setting"]


def setting(default: Any, convert: values.Converter, text: str, *, name: str | None = None) -> Any:
    """`name` is the flat name of a setting that has no prefix although its group has one."""
    metadata = {"convert": convert, "text": text, "name": name}
    return field(default=default, repr=convert is not values.secret, metadata=metadata)


_NONE_IS_NO_LIMIT: Final = (values.optional_count, values.optional_size)


class Group:
    """A frozen dataclass of settings; converts and checks every value as it is made."""

    prefix: ClassVar[str] = ""
    panel: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for one in fields(self):  # type: ignore[arg-type]
            value = getattr(self, one.name)
            convert = one.metadata["convert"]
            try:
                converted = convert(value)
                if isinstance(converted, int):
                    str(converted)  # ValueError for what Python could not tell anybody
            except (TypeError, ValueError, ArithmeticError):  # decimal's and fractions' own are of the third kind
                expected = convert.__doc__.rstrip(".")
                expected = expected[0].lower() + expected[1:]
                shown = quoted(value) if one.repr else "something else"
                name = one.metadata["name"] or self.prefix + one.name
                raise ConfigError(f"{name}: expected {expected}, but got {shown}") from None
            object.__setattr__(self, one.name, converted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One setting as users meet it: the command line, the reference page and the checks are made of these."""

    name: str
    """The flat name: `timeout_keep_alive`."""
    attribute: str
    """The field's name in its group: `keep_alive`."""
    group: type[Group]
    default: Any
    convert: values.Converter
    text: str

    @property
    def choices(self) -> tuple[str, ...] | None:
        return getattr(self.convert, "choices", None)

    @property
    def flag(self) -> str:
        """How the command line calls it: `--timeout-keep-alive`."""
        return "--" + self.name.replace("_", "-")

    @property
    def form(self) -> str | None:
        """What a value looks like in help texts: `SECONDS`, `auto|on|off`; None for a flag: it takes none."""
        return "|".join(self.choices) if self.choices else values.FORMS[self.convert]

    @property
    def repeatable(self) -> bool:
        return isinstance(self.default, tuple)

    @property
    def default_text(self) -> str | None:
        """The default as one would type it; None where there is none, or where `text` tells it in words."""
        if self.form is None:
            return None if self.default is None else "on" if self.default else "off"
        if self.default == math.inf or (self.default is None and self.convert in _NONE_IS_NO_LIMIT):
            return "none"
        if self.default in (None, "", ()):
            return None
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)


def options_of(groups: Iterable[type[Group]]) -> Mapping[str, Option]:
    options: dict[str, Option] = {}
    for group in groups:
        for one in fields(group):  # type: ignore[arg-type]
            assert one.default is not MISSING
            name = one.metadata["name"] or group.prefix + one.name
            options[name] = Option(
                name=name,
                attribute=one.name,
                group=group,
                default=one.default,
                convert=one.metadata["convert"],
                text=one.metadata["text"],
            )
    return options
