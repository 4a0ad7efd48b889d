"""The reference page of settings, made of their declarations.

`python -m tests.support.settings_page > docs/reference/settings.md` writes it; a test compares.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from asgiserve.config import (
    LAUNCH_NAMES,
    OPTIONS,
    PROCESS_NAMES,
    Application,
    Bind,
    Http,
    Launch,
    Limits,
    Log,
    Processes,
    Proxies,
    Timeouts,
    Tls,
    WebSockets,
)
from asgiserve.from_uvicorn import FOREIGN, Uvicorn
from asgiserve.sources import PREFIX

if TYPE_CHECKING:
    from asgiserve.config import (
        Option,
    )

__all__ = ["page"]

HEAD = """\
# Settings

Every setting has one name: `timeout_keep_alive` is a keyword of `serve()` and `run()` and a key of configuration
files, `--timeout-keep-alive` is the option, and `ASGISERVE_TIMEOUT_KEEP_ALIVE` the variable. A flag without a value has
an opposite, `--no-access-log`. Which of them wins: [Configure it](../how-to/configure.md).

This page is made of the declarations in `src/asgiserve/config/`; do not edit it:
`python -m tests.support.settings_page > docs/reference/settings.md`.
"""


def page() -> str:
    groups = (Application, Bind, Launch, Processes, Http, Limits, Timeouts, WebSockets, Tls, Proxies, Log)
    return "\n".join([HEAD, *map(_section, groups), _section(Uvicorn)])


def _section(group: type) -> str:
    options = [option for option in (*OPTIONS.values(), *FOREIGN.values()) if option.group is group]
    lines = [f"## {options[0].group.panel}", "", inspect.getdoc(group) or "", ""]
    lines += ["| option | variable | default | meaning |", "|---|---|---|---|"]
    lines += [_row(option) for option in options]
    if all(option.name in LAUNCH_NAMES for option in options):
        lines += ["", "`serve()` takes none of these: whoever awaits it has started a loop already."]
    if all(option.name in PROCESS_NAMES for option in options):
        lines += ["", "`serve()` takes none of these: it is one server in somebody's process."]
    return "\n".join([*lines, ""])


def _row(option: Option) -> str:
    form = f" {option.form}" if option.form else ""
    # A default that no single value can name is told in words at the end of the text.
    text, told, words = option.text.partition(" [default: ")
    value = f"`{option.default_text}`" if option.default_text is not None else ""
    default = words.rstrip("]") if told else value
    variable = f"`{PREFIX}{option.name.upper()}`"
    return f"| {_cell(f'`{option.flag}{form}`')} | {variable} | {default} | {_cell(text)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(page(), end="")
