"""The command line under systemd: sockets that it passes, and what it is told. Its part is played by the tests."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.backends import one_loop_per_library
from tests.live.raw import RawClient, request
from tests.live.servers import PATIENCE, command
from tests.support.certificates import Authority
from tests.support.processes import START_PATIENCE, ran

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live.backends import Backend
    from tests.live.conftest import LiveServers
    from tests.live.servers import ProcessServer

pytestmark = [
    pytest.mark.live,
    one_loop_per_library,
    pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's"),
]

SITE = "tests.live.process_site:app"
STUCK = "tests.live.applications:stuck"
NEVER_STARTS = "tests.live.applications:never_starts"
EITHER_WAY = pytest.mark.parametrize("processes", [{}, {"workers": 2}], ids=["one process", "workers"])
"""systemd knows only the process that it has started, whoever serves."""

ACTIVATED = str(Path(__file__).parent / "activated.py")


def listening() -> socket.socket:
    """A socket as systemd has it."""
    return socket.create_server(("127.0.0.1", 0))


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


def passing(sockets: dict[str, socket.socket], environ: str = "") -> dict[str, Any]:
    """What `live_server` takes for a server that is passed these sockets."""
    numbers = {name: sock.fileno() for name, sock in sockets.items()}
    words = ",".join(f"{number}:{name}" for name, number in numbers.items())
    wrapper = [*(["env", environ] if environ else []), sys.executable, ACTIVATED, words, "--"]
    return {"wrapper": wrapper, "pass_fds": list(numbers.values())}


def told_by(port: int, target: str = "/") -> dict[str, Any]:
    with RawClient(port) as client:
        answer = client.get(target)
    assert answer.status == 200
    told: dict[str, Any] = json.loads(answer.body)
    return told


# --- sockets ----------------------------------------------------------------------------------


@EITHER_WAY
def test_the_passed_sockets_are_all_that_is_served(live_server: LiveServers, processes: dict[str, int]) -> None:
    with listening() as web, listening() as admin:
        server = live_server(SITE, bind=[], **passing({"web": web, "admin": admin}), **processes)

        server.stderr.wait_for("asgiserve running on", count=2, patience=START_PATIENCE)
        assert server.urls == [f"http://127.0.0.1:{port_of(one)}" for one in (web, admin)]
        for one in (web, admin):
            assert told_by(port_of(one))["server"] == list(one.getsockname())


def test_a_named_socket_is_served_as_the_settings_say(live_server: LiveServers) -> None:
    with listening() as web, listening() as admin:
        server = live_server(SITE, bind=["fd:admin,tls=off"], **passing({"web": web, "admin": admin}))

        server.stderr.wait_for("asgiserve running on", count=2, patience=START_PATIENCE)
        assert server.urls == [f"http://127.0.0.1:{port_of(one)}" for one in (admin, web)]


@EITHER_WAY
def test_programs_of_the_application_get_neither_the_variables_nor_the_sockets(
    live_server: LiveServers, processes: dict[str, int]
) -> None:
    with listening() as web:
        live_server(SITE, bind=[], **passing({"web": web}), **processes)

        assert told_by(port_of(web))["variables"] == {}
        assert told_by(port_of(web), "/child")["sockets"] == 0


def test_clients_that_connect_between_two_starts_are_served_by_the_second(live_server: LiveServers) -> None:
    with listening() as web:
        first = live_server(SITE, bind=[], **passing({"web": web}))
        assert told_by(port_of(web))
        first.finish()

        with RawClient(port_of(web)) as client:
            client.send(request())
            live_server(SITE, bind=[], **passing({"web": web}))
            assert client.answer().status == 200


def test_sockets_for_another_process_are_left_alone_with_a_warning(live_server: LiveServers) -> None:
    with listening() as web:
        server = live_server(SITE, port=0, **passing({"web": web}, "LISTEN_PID=1"))

        assert len(server.urls) == 1
        assert server.port != port_of(web)
        assert "LISTEN_PID: the sockets that systemd has passed are for process 1" in server.stderr.text


@pytest.mark.parametrize(
    ("variable", "settings", "code", "sentence"),
    [
        ("LISTEN_PID=self", {"bind": []}, 2, "LISTEN_PID: expected a number, but got 'self'"),
        (
            "",
            {"bind": ["fd:metrics"]},
            3,
            "Cannot bind fd:metrics: systemd has passed no socket of this name, but web.",
        ),
    ],
)
def test_what_makes_no_sense_is_one_sentence(
    anyio_backend: Backend, variable: str, settings: dict[str, Any], code: int, sentence: str
) -> None:
    with listening() as web:
        options = passing({"web": web}, variable)
        words = [*options["wrapper"], *command(SITE, anyio_backend, settings)]
        done = ran(words, pass_fds=options["pass_fds"])
    assert done.returncode == code
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="systemd is not here")
def test_systemds_own_tool_starts_the_server_at_the_first_connection(live_server: LiveServers, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    wrapper = ["systemd-socket-activate", "-l", str(path), "--fdname=web"]
    server = live_server(SITE, bind=["fd:web"], wrapper=wrapper, ready="Listening on")
    with closing(socket.socket(socket.AF_UNIX)) as client:
        client.settimeout(START_PATIENCE)
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
    server.stderr.wait_for("asgiserve running on ", patience=START_PATIENCE)
    assert server.urls == [f"unix:{path}"]


# --- notifications ----------------------------------------------------------------------------


class Systemd:
    """The end of NOTIFY_SOCKET that systemd reads."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        self.sock.settimeout(PATIENCE)
        self._environ = [f"NOTIFY_SOCKET={path}"]

    def options(self, *environ: str) -> dict[str, Any]:
        return {"wrapper": ["env", *self._environ, *environ]}

    def next(self, name: str) -> dict[str, str]:
        """The next message that has this name in it; others before it are skipped."""
        while True:
            lines = self.sock.recv(65536).decode().split("\n")
            message = dict(line.split("=", 1) for line in lines)
            if name in message:
                return message

    def rest(self) -> bytes:
        """All that has been told until now, and not been looked at."""
        told = b""
        self.sock.setblocking(False)
        try:
            while True:
                told += self.sock.recv(65536) + b"\n"
        except BlockingIOError:
            return told
        finally:
            self.sock.settimeout(PATIENCE)


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    one = Systemd(tmp_path / "notify")
    with closing(one.sock):
        yield one


