"""The settings of what is logged, by whoever serves. What is done with a line, its level and its form among others, is
decided by whoever owns the process: those settings are in `config.Launch`. Part of config/, which is who is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from asgiserve import setting_values as values
from asgiserve.access_format import read_format
from asgiserve.declaring import Group, setting
from asgiserve.errors import ConfigError

__all__ = ["Log"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Log(Group):
    """What is logged."""

    panel: ClassVar[str] = "Logging"

    access_log: bool = setting(True, values.flag, "Log a line per request.")
    access_log_format: str | None = setting(
        None,
        values.optional_text,
        "What such a line says, with fields in braces, headers among them: {request[referer]}."
        ' [default: {client} - "{method} {target} HTTP/{http_version}" {status} {phrase} {bytes}B {duration}ms]',
    )
    access_log_exclude: tuple[str, ...] = setting(
        (), values.path_patterns, "Paths whose requests have no such line: /health, /static/*. Repeatable."
    )
    request_id_header: str | None = setting(
        None,
        values.field_name,
        "A header with the request's id: taken from the request or made, put into the response and the log.",
    )

    def __post_init__(self) -> None:
        Group.__post_init__(self)
        if self.access_log_format is None:
            return
        names = read_format(self.access_log_format).names
        if "request_id" in names and self.request_id_header is None:
            raise ConfigError("access_log_format: {request_id} needs request_id_header")
