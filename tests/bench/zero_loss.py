"""Whether a restart loses requests: two workers at full load, and what a client sees of what is done to them.

    python tests/bench/zero_loss.py                       # everything, on asyncio, uvloop and trio: some ten minutes
    python tests/bench/zero_loss.py --loops trio --what sighup --rounds 3

wrk keeps both workers busy, and a client that checks every answer sends beside it: on connections in steady use, and on
some that idle for up to twice the linger. Both honour `Connection: close`. A request that fails on a connection which
had idled for longer than the linger is counted apart: the server may close such a connection at any time (RFC 9112
9.3.1). Everything has a bound; the exit code is 1 if a request was lost that should not have been.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE: Final = Path(__file__).resolve().parent
SOURCE: Final = HERE.parent.parent / "src"

LOOPS: Final = {
    "asyncio": ["--backend", "asyncio", "--loop", "asyncio"],
    "uvloop": ["--backend", "asyncio", "--loop", "uvloop"],
    "trio": ["--backend", "trio"],
}
LINGER_SECONDS: Final = 1.0
"""The server's, by default."""
CONNECTIONS: Final = 48
"""wrk's."""
STEADY: Final = 8
IDLING: Final = 6
"""The checking client's connections: in steady use, and idle between requests."""
PATIENCE: Final = 60.0
"""For one thing that is done to the server."""

APPLICATION: Final = """
import os

PID = str(os.getpid()).encode()


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = PID + b" " + scope["query_string"]
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})
"""


@dataclass
class Counts:
    """What the checking client saw."""

    requests: int = 0
    wrong: int = 0
    """An answer that is not this request's."""
    failed: int = 0
    failed_idle: int = 0
    """On a connection that had idled for longer than the linger."""
    kinds: dict[str, int] = field(default_factory=dict)
    workers: set[str] = field(default_factory=set)


class CheckingClient:
    """Threads that send requests one after the other and look at each answer."""

    def __init__(self, port: int) -> None:
        self.counts = Counts()
        self._port = port
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(idles,)) for idles in _kinds()]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _run(self, idles: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        last = time.monotonic()
        number = 0
        while not self._stop.is_set():
            self._stop.wait(random.uniform(0, 2 * LINGER_SECONDS) if idles else 0.001)
            number += 1
            token = f"{threading.get_ident()}-{number}"
            idle = time.monotonic() - last if connection.sock is not None else 0.0
            try:
                connection.request("GET", f"/?{token}")
                response = connection.getresponse()
                answer = response.read().decode()
            except (OSError, http.client.HTTPException) as error:
                self._failed(error, idle)
                connection.close()
            else:
                self._answered(response.status, answer, token)
            last = time.monotonic()
        connection.close()

    def _answered(self, status: int, answer: str, token: str) -> None:
        pid, _, echoed = answer.partition(" ")
        with self._lock:
            self.counts.requests += 1
            self.counts.workers.add(pid)
            self.counts.wrong += (status, echoed) != (200, token)

    def _failed(self, error: Exception, idle: float) -> None:
        with self._lock:
            self.counts.requests += 1
            if idle > LINGER_SECONDS:
                self.counts.failed_idle += 1
                return
            self.counts.failed += 1
            kind = type(error).__name__
            self.counts.kinds[kind] = self.counts.kinds.get(kind, 0) + 1


def _kinds() -> Iterator[bool]:
    yield from [False] * STEADY
    yield from [True] * IDLING


class Server:
    """The command line in a process, with its log."""

    def __init__(self, directory: str, loop: str, *options: str) -> None:
        self.directory = Path(directory)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.write()
        words = ["--port", str(self.port), "--no-access-log", "--app-dir", directory, *LOOPS[loop], *options]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "asgiserve", *words, "lossless_application:app"],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(SOURCE), "NO_COLOR": "1"},
            text=True,
        )
        self._lines: list[str] = []
        self._news = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def write(self) -> None:
        (self.directory / "lossless_application.py").write_text(f"{APPLICATION}\n# {time.time_ns()}\n")

    def wait_for(self, text: str, count: int) -> None:
        with self._news:
            if not self._news.wait_for(lambda: self._count(text) >= count, PATIENCE):
                raise TimeoutError(f"no {text!r} for the {count}th time in:\n{''.join(self._lines[-40:])}")

    def count(self, text: str) -> int:
        with self._news:
            return self._count(text)

    def ready_pids(self) -> list[int]:
        with self._news:
            return [int(pid) for pid in re.findall(r"Worker \[(\d+)\] is ready", "".join(self._lines))]

    def _count(self, text: str) -> int:
        return sum(text in line for line in self._lines)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self._lines.append(line)
                self._news.notify_all()

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()


# --- what is done to the server ---------------------------------------------------------------


def sighup(server: Server, rounds: int) -> int:
    """A rolling restart, each when the one before has come to its end."""
    for number in range(1, rounds + 1):
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("All workers have been replaced.", number)
    server.wait_for("has ended.", 2 * rounds)
    return rounds


