"""The pid file: whose it is, and what happens to one of somebody who is gone."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from asgiserve.errors import ConfigError
from asgiserve.process.pid_file import PidFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OURS = f"{os.getpid()}\n"

HOLD = """
import sys
from asgiserve.process.pid_file import PidFile
PidFile(sys.argv[1]).claim()
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def claimed(path: Path) -> Iterator[PidFile]:
    pid_file = PidFile(str(path))
    pid_file.claim()
    try:
        yield pid_file
    finally:
        pid_file.remove()


@contextmanager
def another_server(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the file."""
    words = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def dead_pid() -> int:
    """The number of a process that has been, and is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.pid"


def test_the_file_has_our_number_and_goes_with_us(path: Path) -> None:
    with claimed(path):
        assert path.read_text() == OURS
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert list(path.parent.iterdir()) == [path]
    assert list(path.parent.iterdir()) == []


def test_removing_twice_is_harmless(path: Path) -> None:
    with claimed(path) as pid_file:
        pid_file.remove()
        path.write_text("precious")
    assert path.read_text() == "precious"


def test_a_living_servers_file_is_left_alone_and_its_number_told(path: Path) -> None:
    with another_server(path) as other:
        with pytest.raises(ConfigError, match=f"^pid_file: a server runs already as process {other.pid}: {path}"):
            PidFile(str(path)).claim()
        assert path.read_text() == f"{other.pid}\n"
        assert list(path.parent.iterdir()) == [path]


def test_the_file_of_a_server_that_was_killed_is_replaced(path: Path) -> None:
    with another_server(path) as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert path.read_text() == f"{other.pid}\n"
    with claimed(path):
        assert path.read_text() == OURS
    assert not path.exists()


@pytest.mark.parametrize("content", [OURS, "1\n", "", "\n"], ids=["ours", "a living process", "empty", "a blank line"])
def test_a_file_that_nobody_holds_is_replaced_whatever_number_it_has(path: Path, content: str) -> None:
    """In a container, every start has the number of the one before; after a crash, any program may have it."""
    path.write_text(content)
    with claimed(path):
        assert path.read_text() == OURS
    assert not path.exists()


def test_a_lock_of_a_child_that_outlives_its_parent_is_not_taken_for_a_server(path: Path) -> None:
    with another_server(path):
        path.write_text(f"{dead_pid()}\n")
        with claimed(path):
            assert path.read_text() == OURS


@pytest.mark.parametrize("content", ["[tool.asgiserve]\n", "12a\n", "-1\n", "1" * 100])
def test_a_file_that_is_no_pid_file_is_never_replaced(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(ConfigError, match=f"^pid_file: {path} is there and is no pid file"):
        PidFile(str(path)).claim()
    assert path.read_text() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_pipe_or_a_device_is_never_replaced(path: Path) -> None:
    """`/dev/null`, for one, which a template names for no pid file at all."""
    os.mkfifo(path)
    with pytest.raises(ConfigError, match=f"^pid_file: {path} is there and is no pid file"):
        PidFile(str(path)).claim()
    assert path.is_fifo()
    assert list(path.parent.iterdir()) == [path]


def test_a_link_is_not_followed(path: Path) -> None:
    target = path.parent / "target"
    target.write_text("1\n")
    path.symlink_to(target)
    with pytest.raises(ConfigError, match=f"^pid_file: cannot write {path}"):
        PidFile(str(path)).claim()
    assert target.read_text() == "1\n"


def test_a_file_that_somebody_else_has_put_there_meanwhile_stays(path: Path) -> None:
    with claimed(path):
        path.unlink()
        path.write_text("1\n")
    assert path.read_text() == "1\n"


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_does_not_remove_its_parents_file(path: Path) -> None:
    with claimed(path) as pid_file:
        child = os.fork()
        if child == 0:
            pid_file.remove()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert path.exists()


def test_a_file_that_can_no_longer_be_removed_names_nobody(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its directory is root's, and the process has become somebody else."""

    def unlink(_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    pid_file = PidFile(str(path))
    pid_file.claim()
    monkeypatch.setattr(os, "unlink", unlink)
    pid_file.remove()
    monkeypatch.undo()
    assert path.read_text() == ""


def test_a_file_system_without_links_will_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)
    with claimed(path):
        assert path.read_text() == OURS
        assert list(path.parent.iterdir()) == [path]
    assert list(path.parent.iterdir()) == []


def test_a_directory_that_is_not_there_is_told(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^pid_file: cannot write .*/missing/app\.pid: no such file or directory"):
        PidFile(str(path.parent / "missing" / "app.pid")).claim()


def test_a_relative_path_is_the_same_file_after_the_directory_has_changed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    pid_file = PidFile("app.pid")
    pid_file.claim()
    monkeypatch.chdir("/")
    pid_file.remove()
    assert not path.exists()
