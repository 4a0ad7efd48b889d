"""Compare source trees of asgiserve, or a few servers, while working on them: `python tests/bench/compare.py --help`.

`suite.py` measures everything in an environment of its own; this one takes the interpreters that it is given, and
prints. How to read it is in docs/how-to/benchmark.md.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from measuring import measured
from process import cores
from report.tables import table
from scenarios import SCENARIOS
from servers import OUR_SOURCE, present, servers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from servers import Server


def main() -> None:
    options = _parser().parse_args()
    if not Path("/proc/self/stat").exists():
        sys.exit("CPU time is read from Linux's /proc, and there is none here.")
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed; Debian's package is called wrk too.")
    sources = options.source or [OUR_SOURCE]
    known = servers(options.python, options.peers_python, [one.resolve() for one in sources])
    chosen, versions, left_out = present(_named(options.servers, known))
    pinning = "server and load on a core each" if cores()[0] is not None else "nothing is pinned to a core"
    print(f"{platform.system()} {platform.release()}, {platform.machine()}; {pinning}.\n")
    print(f"- {', '.join(f'{name} {version}' for name, version in versions.items())}")
    for title, reason in left_out.items():
        print(f"- {title}: left out, {reason}")
    for name in options.scenarios:
        scenario = SCENARIOS[name]
        print(f"\n### {scenario.title}\n", flush=True)
        fitting = [one for one in chosen if one.fits(scenario)]
        found = measured(name, scenario, fitting, rounds=options.rounds, seconds=options.seconds)
        print(table(found), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Compare the CPU time that ASGI servers take for a request.")
    parser.add_argument("--rounds", type=int, default=5, help="how often every server is run [5]")
    parser.add_argument("--seconds", type=float, default=4, help="how long each is loaded [4]")
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


if __name__ == "__main__":
    main()
