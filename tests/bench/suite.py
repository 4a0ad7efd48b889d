"""The whole benchmark with one command: `python tests/bench/suite.py`.

Makes an environment with the peers, runs every scenario with its servers in alternation, keeps every sample in a JSON
file, prints tables, and writes tables and plots into docs/explanation/performance.md. It asserts nothing about speed;
the exit code is 1 if asgiserve itself did not run or answered wrongly somewhere. docs/how-to/benchmark.md says more.

What lives here: the command line and the order of things. Beside it: `environment` (on what), `scenarios` and the apps
(what is asked), `servers` and `process` (who is asked), `load` and the `_load` scripts (who asks), `measuring` (one
sample), `report` (what becomes of them). `compare.py` is for two source trees.
"""

from __future__ import annotations

import argparse
import datetime
import math
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from environment import NotPrepared, machine, prepared, tree
from measuring import measured
from report.page import write
from report.results import Failure, Results, load, save
from report.tables import environment, overview, table
from scenarios import SCENARIOS
from servers import OUR_SOURCE, present, servers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from report.results import Measured
    from scenarios import AnyScenario
    from servers import Server

_ROOT: Final = Path(__file__).resolve().parent.parent.parent
_PAGE: Final = _ROOT / "docs/explanation/performance.md"
_RESULTS: Final = _ROOT / "docs/explanation/performance/results.json"

_ROUNDS: Final = 5
"""By default, and at least for the page."""
_SAMPLE_SECONDS: Final = 1.3
"""What a sample takes besides the load: the start of the server, the warm-up and the end."""
_OPENING_SECONDS: Final = 0.0005
"""What a connection takes that is opened by clients of ours."""


def main() -> None:
    options = _parser().parse_args()
    if options.results_from is not None:
        _write_page(load(options.results_from), options.page)
        return
    _check_machine()
    if options.results is None and _is_whole(options):
        options.results = _RESULTS
    try:
        python = prepared(options.environment.resolve(), options.python)
        found = machine(python)
    except NotPrepared as error:
        sys.exit(f"There is no environment to measure in: {error}")
    rounds, seconds = (1, 1.0) if options.quick else (options.rounds, options.seconds)
    found["samples"] = f"{rounds} rounds of {seconds:g} s each, one worker unless a row says otherwise"
    known = servers(python, python, [options.source.resolve()])
    runnable, versions, left_out = present([one for one in known if not options.servers or one.name in options.servers])
    results = Results(
        taken=datetime.date.today().isoformat(),
        machine=found,
        versions={"asgiserve": tree(options.source), **versions},
        left_out=left_out,
        scenarios=[],
    )
    print(environment(results), flush=True)
    plan = _plan(options.scenarios, runnable, named=bool(options.servers))
    print(_estimate(plan, rounds, seconds), flush=True)
    for name, chosen in plan.items():
        one = measured(name, SCENARIOS[name], chosen, rounds=rounds, seconds=seconds, checked=options.quick)
        results.scenarios.append(one)
        print(f"\n### {one.title} ({name})\n\n{table(one)}", flush=True)
        if options.results is not None:
            save(results, options.results)
    _finish(results, options)


def _finish(results: Results, options: argparse.Namespace) -> None:
    if summary := overview(results):
        print(f"\n### Overview\n\n{summary}")
    if _is_whole(options):
        _write_page(results, options.page)
    elif options.results is not None:
        print(f"\nNo page is written of a part; to do it all the same: --from {options.results}")
    sys.exit(1 if any(map(_is_broken, results.scenarios)) else 0)


def _is_whole(options: argparse.Namespace) -> bool:
    """Whether the run is fit for the page, and may replace the results before it."""
    chosen = options.quick or options.servers or set(options.scenarios) != set(SCENARIOS)
    return not chosen and options.rounds >= _ROUNDS


def _is_broken(scenario: Measured) -> bool:
    """Whether asgiserve itself did not run, or answered wrongly."""
    return any(
        isinstance(outcome, Failure) or outcome.errors
        for name in scenario.titles
        if name.startswith("asgiserve")
        for outcome in scenario.outcomes(name)
    )


def _write_page(results: Results, page: Path) -> None:
    write(results, page)
    print(f"Written: {page} and the plots in {page.with_suffix('')}")


# --- what is run ----------------------------------------------------------------------------------------


def _check_machine() -> None:
    if not Path("/proc/self/stat").exists():
        sys.exit("CPU time is read from Linux's /proc, and there is none here.")
    for program, package in (("wrk", "wrk"), ("openssl", "openssl")):
        if shutil.which(program) is None:
            sys.exit(f"{program} is not installed; Debian's package is called {package}.")


def _plan(names: Sequence[str], runnable: Sequence[Server], *, named: bool) -> dict[str, list[Server]]:
    """Which servers run which scenario. Whoever names servers gets them wherever they can run."""
    plan: dict[str, list[Server]] = {}
    for name in names:
        scenario = SCENARIOS[name]
        fitting = [one for one in runnable if one.fits(scenario)]
        if scenario.servers and not named:
            fitting = [one for one in fitting if one.name in scenario.servers]
        if fitting:
            plan[name] = fitting
    return plan


def _estimate(plan: Mapping[str, Sequence[Server]], rounds: int, seconds: float) -> str:
    took = sum(len(chosen) * rounds * _seconds(SCENARIOS[name], seconds) for name, chosen in plan.items())
    samples = sum(len(chosen) * rounds for chosen in plan.values())
    return f"\n{len(plan)} scenarios, {samples} samples: about {math.ceil(took / 60)} min."


def _seconds(scenario: AnyScenario, seconds: float) -> float:
    if scenario.load == "start":
        return _SAMPLE_SECONDS - 0.5
    stays = scenario.size if scenario.load == "idle" else scenario.connections
    opening = 0.0 if scenario.load == "wrk" else stays * _OPENING_SECONDS
    return _SAMPLE_SECONDS + seconds + opening


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure what a request costs with each ASGI server.")
    parser.add_argument("--quick", action="store_true", help="one round, one second each, every answer compared")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="how often every server is run [5]")
    parser.add_argument("--seconds", type=float, default=1.25, help="how long each is loaded [1.25]")
    names = ", ".join(SCENARIOS)
    parser.add_argument(
        "--scenarios",
        nargs="+",
        choices=SCENARIOS,
        default=list(SCENARIOS),
        metavar="NAME",
        help=f"of: {names} [all]",
    )
    known = [one.name for one in servers("", "", ())]
    parser.add_argument(
        "--servers",
        nargs="+",
        choices=known,
        default=[],
        metavar="NAME",
        help=f"of: {', '.join(known)} [each scenario's]",
    )
    parser.add_argument(
        "--python", default=sys.executable, metavar="PATH", help="what the environment is made with [this]"
    )
    parser.add_argument("--environment", type=Path, default=_ROOT / ".venv-bench", metavar="PATH", help="[.venv-bench]")
    parser.add_argument("--source", type=Path, default=OUR_SOURCE, metavar="PATH", help="asgiserve's source folder")
    parser.add_argument(
        "--results", type=Path, metavar="FILE", help="where every sample is kept [beside the page, of a whole run]"
    )
    parser.add_argument(
        "--from", dest="results_from", type=Path, metavar="FILE", help="write the page, measure nothing"
    )
    parser.add_argument("--page", type=Path, default=_PAGE, metavar="FILE", help="[docs/explanation/performance.md]")
    return parser


if __name__ == "__main__":
    main()
