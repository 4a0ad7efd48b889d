"""What the command line makes in the file system, whatever its end is; and the user that it goes on as."""

from __future__ import annotations

import grp
import json
import os
import pwd
import random
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.backends import one_loop_per_library
from tests.live.raw import request
from tests.live.servers import PATIENCE, command
from tests.support.processes import ran

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live.backends import Backend
    from tests.live.conftest import LiveServers
    from tests.live.servers import ProcessServer

pytestmark = [pytest.mark.live, one_loop_per_library]

SITE = "tests.live.process_site:app"
STUCK = "tests.live.applications:stuck"
SWALLOWS = "tests.live.applications:swallows_cancellation"
BLOCKS = "tests.live.process_site:blocks"
NEVER_STARTS = "tests.live.applications:never_starts"
FAILS_TO_START = "tests.live.applications:fails_to_start"

EITHER_WAY = pytest.mark.parametrize("processes", [{}, {"workers": 2}], ids=["one process", "workers"])
"""The files are those of the process that was started, whoever serves."""

NOBODY = pwd.getpwnam("nobody")
SOME_GROUP = next(one for one in grp.getgrall() if one.gr_gid not in (0, NOBODY.pw_gid))


def files(directory: Path) -> dict[str, Path]:
    return {"uds": directory / "app.sock", "pid_file": directory / "app.pid"}


def connected(server: ProcessServer) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(PATIENCE)
    sock.connect(server.url.removeprefix("unix:"))
    return sock


def told_by(server: ProcessServer) -> dict[str, Any]:
    with connected(server) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        data = b""
        while part := sock.recv(65536):
            data += part
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    told: dict[str, Any] = json.loads(data.partition(b"\r\n\r\n")[2])
    return told


def assert_nothing_is_left_in(directory: Path) -> None:
    assert [one.name for one in directory.iterdir()] == []


# --- every end --------------------------------------------------------------------------------


@EITHER_WAY
def test_the_files_are_there_while_it_serves(
    live_server: LiveServers, tmp_path: Path, processes: dict[str, int]
) -> None:
    server = live_server(SITE, **files(tmp_path), uds_mode="620", **processes)
    assert (tmp_path / "app.pid").read_text() == f"{server.process.pid}\n"
    assert stat.S_IMODE((tmp_path / "app.sock").stat().st_mode) == 0o620
    assert told_by(server)["server"] == [str(tmp_path / "app.sock"), None]


@pytest.mark.parametrize(
    ("number", "processes"), [(signal.SIGTERM, {}), (signal.SIGINT, {}), (signal.SIGTERM, {"workers": 2})]
)
def test_a_stop_leaves_no_files(
    live_server: LiveServers, tmp_path: Path, number: signal.Signals, processes: dict[str, int]
) -> None:
    server = live_server(SITE, **files(tmp_path), **processes)
    server.send_signal(number)
    assert server.wait_exit() == 0
    assert_nothing_is_left_in(tmp_path)


def test_a_second_signal_leaves_no_files(live_server: LiveServers, tmp_path: Path) -> None:
    server = live_server(STUCK, **files(tmp_path), timeout_graceful_shutdown=60)
    with connected(server) as client:
        client.sendall(request())
        server.stderr.wait_for("request: entered")
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Waiting for at most")
        server.send_signal(signal.SIGTERM)
        assert server.wait_exit() == 0
    assert_nothing_is_left_in(tmp_path)


