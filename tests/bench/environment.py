"""The suite's virtual environment, with asgiserve's dependencies and all peers, and what is known of the machine."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from process import cores

__all__ = ["NotPrepared", "machine", "prepared", "tree"]

_REQUIREMENTS: Final = Path(__file__).with_name("requirements.txt")
_INSTALL_SECONDS: Final = 900.0
_VERSION: Final = "import sys; print(sys.implementation.name, sys.version)"
_ARGUMENTS: Final = "import sysconfig; print(sysconfig.get_config_var('CONFIG_ARGS'))"


class NotPrepared(Exception):
    """The environment could not be made."""


def prepared(folder: Path, interpreter: str) -> str:
    """The environment's Python; made once, and again when the requirements or the interpreter change."""
    python = folder / "bin" / "python"
    stamp = folder / "made-from"
    wanted = f"{_asked(interpreter, _VERSION)}\n{_REQUIREMENTS.read_text()}"
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return str(python)
    print(f"Making an environment with the peers in {folder} ...", file=sys.stderr, flush=True)
    _run([interpreter, "-m", "venv", "--clear", str(folder)])
    _run([str(python), "-m", "pip", "install", "--quiet", "--upgrade", "-r", str(_REQUIREMENTS)])
    stamp.write_text(wanted)
    return str(python)


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, timeout=_INSTALL_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        raise NotPrepared(f"{' '.join(command)}: {error}") from None


def _asked(interpreter: str, program: str) -> str:
    try:
        return subprocess.run(
            [interpreter, "-c", program], check=True, capture_output=True, text=True, timeout=30
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        raise NotPrepared(f"{interpreter}: {error}") from None


def machine(interpreter: str) -> dict[str, str]:
    """What the numbers depend on besides the versions."""
    one_each = "server and load on a core each" if cores()[0] is not None else "nothing is pinned to a core"
    return {
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} cores; {one_each}",
        "interpreter": f"{_asked(interpreter, _VERSION).splitlines()[0]}; {_build(interpreter)}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.processor() or "unknown"


def _build(interpreter: str) -> str:
    """Without its optimisations Python code costs about a quarter more, and extension modules the same."""
    optimised = "--enable-optimizations" in _asked(interpreter, _ARGUMENTS)
    # Distributions may optimise without saying so: only what is certain is said.
    return "configured with --enable-optimizations" if optimised else "not known whether optimised by profile"


def tree(source: Path) -> str:
    """Which asgiserve is measured: its version, and the commit if there is one."""
    found = re.search(r'__version__ = "([^"]+)"', (source / "asgiserve" / "__init__.py").read_text())
    version = found[1] if found else "unknown"
    command = ["git", "-C", str(source), "describe", "--always", "--dirty"]
    try:
        commit = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return version
    return f"{version} ({commit})"
