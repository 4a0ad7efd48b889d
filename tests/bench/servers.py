"""Which servers are compared, how each is started, and which of them are installed.

One entry per server in `servers()`. Each listens on one port, runs one worker and logs nothing but, where a
scenario asks for it, the access log. Started by `process.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from certificate import Pair

__all__ = ["REFERENCES", "Server", "servers", "versions"]

HERE: Final = Path(__file__).resolve().parent
OUR_SOURCE: Final = HERE.parent.parent / "src"

REFERENCES: Final = ("uvicorn", "uvicorn-sansio")
"""What the ratios refer to, for HTTP and for WebSocket: uvicorn as `uvicorn[standard]` runs, which most people take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One way of running one server."""

    name: str
    title: str
    python: str
    source: Path | None = None
    """The source tree that is run, for asgiserve; a peer runs as it is installed."""
    arguments: tuple[str, ...]
    """Behind `python -m`, with places for `app` and `port`."""
    quiet: tuple[str, ...] = ()
    """Added where no access log is wanted."""
    access_log: tuple[str, ...] = ()
    """Added where one is wanted."""
    tls: tuple[str, ...] = ("--ssl-certfile", "{certfile}", "--ssl-keyfile", "{keyfile}")
    """Added where TLS is wanted."""
    traffic: Literal["http", "websocket", "both"] = "both"
    """In which scenarios it is run."""
    needs: tuple[str, ...]
    """The distributions without which it cannot run."""

    def command(self, app: str, port: int, *, access_log: bool, tls: Pair | None) -> list[str]:
        arguments = [one.format(app=f"apps:{app}", port=port) for one in self.arguments]
        if tls is not None:
            arguments += [one.format(certfile=tls.certfile, keyfile=tls.keyfile) for one in self.tls]
        return [self.python, "-m", *arguments, *(self.access_log if access_log else self.quiet)]

    def environment(self) -> dict[str, str]:
        """What it is started with: the applications, and our own source, can be imported."""
        paths = [str(HERE)] if self.source is None else [str(self.source), str(HERE)]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def servers(python: str, peers_python: str, sources: Sequence[Path]) -> list[Server]:
    """All that are known. Of several sources of asgiserve the first has the plain names."""
    ours: list[Server] = []
    for source in sources or (OUR_SOURCE,):
        suffix = f"@{source.parent.name}" if ours else ""
        ours += [
            _ours("asyncio", "asyncio", python, source, suffix),
            _ours("uvloop", "asyncio", python, source, suffix),
            _ours("trio", "trio", python, source, suffix),
        ]
    return [*ours, *_uvicorns(peers_python), *_corns(peers_python), _granian(peers_python)]


def _ours(loop: str, backend: str, python: str, source: Path, suffix: str) -> Server:
    choice = ("--backend", backend) if backend == "trio" else ("--backend", backend, "--loop", loop)
    return Server(
        name=f"asgiserve-{loop}{suffix}",
        title=f"asgiserve, {loop}{suffix}",
        python=python,
        source=source,
        arguments=("asgiserve", "{app}", "--port", "{port}", *choice),
        quiet=("--no-access-log", "--log-level", "warning"),
        needs=("anyio", "trio", "h11", "wsproto", "typer", *(("uvloop",) if loop == "uvloop" else ())),
    )


def _uvicorns(python: str) -> Iterable[Server]:
    """Each of its HTTP engines, and each of its WebSocket engines on httptools and uvloop."""
    for name, http, loop in (("uvicorn-h11", "h11", "asyncio"), ("uvicorn", "httptools", "uvloop")):
        yield Server(
            name=name,
            title=f"uvicorn, {http}, {loop}",
            python=python,
            arguments=("uvicorn", "{app}", "--port", "{port}", "--http", http, "--loop", loop),
            quiet=_QUIET_UVICORN,
            traffic="http",
            needs=("uvicorn", *(("h11",) if http == "h11" else ("httptools", "uvloop"))),
        )
    for name, engine, package in (
        ("uvicorn-sansio", "websockets-sansio", "websockets"),
        ("uvicorn-websockets", "websockets", "websockets"),
        ("uvicorn-wsproto", "wsproto", "wsproto"),
    ):
        yield Server(
            name=name,
            title=f"uvicorn, {engine}, uvloop",
            python=python,
            arguments=(
                "uvicorn",
                "{app}",
                "--port",
                "{port}",
                "--ws",
                engine,
                "--http",
                "httptools",
                "--loop",
                "uvloop",
            ),
            quiet=_QUIET_UVICORN,
            traffic="websocket",
            needs=("uvicorn", "httptools", "uvloop", package),
        )


_QUIET_UVICORN: Final = ("--no-access-log", "--log-level", "warning")


def _corns(python: str) -> Iterable[Server]:
    for package, loop in (("hypercorn", "asyncio"), ("hypercorn", "trio"), ("anycorn", "trio")):
        yield Server(
            name=f"{package}-{loop}",
            title=f"{package}, {loop}",
            python=python,
            arguments=(package, "{app}", "--bind", "127.0.0.1:{port}", "--worker-class", loop),
            quiet=("--log-level", "warning"),
            access_log=("--access-logfile", "-"),
            tls=("--certfile", "{certfile}", "--keyfile", "{keyfile}"),
            needs=(package, *(("trio",) if loop == "trio" else ())),
        )


def _granian(python: str) -> Server:
    return Server(
        name="granian",
        title="granian, uvloop",
        python=python,
        arguments=(
            *("granian", "{app}", "--port", "{port}", "--interface", "asgi"),
            *("--workers", "1", "--loop", "uvloop"),
        ),
        quiet=("--no-access-log", "--log-level", "warning"),
        access_log=("--access-log",),
        tls=("--ssl-certificate", "{certfile}", "--ssl-keyfile", "{keyfile}"),
        needs=("granian", "uvloop"),
    )


_ASK_VERSIONS: Final = """
import importlib.metadata, json, platform, sys
found = {"Python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def versions(python: str, names: Iterable[str]) -> dict[str, str]:
    """The interpreter's version, and those of these distributions that are installed for it."""
    command = [python, "-c", _ASK_VERSIONS, *sorted(names)]
    try:
        answer = subprocess.run(command, capture_output=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return {}
    found: dict[str, str] = json.loads(answer.stdout)
    return found
