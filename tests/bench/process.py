"""One server process: started on a core, checked by one request, measured, and ended whatever happens.

CPU time and memory are those of the whole process tree, read from Linux's /proc: a server with a supervisor
and a worker is charged for both.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import resource
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, NamedTuple

import websocket_client
from certificate import certificate
from scenarios import WebSocketScenario

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from certificate import Pair
    from scenarios import AnyScenario, Scenario
    from servers import Server

__all__ = ["Cpu", "Running", "ServerError", "anyone", "cores", "free_port", "pinned", "running"]

_START_SECONDS: Final = 20.0
_SLOW_START_SECONDS: Final = 180.0
"""Under something that watches every instruction."""
_STOP_SECONDS: Final = 1.0
"""What a server has to do at its end is not measured, and nobody waits for it."""
_POLL_SECONDS: Final = 0.005
"""Between two looks whether a server listens: what a start-up time may be too long."""
_DESCRIPTORS: Final = 20_000
_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_PAGE_SIZE: Final = os.sysconf("SC_PAGE_SIZE")


class ServerError(Exception):
    """A server did not start, or did not answer as it should."""


class Cpu(NamedTuple):
    """Seconds of CPU time."""

    user: float
    system: float


class Running(NamedTuple):
    """A server that answers correctly."""

    pid: int
    port: int
    first_answer_seconds: float
    """From the start of the process to the end of its first answer."""

    def cpu(self) -> Cpu:
        """What the process tree has taken so far."""
        family = list(_tree(self.pid))
        return Cpu(
            sum(one.user_ticks for one in family) / _TICKS_PER_SECOND,
            sum(one.system_ticks for one in family) / _TICKS_PER_SECOND,
        )

    def rss_bytes(self) -> int:
        """Resident memory of the process tree; pages that are shared count once for each process."""
        return sum(one.pages for one in _tree(self.pid)) * _PAGE_SIZE


# --- cores ------------------------------------------------------------------------------------------


def cores() -> tuple[int | None, int | None]:
    """One core for the server and another one for the load; None where that is not to be had."""
    if not hasattr(os, "sched_setaffinity"):
        return None, None
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[1]) if len(allowed) > 1 else (None, None)


@contextlib.contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Processes that are started inside stay on that core."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


# --- from start to end --------------------------------------------------------------------------------


@contextlib.contextmanager
def running(server: Server, scenario: AnyScenario, core: int | None, *, under: Sequence[str] = ()) -> Iterator[Running]:
    """Start the server for that scenario, on a free port. Raises ServerError; ends it in any case.

    `under` is the command of what watches it, and may make it slow."""
    _allow_descriptors()
    port = free_port()
    pair = _certificate() if scenario.tls else None
    command = [*under, *server.command(scenario, port, pair)]
    with tempfile.TemporaryFile() as complaints:
        began = time.monotonic()
        process = _started(server, command, scenario, core, complaints)
        try:
            _await_port(process, port, _SLOW_START_SECONDS if under else _START_SECONDS)
            if isinstance(scenario, WebSocketScenario):
                _check_websocket(scenario, port)
            else:
                _check(scenario, port)
            yield Running(process.pid, port, time.monotonic() - began)
        except ServerError as error:
            complaints.seek(0)
            said = complaints.read().decode("utf-8", "replace").strip().splitlines()
            raise ServerError(f"{error}; {said[-1]}" if said else str(error)) from None
        finally:
            _end(process)


def _started(
    server: Server, command: list[str], scenario: AnyScenario, core: int | None, complaints: IO[bytes]
) -> subprocess.Popen[bytes]:
    try:
        with pinned(core):
            return subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                # Some servers write their access log here, where a real file would cost them more.
                stderr=subprocess.DEVNULL if scenario.access_log else complaints,
                stdin=subprocess.DEVNULL,
                env=server.environment(),
                start_new_session=True,
            )
    except OSError as error:
        raise ServerError(f"did not start: {error}") from None


def _allow_descriptors() -> None:
    """Raise the soft limit, for the server and the load: 1024 is not enough for ten thousand connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_port(process: subprocess.Popen[bytes], port: int, seconds: float) -> None:
    give_up_at = time.monotonic() + seconds
    while time.monotonic() < give_up_at:
        if process.poll() is not None:
            raise ServerError(f"ended at once with code {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(_POLL_SECONDS)
        else:
            return
    raise ServerError(f"did not listen within {seconds:g} s")


def _certificate() -> Pair:
    try:
        return certificate()
    except (OSError, subprocess.CalledProcessError) as error:
        raise ServerError(f"there is no certificate for it: {error!r}") from None


def anyone() -> ssl.SSLContext:
    """For a client: the certificate is nobody's, since this is the benchmark's own server on the loopback interface."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _check(scenario: Scenario, port: int) -> None:
    """One request, with the answer that it must have: a server that is wrong is not worth measuring."""
    if scenario.tls:
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=10, context=anyone()
        )
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        # An iterable is sent in chunks.
        body = iter([scenario.body]) if scenario.chunk else scenario.body or None
        connection.request(scenario.method, scenario.target, body, dict(scenario.fields))
        response = connection.getresponse()
        answer = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise ServerError(f"did not answer: {error!r}") from None
    finally:
        connection.close()
    if response.status != 200 or answer != scenario.answer:
        raise ServerError(f"answered wrongly: status {response.status}, {len(answer)} bytes")


def _check_websocket(scenario: WebSocketScenario, port: int) -> None:
    try:
        websocket_client.checked(port, scenario.size, text=scenario.kind != "binary")
    except (OSError, websocket_client.ClientError) as error:
        raise ServerError(f"did not answer: {error!r}") from None


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    # Its workers share its process group; most of the time there is nobody left in it.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


# --- /proc ------------------------------------------------------------------------------------------


class _Process(NamedTuple):
    """One process; its times include those of its children that have ended."""

    parent: int
    user_ticks: int
    system_ticks: int
    pages: int


def _tree(root: int) -> Iterator[_Process]:
    """That process and all that descend from it."""
    everyone = {int(path.name): path for path in Path("/proc").iterdir() if path.name.isdigit()}
    processes = {pid: one for pid, path in everyone.items() if (one := _read(path)) is not None}
    family = {root}
    grown = True
    while grown:
        children = {pid for pid, one in processes.items() if one.parent in family}
        grown = not children <= family
        family |= children
    return (processes[pid] for pid in family if pid in processes)


def _read(path: Path) -> _Process | None:
    try:
        stat = (path / "stat").read_text()
    except OSError:
        return None  # ended meanwhile
    # The second field is a name in parentheses, which may contain anything. See proc(5) for the others.
    fields = stat.rpartition(")")[2].split()
    user, system, children_user, children_system = map(int, fields[11:15])
    return _Process(int(fields[1]), user + children_user, system + children_system, int(fields[21]))
