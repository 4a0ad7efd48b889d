"""The command line: options become settings, errors become sentences and exit codes.

The only file that reads the environment. Ordinary words are read by command_words.py, all others by typer
(typer_command.py). Which of several sources wins is in sources.py, what only uvicorn's users know in from_uvicorn.py.
What is then run, and which exit code its end is, stands in program.py; what several processes are to each other in
supervise/.
"""

from __future__ import annotations

import os
import sys
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from asgiserve import logs
from asgiserve.command_words import EXAMPLE, PANELS, Misuse, read
from asgiserve.config import OPTIONS, Launch, Processes
from asgiserve.errors import ConfigError, reason
from asgiserve.from_uvicorn import accepted
from asgiserve.process.notify import Notifier
from asgiserve.process.standard_streams import give_up_broken_streams_at_exit, open_closed_streams, tell
from asgiserve.program import configure_logs, exit_code, loaded, planned, serve_here
from asgiserve.server import check_with
from asgiserve.server.activation import taken_from
from asgiserve.server.claims import check_claims
from asgiserve.sources import gathered, with_origin

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence

    from asgiserve.program import Plan
    from asgiserve.sources import Gathered, Values

__all__ = ["main"]


def main() -> NoReturn:
    """The console script. Never returns: it leaves with the exit code."""
    open_closed_streams()
    give_up_broken_streams_at_exit()
    given = None if _is_for_typer(os.environ) else read(sys.argv[1:])
    if given is None:
        _run_typer(_start)
    try:
        code = _start(**given)
    except Misuse as error:
        _run_typer(partial(_fail, error), ())
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _is_for_typer(environ: Mapping[str, str]) -> bool:
    """Whether a shell asks for completions; on Windows typer also expands patterns, as its shells do not."""
    return "_ASGISERVE_COMPLETE" in environ or sys.platform == "win32"


def _run_typer(start: Callable[..., int], words: Sequence[str] | None = None) -> NoReturn:
    # Imported for these words only: see command_words.py.
    from asgiserve.typer_command import run

    run(start, words)


def _fail(error: Misuse, **_: Any) -> NoReturn:
    raise error


def _start(*, print_config: bool = False, check: bool = False, **given: Any) -> int:
    """Do what the values say; returns the exit code. Raises Misuse."""
    values: Values = {}
    try:
        found = gathered(given, os.environ, "")
        values.update(found.values)
        for name, text in found.variables.items():
            os.environ.setdefault(name, text)
        plan = _planned(found)
        if print_config:
            return _print_config(plan, found)
        if not plan.app:
            raise Misuse(f"APP is missing: name the application as MODULE:ATTRIBUTE, for example: {EXAMPLE}")
        configure_logs(plan)
        if not check:
            plan = _in_surroundings(plan, os.environ)
        serve = _supervised(plan) if plan.processes.supervised else serve_here
    except ConfigError as error:
        text = logs.printable(with_origin(str(error), values))
        if not check:
            raise Misuse(text) from None
        tell(f"No: {text}")
        return 2
    return exit_code(plan, _check, "No") if check else exit_code(plan, serve)


def _supervised(plan: Plan) -> Callable[[Plan], Awaitable[int]]:
    # 10 ms and 1 MiB that a process does without which serves by itself
    from asgiserve.supervise.supervisor import check_supervised, supervise

    check_supervised(plan)
    return supervise


def _planned(found: Gathered) -> Plan:
    values = found.values
    kept, notes = accepted({name: one.value for name, one in values.items() if name not in ("app", "env_file")})
    app = values["app"].value if "app" in values else ""
    return planned(app, kept, values=values, notes=notes, warnings=found.notes)


def _in_surroundings(plan: Plan, environ: MutableMapping[str, str]) -> Plan:
    """The plan with what systemd has for this process; the variables that are for nobody else are taken away."""
    pid = os.getpid()
    return replace(plan, passed=taken_from(environ, pid), notifier=Notifier.of(environ, pid))


def _print_config(plan: Plan, found: Gathered) -> int:
    from asgiserve.print_config import config_lines

    groups = {type(one): one for one in (getattr(plan.settings, each.name) for each in fields(plan.settings))}
    own = {Launch: plan.launch, Processes: plan.processes}
    ordered = [own[group] if group in own else groups[group] for group in PANELS]
    return _show(config_lines(ordered, OPTIONS, found.values, found.beaten))


async def _check(plan: Plan) -> int:
    """Whether the application can be served, up to where something would be bound or started."""
    check_claims(plan.launch, plan.settings.bind)
    check_with(loaded(plan), plan.settings)
    _show([f"Yes: {plan.app} can be served."])  # the exit code says it as well
    return 0


def _show(lines: Iterable[str]) -> int:
    """Write them to stdout; returns the exit code."""
    try:
        for line in lines:
            print(logs.printable(line))
        sys.stdout.flush()
    except BrokenPipeError:
        return 1  # whoever reads has seen enough
    except OSError as error:
        tell(f"Error: cannot write to stdout: {reason(error)}")
        return 1
    return 0