def pid_of(server: ProcessServer) -> str:
    return str(server.process.pid)


@EITHER_WAY
def test_systemd_is_told_when_the_server_listens_and_when_it_stops(
    live_server: LiveServers, systemd: Systemd, processes: dict[str, int]
) -> None:
    server = live_server(SITE, **systemd.options(), **processes)
    ready = systemd.next("READY")
    assert ready == {"READY": "1", "MAINPID": pid_of(server), "STATUS": f"Serving on {server.url}"}

    server.send_signal(signal.SIGTERM)

    assert systemd.next("STOPPING")["STOPPING"] == "1"
    assert server.wait_exit() == 0


def test_systemd_is_not_told_that_a_server_is_ready_that_has_not_started(
    live_server: LiveServers, systemd: Systemd
) -> None:
    server = live_server(NEVER_STARTS, ready="lifespan: entered", **systemd.options())
    server.expected_code = None
    server.send_signal(signal.SIGTERM)
    server.wait_exit()
    assert systemd.rest() == b""


@EITHER_WAY
def test_systemd_is_told_of_a_reload(
    live_server: LiveServers, systemd: Systemd, tmp_path: Path, processes: dict[str, int]
) -> None:
    """Alone, a server reads its certificates again; a supervisor restarts its workers."""
    pair = Authority(tmp_path).pair("localhost", "127.0.0.1")
    server = live_server(SITE, **pair.settings, **systemd.options(), **processes)
    systemd.next("READY")

    server.process.send_signal(signal.SIGHUP)

    reloading = systemd.next("RELOADING")
    assert (reloading["RELOADING"], reloading["MONOTONIC_USEC"].isdecimal()) == ("1", True)
    assert systemd.next("READY")["STATUS"].startswith("Serving")


def test_systemd_is_not_told_that_workers_are_ready_whose_restart_a_stop_has_ended(
    live_server: LiveServers, systemd: Systemd
) -> None:
    """The worker to be replaced ends at once then; one that drains already keeps the supervisor."""
    settings = {"limit_max_requests": 1000, "timeout_graceful_shutdown": 60}
    server = live_server(STUCK, **settings, **systemd.options())
    (first,) = server.wait_workers(1)
    systemd.next("READY")
    with RawClient(server.port) as client:
        client.send(request())
        server.stderr.wait_for("request: entered")
        os.kill(first, signal.SIGTERM)
        second = server.wait_workers(2)[-1]
        server.process.send_signal(signal.SIGHUP)
        systemd.next("RELOADING")

        server.send_signal(signal.SIGTERM)

        systemd.next("STOPPING")
        wait_gone(second)
        server.send_signal(signal.SIGTERM)
        assert server.wait_exit() == 0
    assert b"READY" not in systemd.rest()
    assert "have been replaced" not in server.stderr.text


def wait_gone(pid: int) -> None:
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)  # a poll: only its parent is told
    raise AssertionError(f"process {pid} does not end")


def test_a_stop_that_takes_long_asks_for_more_time(live_server: LiveServers, systemd: Systemd) -> None:
    server = live_server(STUCK, timeout_graceful_shutdown=60, **systemd.options())
    server.expected_code = None
    with RawClient(server.port) as client:
        client.send(request())
        server.stderr.wait_for("request: entered")
        server.send_signal(signal.SIGTERM)
        assert int(systemd.next("EXTEND_TIMEOUT_USEC")["EXTEND_TIMEOUT_USEC"]) >= 10_000_000
        server.send_signal(signal.SIGTERM)
        server.wait_exit()


def test_systemd_gets_the_signs_of_life_that_it_wants(live_server: LiveServers, systemd: Systemd) -> None:
    live_server(SITE, **systemd.options("WATCHDOG_USEC=100000"))
    began = time.monotonic()
    for _ in range(5):
        assert systemd.next("WATCHDOG") == {"WATCHDOG": "1"}
    # The first of them may have waited for us. A loop on a busy machine may be late, never early.
    assert time.monotonic() - began < PATIENCE


def test_a_server_whose_notifications_cannot_be_delivered_serves(live_server: LiveServers, tmp_path: Path) -> None:
    server = live_server(SITE, wrapper=["env", f"NOTIFY_SOCKET={tmp_path / 'missing'}", "WATCHDOG_USEC=1000000"])
    assert told_by(server.port)
    server.stderr.wait_for("Cannot tell systemd")
    server.send_signal(signal.SIGTERM)
    server.wait_exit()
    assert server.stderr.text.count("Cannot tell systemd") == 1
