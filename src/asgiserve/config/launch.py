"""What whoever starts the event loop decides: `run()` and the command line, never `serve()`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from asgiserve import setting_values as values
from asgiserve.declaring import Group, setting

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Launch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch(Group):
    """What whoever starts the loop decides: `run()` and the command line, never `serve()`."""

    panel: ClassVar[str] = "Launch"

    backend: str = setting("asyncio", values.choice("asyncio", "trio"), "The event loop's library.")
    loop: str = setting(
        "auto",
        values.choice("auto", "asyncio", "uvloop"),
        "The loop of the asyncio backend; auto takes uvloop if it is installed.",
    )
    app_dir: str = setting("", values.text, "Directory to import the application from. [default: the current one]")
    factory: bool = setting(False, values.flag, "APP names a callable that makes the application.")
    pid_file: str | None = setting(
        None, values.optional_path, "A file for the process's number, locked while it runs. Not on Windows."
    )
    user: str | None = setting(
        None,
        values.name_or_number,
        "The user to go on as once the sockets are bound, before the application is imported. Takes root.",
    )
    group: str | None = setting(None, values.name_or_number, "The group to go on as. [default: the user's]")
    log_level: str = setting(
        "info",
        values.choice("critical", "error", "warning", "info", "debug", "trace"),
        "The least level that is logged; trace logs every ASGI message, without bodies and headers.",
    )
    log_format: str = setting("text", values.choice("text", "json"), "Log lines for people, or one JSON object a line.")
    log_config: str | Mapping[str, Any] | None = setting(
        None, values.logging_config, "A file of Python's logging configuration to log by: .json, .toml, .yaml, .ini."
    )
    use_colors: bool | None = setting(None, values.optional_flag, "Colours in log lines; by default on a terminal.")
