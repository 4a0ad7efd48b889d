"""Run Autobahn's WebSocket test suite against asgiserve: `python tests/autobahn/run.py --help`.

Not a part of pytest: the suite's client, `wstest`, needs Python 2.7. CONTRIBUTING.md says how to get it. Prints how
many cases behaved in which way, and each case that is not OK with Autobahn's own words. Exit code 1 if a case failed,
is not implemented, did not close as it should or did not run; cases that are non-strict or informational pass.

What lives here: the server's process, wstest's, and the summary. The application is `echo.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE: Final = Path(__file__).resolve().parent
SOURCE: Final = HERE.parent.parent / "src"

BACKENDS: Final = {
    "asyncio": ("--backend", "asyncio", "--loop", "asyncio"),
    "uvloop": ("--backend", "asyncio", "--loop", "uvloop"),
    "trio": ("--backend", "trio"),
}
COMPRESSION: Final = ("12.*", "13.*")
"""The cases of permessage-deflate."""

GOOD: Final = {"OK", "NON-STRICT", "INFORMATIONAL"}
"""What a case may say of the messages."""
GOOD_CLOSE: Final = {"OK", "INFORMATIONAL"}
"""And of the close handshake."""

PATIENCE: Final = 2 * 3600.0
"""Seconds for all cases: they take about a quarter of an hour, and each has a limit of its own of 100 s or more."""


def main() -> None:
    options = _parser().parse_args()
    excluded = [*options.exclude, *(() if options.deflate else COMPRESSION)]
    bad = False
    with contextlib.ExitStack() as stack:
        folder = options.reports or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in ["url"] if options.url else options.backend:
            running = contextlib.nullcontext(options.url) if options.url else served(name, options.deflate)
            with running as url:
                reports = folder.resolve() / name
                count = run(options.wstest, url, options.cases, excluded, reports)
            results = read(reports)
            print(f"\n{name}, permessage-deflate {'on' if options.deflate else 'off'}: {url}")
            bad |= summarise(results, count)
    sys.exit(int(bad))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Run Autobahn's WebSocket test suite against asgiserve.")
    parser.add_argument(
        "--wstest", default=os.environ.get("WSTEST", "wstest"), metavar="PATH", help="[$WSTEST, or wstest on the PATH]"
    )
    parser.add_argument("--backend", nargs="+", choices=BACKENDS, default=list(BACKENDS), help="[all three]")
    parser.add_argument("--cases", nargs="+", default=["*"], metavar="PATTERN", help="such as 1.* 7.1.1 [all]")
    parser.add_argument("--exclude", nargs="+", default=[], metavar="PATTERN", help="leave these out")
    parser.add_argument(
        "--deflate", action=argparse.BooleanOptionalAction, default=True, help="serve permessage-deflate, test it [yes]"
    )
    parser.add_argument("--reports", type=Path, metavar="FOLDER", help="keep Autobahn's pages, one folder per backend")
    parser.add_argument("--url", metavar="WS_URL", help="test an echo server that runs already instead")
    return parser


@contextlib.contextmanager
def served(backend: str, deflate: bool) -> Iterator[str]:
    """asgiserve with the echo application, on a free port; gives its URL."""
    command = [sys.executable, "-m", "asgiserve", "--app-dir", str(HERE), "--port", "0", *BACKENDS[backend]]
    command += ["--ws-per-message-deflate"] if deflate else []
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "NO_COLOR": "1"}
    process = subprocess.Popen(
        [*command, "--no-access-log", "echo:app"], stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stderr is not None
    try:
        ready = next((line for line in process.stderr if " running on " in line), None)
        if ready is None:
            sys.exit(f"{backend}: the server did not start; try: {' '.join(command)} echo:app")
        threading.Thread(target=_pass_on, args=[process.stderr], daemon=True).start()
        yield ready.partition(" running on ")[2].split()[0].replace("http://", "ws://")
    finally:
        process.terminate()
        process.wait(60)


def _pass_on(lines: IO[str]) -> None:
    """What the server logs. An error in it does not fail a case, but somebody should see it."""
    for line in lines:
        if not line.startswith("INFO:"):
            sys.stderr.write(line)


def run(wstest: str, url: str, cases: Sequence[str], excluded: Sequence[str], reports: Path) -> int:
    """Run the cases; gives how many should have run."""
    reports.mkdir(parents=True, exist_ok=True)
    (reports / "index.json").unlink(missing_ok=True)
    specification = reports / "specification.json"
    servers = [{"agent": "server", "url": url}]
    wanted = {"outdir": str(reports), "servers": servers, "cases": list(cases), "exclude-cases": list(excluded)}
    specification.write_text(json.dumps(wanted))
    command = [wstest, "--mode", "fuzzingclient", "--spec", str(specification)]
    try:
        process = subprocess.Popen(command, cwd=reports, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except OSError as error:
        sys.exit(f"wstest did not start, {error}: CONTRIBUTING.md says how to get it.")
    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()
    try:
        assert process.stdout is not None
        return _follow(process.stdout)
    finally:
        timer.cancel()
        process.kill()
        process.wait()


def _follow(lines: IO[str]) -> int:
    """Read what wstest says until it ends: shows the case that runs, and its complaints."""
    count = 0
    for line in lines:
        words = line.split()
        if line.startswith("Ok, will run "):
            count = int(words[3])
        elif line.startswith("Running test case ID "):
            if sys.stderr.isatty():
                print(f"\r{words[4]:<12}", end="", file=sys.stderr, flush=True)
        elif "Error" in line or "failed" in line:
            print(line, end="", file=sys.stderr)
    return count


@dataclass(frozen=True, slots=True)
class Result:
    """One case."""

    id: str
    behaviour: str
    close: str
    words: str

    @property
    def is_bad(self) -> bool:
        return self.behaviour not in GOOD or self.close not in GOOD_CLOSE


def read(reports: Path) -> list[Result]:
    index = reports / "index.json"
    if not index.exists():
        return []
    (cases,) = json.loads(index.read_text()).values() or ({},)
    return [_result(id, case, reports) for id, case in sorted(cases.items(), key=_in_order)]


def _result(id: str, case: dict[str, str], reports: Path) -> Result:
    details = json.loads((reports / case["reportfile"]).read_text(encoding="utf-8", errors="replace"))
    close = f"closed with {case['remoteCloseCode']}: {details['resultClose']}"
    return Result(id, case["behavior"], case["behaviorClose"], f"{details['result']} {close}")


def _in_order(item: tuple[str, object]) -> list[int]:
    return [int(part) for part in item[0].split(".")]


def summarise(results: Sequence[Result], count: int) -> bool:
    """Print it; gives whether anything is bad."""
    totals = Counter(result.behaviour for result in results)
    closes = Counter(result.close for result in results)
    print(f"  {len(results)} of {count} cases have run")
    print(f"  behaviour: {', '.join(f'{number} {what}' for what, number in totals.most_common())}")
    print(f"  close:     {', '.join(f'{number} {what}' for what, number in closes.most_common())}")
    for result in results:
        if result.is_bad or result.behaviour != "OK" or result.close != "OK":
            print(f"  {result.id:<8} {result.behaviour}, close {result.close}: {result.words}")
    return len(results) != count or not results or any(result.is_bad for result in results)


if __name__ == "__main__":
    main()