@pytest.mark.parametrize(("target", "processes"), [(SWALLOWS, {}), (BLOCKS, {}), (SWALLOWS, {"workers": 2})])
def test_an_application_that_cannot_be_ended_leaves_no_files(
    live_server: LiveServers, tmp_path: Path, target: str, processes: dict[str, int]
) -> None:
    limits = {"timeout_graceful_shutdown": 0.2, "timeout_lifespan_shutdown": 0.2}
    server = live_server(target, **files(tmp_path), **limits, **processes)
    server.expected_code = 1
    with connected(server) as client:
        client.sendall(request())
        server.stderr.wait_for("request: entered")
        server.send_signal(signal.SIGTERM)
        assert server.wait_exit() == 1
    assert_nothing_is_left_in(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_startup_leaves_no_files(
    live_server: LiveServers, tmp_path: Path, number: signal.Signals
) -> None:
    server = live_server(NEVER_STARTS, ready="lifespan: entered", **files(tmp_path))
    assert (tmp_path / "app.pid").exists()
    server.expected_code = 128 + number
    server.send_signal(number)
    assert server.wait_exit() == 128 + number
    assert_nothing_is_left_in(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_import_ends_it_at_once_and_leaves_no_files(
    live_server: LiveServers, tmp_path: Path, number: signal.Signals
) -> None:
    server = live_server(SITE, ready="import: entered", wrapper=["env", "SLOW_IMPORT=1"], **files(tmp_path))
    assert (tmp_path / "app.pid").exists()
    server.expected_code = 128 + number
    server.send_signal(number)
    assert server.wait_exit() == 128 + number
    assert_nothing_is_left_in(tmp_path)


@pytest.mark.parametrize(
    ("target", "processes"),
    [(FAILS_TO_START, {}), ("tests.live.no_such_site:app", {}), (FAILS_TO_START, {"workers": 2})],
)
def test_a_failed_start_leaves_no_files(
    anyio_backend: Backend, tmp_path: Path, target: str, processes: dict[str, int]
) -> None:
    words = command(target, anyio_backend, {**files(tmp_path), **processes})
    done = ran(words)
    assert done.returncode == 3
    assert_nothing_is_left_in(tmp_path)


def test_a_killed_server_leaves_files_that_the_next_one_replaces(live_server: LiveServers, tmp_path: Path) -> None:
    killed = live_server(SITE, **files(tmp_path))
    killed.expected_code = -signal.SIGKILL
    killed.send_signal(signal.SIGKILL)
    killed.wait_exit()
    assert len(list(tmp_path.iterdir())) == 2

    server = live_server(SITE, **files(tmp_path))

    assert (tmp_path / "app.pid").read_text() == f"{server.process.pid}\n"
    assert told_by(server)


def test_a_second_server_is_refused_with_the_number_of_the_first(
    live_server: LiveServers, anyio_backend: Backend, tmp_path: Path
) -> None:
    server = live_server(SITE, **files(tmp_path))
    words = command(SITE, anyio_backend, {**files(tmp_path), "port": 0})
    done = ran(words)
    sentence = f"Error: --pid-file: a server runs already as process {server.process.pid}: {tmp_path}/app.pid is its\n"
    assert (done.returncode, done.stderr.endswith(sentence)) == (3, True), done.stderr
    assert told_by(server)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract Unix sockets")
def test_an_abstract_unix_socket_serves(live_server: LiveServers) -> None:
    name = f"asgiserve-test-{os.getpid()}"
    server = live_server(SITE, uds=f"@{name}")
    assert server.urls == [f"unix:@{name}"]
    with closing(socket.socket(socket.AF_UNIX)) as client:
        client.settimeout(PATIENCE)
        client.connect(f"\0{name}")
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert b'"server": ["@' + name.encode() + b'", null]' in client.recv(65536)


# --- another user -----------------------------------------------------------------------------


def _why_not_nobody() -> str:
    """What keeps the user nobody from running this test's server; empty if nothing does."""
    if os.geteuid() != 0:
        return "only root may become another user"
    words = [sys.executable, "-c", "import anyio, trio, asgiserve"]
    done = subprocess.run(words, capture_output=True, user="nobody", check=False, cwd="/")
    return "" if done.returncode == 0 else "the user nobody may not read this interpreter or its packages"


@pytest.fixture
def nobodys() -> Iterator[Path]:
    """A directory of the user nobody."""
    try:
        why = _why_not_nobody()
    except PermissionError:
        why = "the user nobody may not run this interpreter"
    if why:
        pytest.skip(why)
    with tempfile.TemporaryDirectory() as directory:
        os.chown(directory, NOBODY.pw_uid, NOBODY.pw_gid)
        yield Path(directory)


@EITHER_WAY
def test_the_application_is_imported_and_served_as_the_user(
    live_server: LiveServers, nobodys: Path, processes: dict[str, int]
) -> None:
    access = {"uds_mode": "660", "uds_group": SOME_GROUP.gr_name}
    server = live_server(SITE, **files(nobodys), user="nobody", **access, **processes)

    told = told_by(server)

    identity = [NOBODY.pw_uid, NOBODY.pw_gid]
    assert told["imported_as"] == identity
    assert told["serves_as"] == [*identity, sorted(os.getgrouplist("nobody", NOBODY.pw_gid))]
    status = (nobodys / "app.sock").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (NOBODY.pw_uid, SOME_GROUP.gr_gid, 0o660)
    assert f"Going on as user {NOBODY.pw_uid}, group {NOBODY.pw_gid}." in server.stderr.text
    server.finish()
    assert_nothing_is_left_in(nobodys)


def test_a_port_of_roots_is_bound_before(live_server: LiveServers, nobodys: Path) -> None:
    """As the user it would be refused: 1 to 1023 are root's."""
    unprivileged = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if unprivileged.exists() and int(unprivileged.read_text()) <= 1:
        pytest.skip("every user may bind every port here")
    # In any order: the same test may run in another process, and takes the first one too.
    port = next(one for one in random.sample(range(600, 1023), 400) if _is_free(one))
    server = live_server(SITE, port=port, user="nobody", group=SOME_GROUP.gr_name)
    assert server.url == f"http://127.0.0.1:{port}"
    with closing(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = client.recv(65536)
    assert f'"serves_as": [{NOBODY.pw_uid}, {SOME_GROUP.gr_gid}, '.encode() in answer


def _is_free(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"user": "no-such-user"}, "Error: --user: this machine has no user 'no-such-user'"),
        ({"group": "nogroup"}, "Error: --group: needs user; a group for Unix sockets alone is uds_group"),
    ],
)
def test_a_user_that_makes_no_sense_is_one_sentence(
    anyio_backend: Backend, settings: dict[str, str], sentence: str
) -> None:
    words = command(SITE, anyio_backend, {"port": 0, **settings})
    done = ran(words)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (3, sentence)
