"""Where a server's time goes: `python tests/bench/profile_server.py SCENARIO SERVER`.

Loads one server as compare.py does, first to measure it, then to sample it with py-spy, and prints the
functions by their own time: their share of the samples, in µs of what a request or message costs without py-spy. Only
the process that was started is sampled; of a server that works in a child nothing is seen.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

from load import loading
from process import cores, pinned, running
from scenarios import SCENARIOS
from servers import OUR_SOURCE, servers

_RATE: Final = 250
"""Samples per second: py-spy shares the load's core, and more would starve it."""


def main() -> None:
    options = _parser().parse_args()
    scenario = SCENARIOS[options.scenario]
    source = options.source.resolve()
    known = {one.name: one for one in servers(sys.executable, options.peers_python, [source])}
    if options.server not in known:
        sys.exit(f"No such server: {options.server}. Known: {', '.join(known)}.")
    sampler = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if sampler is None:
        sys.exit("py-spy is not installed.")
    server_core, load_core = cores()
    with (
        running(known[options.server], scenario, server_core) as process,
        loading(scenario, process.port, load_core) as load,
    ):
        load(1)
        before = process.cpu()
        result = load(options.seconds)
        after = process.cpu()
        with tempfile.NamedTemporaryFile() as stacks, pinned(load_core):
            command = [sampler, "record", "--pid", str(process.pid), "--duration", str(options.seconds)]
            command += ["--rate", str(_RATE), "--function", "--format", "raw", "--output", stacks.name]
            sampling = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            load(options.seconds + 1)
            sampling.wait(timeout=30)
            own_samples = _own_samples(stacks.read().decode())
    spent = (sum(after) - sum(before)) / max(1, result.requests) * 1e6
    print(f"{known[options.server].title}: {spent:.1f} µs of CPU per request or message\n")
    for function, count in own_samples.most_common(options.top):
        print(f"{count / own_samples.total() * spent:7.2f}  {function}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Show where a server's CPU time goes.")
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("server", help="as compare.py names it: asgiserve-trio, uvicorn")
    parser.add_argument("--seconds", type=int, default=8, help="how long it is loaded [8]")
    parser.add_argument("--top", type=int, default=40, help="how many functions are shown [40]")
    parser.add_argument("--source", type=Path, default=OUR_SOURCE, metavar="PATH")
    parser.add_argument("--peers-python", default=sys.executable, metavar="PATH")
    return parser


def _own_samples(stacks: str) -> Counter[str]:
    """py-spy's raw format: a line per stack, outermost first, `frame;frame;frame count`."""
    own: Counter[str] = Counter()
    for line in stacks.splitlines():
        frames, _, count = line.rpartition(" ")
        own[frames.rpartition(";")[2]] += int(count)
    return own


if __name__ == "__main__":
    main()
