"""Compare asgiserve with the ASGI servers that are installed: `python tests/bench/compare.py --help`.

In every round each server is started, checked, loaded and ended, one after the other; so whatever else
the machine does falls on all of them alike. It prints Markdown and judges nothing. How to read it is in
docs/how-to/benchmark.md.

What lives here: the command line and the rounds. Beside it: `scenarios` and `apps` (what is asked), `servers`
and `process` (who is asked), `load` and `websocket_load` (who asks), `table` (what is printed).
"""

from __future__ import annotations

import argparse
import platform
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from load import LoadError, loading
from process import ServerError, cores, running
from scenarios import SCENARIOS, WebSocketScenario
from servers import OUR_SOURCE, servers, versions
from table import Failure, Sample, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from scenarios import AnyScenario
    from servers import Server

_WARM_UP_SECONDS = 1.0
"""wrk's shortest run; enough for the interpreter to specialise its byte code and for caches to fill."""


def main() -> None:
    options = _parser().parse_args()
    if not Path("/proc/self/stat").exists():
        sys.exit("CPU time is read from Linux's /proc, and there is none here.")
    http = [name for name in options.scenarios if not isinstance(SCENARIOS[name], WebSocketScenario)]
    if http and shutil.which("wrk") is None:
        sys.exit("wrk is not installed; Debian's package is called wrk too.")
    sources = options.source or [OUR_SOURCE]
    known = servers(options.python, options.peers_python, [one.resolve() for one in sources])
    chosen = list(_present(_named(options.servers, known)))
    for name in options.scenarios:
        scenario = SCENARIOS[name]
        print(f"\n### {scenario.title}\n", flush=True)
        traffic = "websocket" if isinstance(scenario, WebSocketScenario) else "http"
        fitting = [one for one in chosen if one.traffic in (traffic, "both")]
        results = _rounds(fitting, scenario, rounds=options.rounds, seconds=options.seconds)
        print(table(fitting, results, "message" if traffic == "websocket" else "request"), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Compare the CPU time that ASGI servers take for a request.")
    parser.add_argument("--rounds", type=int, default=5, help="how often every server is run [5]")
    parser.add_argument("--seconds", type=int, default=4, help="how long each is loaded, whole seconds [4]")
    parser.add_argument(
        "--scenarios",
        nargs="+",
        choices=SCENARIOS,
        default=list(SCENARIOS),
        metavar="NAME",
        help=_all(SCENARIOS),
    )
    known = servers("", "", ())
    parser.add_argument("--servers", nargs="+", default=[], metavar="NAME", help=_all(one.name for one in known))
    parser.add_argument("--python", default=sys.executable, metavar="PATH", help="interpreter for asgiserve [this one]")
    parser.add_argument(
        "--peers-python", default=sys.executable, metavar="PATH", help="interpreter for the others [this one]"
    )
    parser.add_argument(
        "--source",
        type=Path,
        action="append",
        metavar="PATH",
        help="source folder of asgiserve [this repository's src]; repeat it to compare two trees",
    )
    return parser


def _all(names: Iterable[str]) -> str:
    return f"of: {', '.join(names)} [all]"


def _named(names: Sequence[str], known: Sequence[Server]) -> list[Server]:
    unknown = set(names) - {one.name for one in known}
    if unknown:
        sys.exit(f"No such server: {', '.join(sorted(unknown))}. Known: {', '.join(one.name for one in known)}.")
    return [one for one in known if not names or one.name in names]


def _present(chosen: Sequence[Server]) -> Iterable[Server]:
    """Those that can be run. Prints what runs, on what, and what is left out."""
    machine = f"{platform.system()} {platform.release()}, {platform.machine()}"
    pinning = "server and load on a core each" if cores()[0] is not None else "nothing is pinned to a core"
    print(f"{machine}; {pinning}.\n")
    for python in dict.fromkeys(one.python for one in chosen):
        needed = {name for one in chosen if one.python == python for name in one.needs}
        found = versions(python, needed)
        print(f"- {python}: {', '.join(f'{name} {version}' for name, version in found.items())}")
        for one in chosen:
            if one.python == python and (missing := set(one.needs) - set(found)):
                print(f"- {one.title}: left out, {', '.join(sorted(missing))} is not installed")
            elif one.python == python:
                yield one


def _rounds(
    chosen: Sequence[Server], scenario: AnyScenario, *, rounds: int, seconds: int
) -> list[Mapping[str, Sample | Failure]]:
    results: list[Mapping[str, Sample | Failure]] = []
    for number in range(rounds):
        # Each round begins with another server: nobody is always the one behind the same neighbour.
        first = number % max(1, len(chosen))
        in_turn = [*chosen[first:], *chosen[:first]]
        results.append({one.name: _sample(one, scenario, seconds) for one in in_turn})
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return results


def _sample(server: Server, scenario: AnyScenario, seconds: int) -> Sample | Failure:
    server_core, load_core = cores()
    try:
        with running(server, scenario, server_core) as process, loading(scenario, process.port, load_core) as load:
            load(_WARM_UP_SECONDS)
            before = process.cpu()
            result = load(seconds)
            after = process.cpu()
            rss = process.rss_bytes()
    except (ServerError, LoadError) as error:
        return Failure(str(error))
    if not result.requests:
        return Failure(f"no request was answered {result.errors or ''}")
    return Sample(
        user_us=(after.user - before.user) / result.requests * 1e6,
        system_us=(after.system - before.system) / result.requests * 1e6,
        rate=result.requests / result.seconds,
        p99_ms=result.p99_ms,
        rss_mib=rss / 2**20,
        errors=result.errors,
    )


if __name__ == "__main__":
    main()