def kill(server: Server, rounds: int) -> int:
    """SIGKILL to a worker that serves. What it was answering is lost, and nothing else may be.

    Three times at most: workers that die young again and again end the server, as they should.
    """
    rounds = min(rounds, 3)
    for number in range(1, rounds + 1):
        pids = server.ready_pids()
        os.kill(pids[-2], signal.SIGKILL)
        server.wait_for("is ready", len(pids) + 1)
        server.wait_for("was ended by SIGKILL", number)
        time.sleep(1)  # load for the new one
    return rounds


def max_requests(server: Server, rounds: int) -> int:
    """Nothing: the server replaces its workers by itself."""
    server.wait_for("takes the place of", 2 * rounds)
    return server.count("takes the place of")


def reload(server: Server, rounds: int) -> int:
    """A file changes. The old worker ends first, and clients wait for the new one."""
    for number in range(1, rounds + 1):
        server.write()
        server.wait_for("is ready", number + 1)
        time.sleep(1)  # load for the new one
    return rounds


WHAT: Final[dict[str, tuple[Callable[[Server, int], int], list[str]]]] = {
    "sighup": (sighup, ["--workers", "2"]),
    "kill": (kill, ["--workers", "2"]),
    "max-requests": (max_requests, ["--workers", "2", "--limit-max-requests", "500"]),
    "reload": (reload, ["--reload", "--reload-delay", "0.1"]),
}

MAY_FAIL: Final = {"kill"}


def _measured(what: str, loop: str, rounds: int) -> tuple[list[str], bool]:
    """One line of the table, and whether nothing was lost that should not have been."""
    act, options = WHAT[what]
    watched = ["--reload-dir", ""] if what == "reload" else []
    with tempfile.TemporaryDirectory() as directory:
        if watched:
            watched[1] = directory
        server = Server(directory, loop, *options, *watched)
        done = 0
        wrk = Wrk(directory, server.port)
        try:
            server.wait_for("is ready", 1 if what == "reload" else 2)
            client = CheckingClient(server.port)
            began = time.monotonic()
            wrk.start()
            try:
                done = act(server, rounds)
            finally:
                seconds = time.monotonic() - began
                wrk.stop()
                client.stop()
        finally:
            code = server.end()
    counts, errors = client.counts, wrk.errors
    lost = counts.failed + counts.wrong + sum(errors.values())
    fine = code == 0 and (lost == 0 or what in MAY_FAIL)
    kinds = " ".join(f"{kind} {number}" for kind, number in {**counts.kinds, **errors}.items())
    row = [loop, what, str(done), f"{seconds:.0f}", str(len(counts.workers)), str(wrk.requests), str(counts.requests)]
    return [*row, str(sum(errors.values())), str(counts.failed + counts.wrong), str(counts.failed_idle), kinds], fine


REPORT: Final = """
function done(summary)
   local errors = summary.errors
   io.write(string.format(
      'RESULT {"requests": %d, "connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d}\\n',
      summary.requests, errors.connect, errors.read, errors.write, errors.timeout, errors.status))
end
"""


class Wrk:
    """wrk in short runs, one after the other, until it is stopped: it reports at the end of each."""

    def __init__(self, directory: str, port: int) -> None:
        self._port = port
        self._script = Path(directory) / "report.lua"
        self._script.write_text(REPORT)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.requests = 0
        self.errors: dict[str, int] = {}

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        # wrk calls an answer that takes 2 s an error; a client that waits for the next worker has lost nothing.
        command = ["wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", "4s", "--timeout", "20s"]
        command += ["-s", str(self._script), f"http://127.0.0.1:{self._port}/?-"]
        while not self._stop.is_set():
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
            found = re.search("RESULT (.*)", done.stdout)
            if found is None:
                self.errors[f"wrk failed: {(done.stderr or done.stdout)[-80:]!r}"] = 1
                return
            report = json.loads(found[1])
            self.requests += report["requests"]
            for kind in ("connect", "read", "write", "timeout", "status"):
                if report[kind]:
                    self.errors[f"wrk {kind}"] = self.errors.get(f"wrk {kind}", 0) + int(report[kind])


HEADER: Final = (
    *("loop", "what", "times", "s", "workers seen", "wrk", "checked"),
    *("wrk lost", "lost", "lost, idle", "how"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loops", nargs="+", choices=LOOPS, default=list(LOOPS))
    parser.add_argument("--what", nargs="+", choices=WHAT, default=list(WHAT))
    parser.add_argument("--rounds", type=int, default=10)
    chosen = parser.parse_args()
    print("| " + " | ".join(HEADER) + " |\n|" + "---|" * len(HEADER), flush=True)
    all_fine = True
    for loop in chosen.loops:
        for what in chosen.what:
            try:
                row, fine = _measured(what, loop, chosen.rounds)
            except (TimeoutError, subprocess.TimeoutExpired) as error:
                row, fine = [loop, what, f"did not come to its end: {error}"], False
            all_fine = all_fine and fine
            print("| " + " | ".join(row) + (" |" if fine else " | LOST |"), flush=True)
    sys.exit(0 if all_fine else 1)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
