"""Which servers are compared, how each is started, and which of them are installed.

One entry per server in `servers()`. Each listens on one port, runs one worker where a scenario does not ask for more,
keeps idle connections for as long as the scenario takes, and logs nothing but, where a scenario asks for it, the access
log. Started by `process.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from nginx import configured, found
from nginx import version as nginx_version
from scratch import folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from certificate import Pair
    from scenarios import AnyScenario

__all__ = ["OUR_SOURCE", "Server", "present", "servers", "versions"]

HERE: Final = Path(__file__).resolve().parent
OUR_SOURCE: Final = HERE.parent.parent / "src"


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
    workers: tuple[str, ...] = ("--workers", "{workers}")
    """Added where several workers are wanted."""
    files: tuple[str, ...] = ()
    """Added where the traffic is files."""
    traffic: Literal["http", "websocket", "both"] = "both"
    apps: frozenset[str] | None = None
    """The applications that it can stand in for, if it runs none itself."""
    needs: tuple[str, ...]
    """The distributions without which it cannot run."""

    def fits(self, scenario: AnyScenario) -> bool:
        """Whether it can run that scenario at all."""
        traffic = "websocket" if scenario.load == "websocket" else "http"
        return self.traffic in (traffic, "both") and (self.apps is None or scenario.app in self.apps)

    def command(self, scenario: AnyScenario, port: int, pair: Pair | None) -> list[str]:
        app = scenario.app if ":" in scenario.app else f"apps:{scenario.app}"
        places: dict[str, object] = {"app": app, "port": port, "workers": scenario.workers}
        arguments = [*self.arguments, *(self.access_log if scenario.access_log else self.quiet)]
        if pair is not None:
            arguments = [*arguments, *self.tls]
            places |= pair._asdict()
        if scenario.workers > 1:
            arguments = [*arguments, *self.workers]
        if scenario.group == "files":
            arguments = [*arguments, *self.files]
        return [self.python, "-m", *(one.format(**places) for one in arguments)]

    def environment(self) -> dict[str, str]:
        """What it is started with: the applications, and our own source, can be imported."""
        paths = [str(HERE)] if self.source is None else [str(self.source), str(HERE)]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "BENCH_FOLDER": str(folder())}


class Nginx(Server):
    """The limit: an event loop in C that answers a constant, or a file."""

    __slots__ = ()

    def command(self, scenario: AnyScenario, port: int, pair: Pair | None) -> list[str]:
        return [self.python, *configured(port, pair, scenario.workers)]


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
    return [*ours, *_uvicorns(peers_python), *_corns(peers_python), *_others(peers_python)]


def _ours(loop: str, backend: str, python: str, source: Path, suffix: str) -> Server:
    choice = ("--backend", backend) if backend == "trio" else ("--backend", backend, "--loop", loop)
    return Server(
        name=f"asgiserve-{loop}{suffix}",
        title=f"asgiserve, {loop}{suffix}",
        python=python,
        source=source,
        arguments=("asgiserve", "{app}", "--port", "{port}", *choice),
        quiet=("--no-access-log", "--log-level", "warning"),
        files=("--sendfile",),
        needs=("anyio", "trio", "h11", "wsproto", "typer", *(("uvloop",) if loop == "uvloop" else ())),
    )


def _uvicorns(python: str) -> Iterable[Server]:
    """Each of its HTTP engines on each loop, and each of its WebSocket engines on httptools and uvloop."""
    for name, http, loop in (
        ("uvicorn", "httptools", "uvloop"),
        ("uvicorn-httptools-asyncio", "httptools", "asyncio"),
        ("uvicorn-h11-uvloop", "h11", "uvloop"),
        ("uvicorn-h11", "h11", "asyncio"),
    ):
        yield _uvicorn(python, name, f"uvicorn, {http}, {loop}", "http", (http, loop), "--http", http, "--loop", loop)
    for name, engine, package in (
        ("uvicorn-sansio", "websockets-sansio", "websockets"),
        ("uvicorn-websockets", "websockets", "websockets"),
        ("uvicorn-wsproto", "wsproto", "wsproto"),
    ):
        words = ("--ws", engine, "--http", "httptools", "--loop", "uvloop")
        needs = ("httptools", "uvloop", package)
        yield _uvicorn(python, name, f"uvicorn, {engine}, uvloop", "websocket", needs, *words)


def _uvicorn(
    python: str, name: str, title: str, traffic: Literal["http", "websocket"], needs: Iterable[str], *words: str
) -> Server:
    return Server(
        name=name,
        title=title,
        python=python,
        arguments=("uvicorn", "{app}", "--port", "{port}", "--timeout-keep-alive", "75", *words),
        quiet=("--no-access-log", "--log-level", "warning"),
        traffic=traffic,
        needs=("uvicorn", *(one for one in needs if one != "asyncio")),
    )


def _corns(python: str) -> Iterable[Server]:
    for package, loop in (("hypercorn", "asyncio"), ("hypercorn", "trio"), ("anycorn", "trio")):
        yield Server(
            name=f"{package}-{loop}",
            title=f"{package}, {loop}",
            python=python,
            arguments=(
                *(package, "{app}", "--bind", "127.0.0.1:{port}", "--worker-class", loop),
                *("--keep-alive", "75"),
            ),
            quiet=("--log-level", "warning"),
            access_log=("--access-logfile", "-"),
            tls=("--certfile", "{certfile}", "--keyfile", "{keyfile}"),
            needs=(package, *(("trio",) if loop == "trio" else ())),
        )


def _others(python: str) -> Iterable[Server]:
    yield Server(
        name="granian",
        title="granian, uvloop",
        python=python,
        arguments=(
            *("granian", "{app}", "--port", "{port}", "--interface", "asgi", "--loop", "uvloop"),
            # By default it serves 1,024 connections at a time, busy or idle.
            *("--backlog", "2048", "--backpressure", "20000"),
        ),
        quiet=("--no-access-log", "--log-level", "warning"),
        access_log=("--access-log",),
        tls=("--ssl-certificate", "{certfile}", "--ssl-keyfile", "{keyfile}"),
        needs=("granian", "uvloop"),
    )
    yield Server(
        name="gunicorn",
        title="gunicorn, asgi worker, uvloop",
        python=python,
        arguments=(
            *("gunicorn", "{app}", "--bind", "127.0.0.1:{port}", "--worker-class", "asgi", "--asgi-loop", "uvloop"),
            *("--keep-alive", "75", "--worker-connections", "20000", "--no-control-socket"),
        ),
        quiet=("--log-level", "warning"),
        access_log=("--access-logfile", "-"),
        tls=("--certfile", "{certfile}", "--keyfile", "{keyfile}"),
        needs=("gunicorn", "uvloop"),
    )
    yield Server(
        name="daphne",
        title="daphne, asyncio",
        python=python,
        arguments=("daphne", "{app}", "--verbosity", "0", "--port", "{port}"),
        access_log=("--access-log", "-"),
        tls=("--endpoint", "ssl:0:privateKey={keyfile}:certKey={certfile}:interface=127.0.0.1"),
        traffic="both",
        needs=("daphne",),
    )
    yield Nginx(
        name="nginx",
        title="nginx, no application",
        python=found() or "nginx",
        arguments=(),
        traffic="http",
        apps=frozenset({"hello", "framework_apps:starlette"}),
        needs=("nginx",),
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
    installed: dict[str, str] = json.loads(answer.stdout)
    return installed


def present(chosen: Sequence[Server]) -> tuple[list[Server], dict[str, str], dict[str, str]]:
    """Those that can be run; the versions of what they need; and the titles of the others, with what they miss."""
    runnable: list[Server] = []
    known: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for python in dict.fromkeys(one.python for one in chosen):
        asked = [one for one in chosen if one.python == python]
        installed = _installed(asked)
        known |= {name: version for name, version in installed.items() if name not in known}
        for one in asked:
            missing = set(one.needs) - set(installed)
            if missing:
                left_out[one.title] = f"{', '.join(sorted(missing))} is not installed"
            else:
                runnable.append(one)
    return runnable, known, left_out


def _installed(servers_of_one_python: Sequence[Server]) -> Mapping[str, str]:
    first = servers_of_one_python[0]
    if isinstance(first, Nginx):
        return nginx_version(first.python)
    return versions(first.python, {name for one in servers_of_one_python for name in one.needs})
