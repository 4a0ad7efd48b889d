"""One run of wrk against one port, and what it reports. The Lua side is `load.lua`."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from process import pinned

if TYPE_CHECKING:
    from scenarios import Scenario

__all__ = ["Load", "LoadError", "load"]

_SCRIPT: Final = Path(__file__).resolve().parent / "load.lua"
_KINDS: Final = ("connect", "read", "write", "timeout", "status")
_PATIENCE: Final = 10.0
"""Seconds that wrk may take beyond the time that it was given."""


class LoadError(Exception):
    """wrk did not run, or did not report."""


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk counted."""

    requests: int
    seconds: float
    p99_ms: float | None
    """None for pipelined requests: wrk's percentiles are wrong there."""
    errors: dict[str, int]
    """Socket errors by kind, and answers with a status of 400 or more; only what is not zero."""


def load(scenario: Scenario, port: int, *, seconds: float, core: int | None) -> Load:
    """Load the server on that port for so long. Raises LoadError."""
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
            return _read(json.loads(line.removeprefix("RESULT ")), scenario)
    raise LoadError(f"wrk reported nothing: {output[-200:]!r}")


def _command(scenario: Scenario, port: int, *, seconds: float, body: str) -> list[str]:
    fields = [argument for name, value in scenario.fields for argument in ("-H", f"{name}: {value}")]
    command = ["wrk", "-t", "1", "-c", str(scenario.connections), "-d", f"{max(1, round(seconds))}s"]
    command += [*fields, "-s", str(_SCRIPT), f"http://127.0.0.1:{port}/", "--"]
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


def _read(report: dict[str, float], scenario: Scenario) -> Load:
    return Load(
        requests=int(report["requests"]),
        seconds=report["seconds"],
        p99_ms=report["p99_ms"] if scenario.depth == 1 else None,
        errors={kind: int(report[kind]) for kind in _KINDS if report[kind]},
    )
