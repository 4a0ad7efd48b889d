"""The load on one port, for one scenario: wrk for HTTP (its Lua side is `load.lua`), `websocket_load.py` for WebSocket.

Both are processes of their own, on a core of their own, and report in a line `RESULT {…}`.
"""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from process import pinned
from scenarios import WebSocketScenario

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scenarios import AnyScenario, Scenario

__all__ = ["Load", "LoadError", "loading"]

_HERE: Final = Path(__file__).resolve().parent
_PATIENCE: Final = 10.0
"""Seconds that a load may take beyond the time that it was given."""
_CONNECT_SECONDS: Final = 60.0
"""For all handshakes: a thousand of them take the slowest server several seconds."""


class LoadError(Exception):
    """The load did not run, or did not report."""


@dataclass(frozen=True, slots=True)
class Load:
    """What was counted."""

    requests: int
    """Of a WebSocket scenario: messages that came back."""
    seconds: float
    p99_ms: float | None
    """None for pipelined requests: wrk's percentiles are wrong there."""
    errors: dict[str, int]
    """By kind, only what is not zero; of HTTP socket errors, and answers with a status of 400 or more."""


@contextlib.contextmanager
def loading(scenario: AnyScenario, port: int, core: int | None) -> Iterator[Callable[[float], Load]]:
    """Gives what loads the server on that port for so many seconds, as often as it is called. Raises LoadError.

    The connections of a WebSocket scenario are open from here on; wrk opens its own each time.
    """
    if isinstance(scenario, WebSocketScenario):
        with _websocket(scenario, port, core) as run:
            yield run
    else:
        yield lambda seconds: _wrk(scenario, port, seconds, core)


# --- wrk --------------------------------------------------------------------------------------------


def _wrk(scenario: Scenario, port: int, seconds: float, core: int | None) -> Load:
    with tempfile.NamedTemporaryFile() as body:
        body.write(scenario.body)
        body.flush()
        command = _command(scenario, port, seconds=seconds, body=body.name)
        try:
            with pinned(core):
                process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            output = _output_of(process, seconds + _PATIENCE)
        except OSError as error:
            raise LoadError(f"wrk did not start: {error}") from None
    for line in output.decode("utf-8", "replace").splitlines():
        if line.startswith("RESULT "):
            return _wrk_result(line, scenario)
    raise LoadError(f"wrk reported nothing: {output[-200:]!r}")


def _command(scenario: Scenario, port: int, *, seconds: float, body: str) -> list[str]:
    fields = [argument for name, value in scenario.fields for argument in ("-H", f"{name}: {value}")]
    command = ["wrk", "-t", "1", "-c", str(scenario.connections), "-d", f"{max(1, round(seconds))}s"]
    command += [
        *fields,
        "-s",
        str(_HERE / "load.lua"),
        f"{'https' if scenario.tls else 'http'}://127.0.0.1:{port}/",
        "--",
    ]
    command += [scenario.method, str(scenario.depth)]
    return [*command, body] if scenario.body else command


def _output_of(process: subprocess.Popen[bytes], seconds: float) -> bytes:
    try:
        return process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        raise LoadError("wrk did not end in time") from None
    finally:
        process.kill()
        process.wait()


def _wrk_result(line: str, scenario: Scenario) -> Load:
    report: dict[str, float] = json.loads(line.removeprefix("RESULT "))
    kinds = ("connect", "read", "write", "timeout", "status")
    return Load(
        requests=int(report["requests"]),
        seconds=report["seconds"],
        p99_ms=report["p99_ms"] if scenario.depth == 1 else None,
        errors={kind: int(report[kind]) for kind in kinds if report[kind]},
    )


# --- WebSocket --------------------------------------------------------------------------------------


@contextlib.contextmanager
def _websocket(scenario: WebSocketScenario, port: int, core: int | None) -> Iterator[Callable[[float], Load]]:
    words = [str(port), str(scenario.connections), scenario.kind, str(scenario.size)]
    with pinned(core):
        process = subprocess.Popen(
            [sys.executable, str(_HERE / "websocket_load.py"), *words],
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
