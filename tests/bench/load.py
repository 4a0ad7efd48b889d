"""The load on one port, for one scenario: wrk for HTTP (its Lua side is `load.lua`), and clients of our own.

Those do what wrk cannot: `websocket_load.py`, `http_load.py`, `events_load.py`. All are processes of their own, on a
core of their own, and report in a line `RESULT {…}`.
"""

from __future__ import annotations

import contextlib
import json
import select
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from apps import GREETING
from process import pinned
from scenarios import WebSocketScenario

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scenarios import AnyScenario, Scenario

__all__ = ["Load", "LoadError", "framed", "holding", "loading"]

_HERE: Final = Path(__file__).resolve().parent
_PATIENCE: Final = 10.0
"""Seconds that a load may take beyond the time that it was given."""
_AGAIN_SECONDS: Final = 0.25
"""Between two interrupts of wrk."""
_CONNECT_SECONDS: Final = 60.0
"""For all handshakes: a thousand of them take the slowest server several seconds."""


class LoadError(Exception):
    """The load did not run, or did not report."""


@dataclass(frozen=True, slots=True)
class Load:
    """What was counted."""

    requests: int
    """Or messages that came back, or events that arrived."""
    seconds: float
    p50_ms: float | None
    p99_ms: float | None
    """None for pipelined requests: wrk's percentiles are wrong there."""
    errors: dict[str, int]
    """By kind, only what is not zero: socket errors, answers with a status of 400 or more, and wrong answers."""


@contextlib.contextmanager
def loading(
    scenario: AnyScenario, port: int, core: int | None, *, checked: bool = False
) -> Iterator[Callable[[float], Load]]:
    """Gives what loads the server on that port for so many seconds, as often as it is called. Raises LoadError.

    Clients of our own are connected from here on, and check every answer; wrk opens its connections each time, and
    checks what it is told to, which makes it slow.
    """
    if isinstance(scenario, WebSocketScenario):
        words = [str(scenario.connections), scenario.kind, str(scenario.size)]
        with _clients("websocket_load.py", port, words, core) as run:
            yield run
    elif scenario.load == "events":
        with _clients("events_load.py", port, [str(scenario.connections)], core) as run:
            yield run
    elif scenario.load == "busy":
        with holding(scenario.connections, port, core) as run:
            yield run
    else:
        yield lambda seconds: _wrk(scenario, port, seconds, core, checked=checked)


@contextlib.contextmanager
def holding(connections: int, port: int, core: int | None) -> Iterator[Callable[[float], Load]]:
    """So many connections, each with one answer behind it. Loading them for 0 seconds counts those that have ended."""
    with _clients("http_load.py", port, [str(connections), GREETING.decode()], core) as run:
        yield run


# --- wrk --------------------------------------------------------------------------------------------


def _wrk(scenario: Scenario, port: int, seconds: float, core: int | None, *, checked: bool) -> Load:
    with tempfile.NamedTemporaryFile() as body, tempfile.NamedTemporaryFile() as answer:
        body.write(framed(scenario.body, scenario.chunk) if scenario.chunk else scenario.body)
        body.flush()
        answer.write(scenario.answer)
        answer.flush()
        command = _command(scenario, port, body=body.name, answer=answer.name if checked else "-")
        try:
            with pinned(core):
                process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            output = _output_of(process, seconds)
        except OSError as error:
            raise LoadError(f"wrk did not start: {error}") from None
    for line in output.decode("utf-8", "replace").splitlines():
        if line.startswith("RESULT "):
            return _wrk_result(line, scenario)
    raise LoadError(f"wrk reported nothing: {output[-200:]!r}")


def framed(body: bytes, size: int) -> bytes:
    """The body in chunks (RFC 9112 section 7.1)."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])


def _command(scenario: Scenario, port: int, *, body: str, answer: str) -> list[str]:
    fields = [argument for name, value in scenario.fields for argument in ("-H", f"{name}: {value}")]
    scheme = "https" if scenario.tls else "http"
    return [
        # An interrupt that comes before wrk listens would end it without a word.
        *("sh", "-c", 'trap "" INT; exec "$@"', "sh"),
        # It takes whole seconds only; `_output_of` ends it before.
        *("wrk", "-t", "1", "-c", str(scenario.connections), "-d", "3600s"),
        *fields,
        *("-s", str(_HERE / "load.lua"), f"{scheme}://127.0.0.1:{port}{scenario.target}", "--"),
        *(scenario.method, str(scenario.depth), body, "chunked" if scenario.chunk else "-", answer),
    ]


def _output_of(process: subprocess.Popen[bytes], seconds: float) -> bytes:
    """What it says when it is interrupted after so long: it reports as at its end."""
    give_up_at = time.monotonic() + seconds + _PATIENCE
    wait = seconds
    try:
        while time.monotonic() < give_up_at:
            try:
                return process.communicate(timeout=wait)[0]
            except subprocess.TimeoutExpired:
                # Again and again: on a busy machine it may not listen yet.
                process.send_signal(signal.SIGINT)
                wait = _AGAIN_SECONDS
        raise LoadError("wrk did not end in time")
    finally:
        process.kill()
        process.wait()


def _wrk_result(line: str, scenario: Scenario) -> Load:
    report: dict[str, float] = json.loads(line.removeprefix("RESULT "))
    kinds = ("connect", "read", "write", "timeout", "status", "wrong")
    return Load(
        requests=int(report["requests"]),
        seconds=report["seconds"],
        p50_ms=report["p50_ms"] if scenario.depth == 1 else None,
        p99_ms=report["p99_ms"] if scenario.depth == 1 else None,
        errors={kind: int(report[kind]) for kind in kinds if report[kind]},
    )


# --- clients of our own -------------------------------------------------------------------------------


@contextlib.contextmanager
def _clients(script: str, port: int, words: list[str], core: int | None) -> Iterator[Callable[[float], Load]]:
    with pinned(core):
        process = subprocess.Popen(
            [sys.executable, str(_HERE / script), str(port), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
    assert process.stdin is not None
    try:
        _line(process, "READY", _CONNECT_SECONDS)

        def run(seconds: float) -> Load:
            print(seconds, file=process.stdin)
            report = json.loads(_line(process, "RESULT ", seconds + _PATIENCE).removeprefix("RESULT "))
            return Load(**report)

        yield run
        process.stdin.close()
        process.wait(_PATIENCE)
    finally:
        process.kill()
        process.wait()


def _line(process: subprocess.Popen[str], start: str, seconds: float) -> str:
    """The next line of the load's process, which must begin so."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    line = process.stdout.readline() if ready else "no word from the load in time"
    if not line.startswith(start):
        raise LoadError(line.strip() or "the load ended")
    return line
