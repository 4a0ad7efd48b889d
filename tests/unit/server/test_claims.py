"""What a process has before its application is imported, and that it leaves nothing of it behind."""

from __future__ import annotations

import os
import pwd
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from asgiserve import run
from asgiserve.config import Bind, Launch, Settings
from asgiserve.errors import BindError, ConfigError, StartupError
from asgiserve.server.activation import PassedSocket
from asgiserve.server.claims import claimed
from tests.support.processes import ran

if TYPE_CHECKING:
    from pathlib import Path

    from asgiserve.types import Receive, Scope, Send

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")

NOBODY = pwd.getpwnam("nobody")


def left_in(directory: Path) -> list[str]:
    return sorted(one.name for one in directory.iterdir())


def told_by(directory: Path, settings: str, lines: str) -> list[str]:
    """What a process of its own prints that claims with these settings and then runs these lines."""
    program = f"""
import os, stat
from asgiserve.config import Bind, Launch
from asgiserve.server.claims import claimed
os.umask(0o022)
with claimed({settings}) as claims:
{lines}
"""
    words = [sys.executable, "-c", program]
    done = ran(words, cwd=directory)
    assert not done.stderr, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def open_directory(tmp_path: Path) -> Path:
    """A directory in which everybody may make files, and remove his own, as in /tmp."""
    for one in (tmp_path, *list(tmp_path.parents)[:2]):
        one.chmod(0o755)
    tmp_path.chmod(0o1777)
    return tmp_path


# --- files and sockets ------------------------------------------------------------------------


def test_the_pid_file_and_the_sockets_are_there_for_the_block_only(tmp_path: Path) -> None:
    launch = Launch(pid_file=str(tmp_path / "app.pid"))
    with claimed(launch, Bind(uds=str(tmp_path / "app.sock"), port=0)) as claims:
        assert left_in(tmp_path) == ["app.pid", "app.sock"]
        assert [one.socket.family for one in claims.bound] == [socket.AF_UNIX, socket.AF_INET]
    assert left_in(tmp_path) == []
    assert [one.socket.fileno() for one in claims.bound] == [-1, -1]


def test_who_leaves_at_once_releases_them_before(tmp_path: Path) -> None:
    launch = Launch(pid_file=str(tmp_path / "app.pid"))
    with claimed(launch, Bind(uds=str(tmp_path / "app.sock"))) as claims:
        claims.release()
        assert left_in(tmp_path) == []
        (tmp_path / "app.sock").write_text("somebody else's")
    assert left_in(tmp_path) == ["app.sock"]


def test_a_fork_of_the_application_removes_nothing(tmp_path: Path) -> None:
    lines = """
    if os.fork() == 0:
        raise SystemExit
    os.wait()
    print(sorted(os.listdir()))
"""
    settings = "Launch(pid_file='app.pid'), Bind(uds='app.sock')"
    assert told_by(tmp_path, settings, lines) == ["['app.pid', 'app.sock']"]
    assert left_in(tmp_path) == []


def test_what_systemd_has_passed_is_among_them() -> None:
    with socket.create_server(("127.0.0.1", 0)) as kept:
        passed = PassedSocket(os.dup(kept.fileno()), "web")
        with claimed(Launch(), Bind(), [passed]) as claims:
            assert [one.socket.getsockname() for one in claims.bound] == [kept.getsockname()]


def test_an_address_that_is_taken_leaves_no_pid_file(tmp_path: Path) -> None:
    launch = Launch(pid_file=str(tmp_path / "app.pid"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindError), claimed(launch, Bind(uds=str(tmp_path / "app.sock"), port=port)):
            raise AssertionError("claimed what is taken")
    assert left_in(tmp_path) == []


def test_who_runs_already_keeps_his_sockets_and_his_file(tmp_path: Path) -> None:
    launch, bind = Launch(pid_file=str(tmp_path / "app.pid")), Bind(uds=str(tmp_path / "app.sock"))
    with claimed(launch, bind):
        with pytest.raises(ConfigError, match=f"a server runs already as process {os.getpid()}"), claimed(launch, bind):
            raise AssertionError("claimed twice")
        assert left_in(tmp_path) == ["app.pid", "app.sock"]


def test_a_user_that_cannot_be_had_is_refused_before_anything_is_claimed(tmp_path: Path) -> None:
    launch = Launch(pid_file=str(tmp_path / "app.pid"), user="no-such-user")
    with pytest.raises(ConfigError, match="no user 'no-such-user'"), claimed(launch, Bind(port=0)):
        raise AssertionError("claimed for nobody")
    assert left_in(tmp_path) == []


def test_an_error_in_the_block_leaves_nothing(tmp_path: Path) -> None:
    launch = Launch(pid_file=str(tmp_path / "app.pid"))
    with pytest.raises(KeyboardInterrupt), claimed(launch, Bind(uds=str(tmp_path / "app.sock"))):
        raise KeyboardInterrupt
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_run_claims_before_the_application_starts(tmp_path: Path, backend: str) -> None:
    seen: list[list[str]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(left_in(tmp_path))
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "seen enough"})

    files = {"pid_file": str(tmp_path / "app.pid"), "uds": str(tmp_path / "app.sock")}
    with pytest.raises(StartupError, match="seen enough"):
        run(app, backend=backend, **files)
    assert seen == [["app.pid", "app.sock"]]
    assert left_in(tmp_path) == []


def test_serve_leaves_the_process_to_its_program() -> None:
    for name in ("pid_file", "user", "group"):
        with pytest.raises(ConfigError, match=rf"^{name}: is for run\(\) and the command line"):
            Settings.of({name: "x"})


# --- another user -----------------------------------------------------------------------------


@needs_root
def test_the_sockets_are_bound_as_root_and_the_rest_happens_as_the_user(open_directory: Path) -> None:
    """His socket is his, so that it goes with him; its group is the one that was asked for."""
    told = told_by(
        open_directory,
        "Launch(user='nobody', pid_file='app.pid'), Bind(uds='app.sock', uds_group=4, uds_mode='660', port=0)",
        """
    status = os.stat("app.sock")
    print(os.getuid(), os.getgid())
    print(status.st_uid, status.st_gid, oct(stat.S_IMODE(status.st_mode)))
    print(os.stat("app.pid").st_uid)
    """,
    )
    assert told == [f"{NOBODY.pw_uid} {NOBODY.pw_gid}", f"{NOBODY.pw_uid} 4 0o660", "0"]
    assert "app.sock" not in left_in(open_directory)


@needs_root
def test_without_a_group_of_their_own_sockets_get_the_users(open_directory: Path) -> None:
    told = told_by(
        open_directory,
        "Launch(user='nobody'), Bind(uds='app.sock')",
        """
    status = os.stat("app.sock")
    print(status.st_uid, status.st_gid, oct(stat.S_IMODE(status.st_mode)))
    """,
    )
    assert told == [f"{NOBODY.pw_uid} {NOBODY.pw_gid} 0o755"]


@needs_root
def test_a_pid_file_of_roots_that_the_user_cannot_remove_names_nobody_afterwards(open_directory: Path) -> None:
    told = told_by(
        open_directory,
        "Launch(user='nobody', pid_file='app.pid'), Bind(port=0)",
        """
    print(os.getpid() == int(open("app.pid").read()))
    """,
    )
    assert told == ["True"]
    assert (open_directory / "app.pid").read_text() == ""
