"""The command line without some of its standard streams: closed by whoever started it, or broken while it serves."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.raw import RawClient
from tests.live.servers import command
from tests.support.processes import START_PATIENCE, ran

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.live.backends import Backend

pytestmark = pytest.mark.live

ALL = "<&- >&- 2>&-"

needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")


def served(
    words: Callable[[int], Sequence[str]], closed: str = "", *, requests: int = 1, **options: Any
) -> tuple[int, str, str]:
    """Have requests answered on a socket that these words are told of; exit code, stdout and stderr. `options` are
    those of Popen that are not the usual ones."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number = listening.fileno()
        with subprocess.Popen(
            ["sh", "-c", f'exec "$0" "$@" {closed}', *words(number)],
            text=True,
            pass_fds=[number],
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        ) as process:
            try:
                with RawClient(listening.getsockname()[1]) as client:
                    for _ in range(requests):
                        assert client.get().status == 200
            finally:
                process.terminate()
            out, err = process.communicate(timeout=START_PATIENCE)
    return process.returncode, out, err


def serving(backend: Backend, target: str = "asgiserve.demo:app", workers: int = 1) -> Callable[[int], Sequence[str]]:
    """The words of the command line, for a socket's number."""
    return lambda number: command(target, backend, {"fd": number, "workers": workers})


def test_nor_does_a_program_that_calls_run_need_them(anyio_backend: Backend) -> None:
    def words(number: int) -> Sequence[str]:
        name = anyio_backend[0]
        call = f"import asgiserve; asgiserve.run('asgiserve.demo:app', backend={name!r}, fd={number}, workers=2)"
        return [sys.executable, "-c", call]

    code, _, _ = served(words, ALL)
    assert code == 0


@pytest.mark.parametrize(("closed", "workers"), [("<&-", 1), (">&-", 1), ("2>&-", 1), (ALL, 1), (ALL, 2)])
def test_a_server_without_them_serves_without_their_lines(anyio_backend: Backend, closed: str, workers: int) -> None:
    code, out, err = served(serving(anyio_backend, workers=workers), closed)

    assert code == 0
    assert ("GET /" in out) == (">&-" not in closed.split())
    assert ("Started server process" in err) == ("2>&-" not in closed.split())


BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
"""Python's ordinary way with stdout."""


@pytest.fixture(params=["Broken pipe", pytest.param("No space left on device", marks=needs_full)])
def broken(request: pytest.FixtureRequest) -> Iterator[tuple[int, str]]:
    """A descriptor that nothing can be written to, and why."""
    if request.param == "Broken pipe":
        reader, number = os.pipe()
        os.close(reader)
    else:
        number = os.open("/dev/full", os.O_WRONLY)
    yield number, request.param
    os.close(number)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stdout_that_breaks_is_told_once_and_changes_nothing(
    anyio_backend: Backend, broken: tuple[int, str], workers: int
) -> None:
    number, reason = broken
    code, _, err = served(serving(anyio_backend, workers=workers), requests=3, stdout=number, env=BUFFERED)

    assert code == 0
    assert err.count(f"Access lines cannot be written: {reason}.\n") == 1
    assert "Logging error" not in err
    assert "Exception ignored" not in err
    assert "exit code" not in err  # of a worker


def test_nor_does_a_stderr_that_breaks_change_the_exit_code(anyio_backend: Backend, broken: tuple[int, str]) -> None:
    assert served(serving(anyio_backend), stdout=broken[0], stderr=broken[0], env=BUFFERED)[0] == 0


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["no_such_module:app", "--port", "0"], 3),
        (["no_such_module:app", "--port", "0", "--limit-max-requests", "9"], 3),
        (["no_such_module:app", "--check"], 3),
        (["asgiserve.demo:app", "--check"], 0),
        (["asgiserve.demo:app", "--check", "--config", "no.toml"], 2),
        (["--print-config"], 1),
    ],
)
def test_what_cannot_be_told_is_told_by_the_exit_code(
    broken: tuple[int, str], words: list[str], code: int, buffered: bool
) -> None:
    number = broken[0]
    with subprocess.Popen(
        [sys.executable, "-m", "asgiserve", *words],
        stdout=number,
        stderr=number,
        env=BUFFERED if buffered else BUFFERED | {"PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.wait(START_PATIENCE) == code


@pytest.mark.parametrize(("taken", "told"), [("sys.stderr", True), ("sys.stderr = sys.stdout", False)])
@pytest.mark.parametrize("settings", [{}, {"workers": 2}])
def test_an_application_that_takes_stderr_away_leaves_stdout_for_the_last_word(
    anyio_backend: Backend, tmp_path: Path, taken: str, told: bool, settings: dict[str, int]
) -> None:
    (tmp_path / "takes.py").write_text(f"import sys\n{taken} = None\nraise RuntimeError('no such table')")
    words = command("takes:app", anyio_backend, {"port": 0, "app_dir": tmp_path, **settings})

    ended = ran(words)

    assert ended.returncode == 3
    assert ("Error: importing takes failed: RuntimeError: no such table\n" in ended.stdout) == told


@pytest.mark.parametrize("words", [["--print-config"], ["asgiserve.demo:app", "--check"]])
def test_a_reader_that_has_seen_enough_gets_no_traceback(words: list[str]) -> None:
    reader, number = os.pipe()
    os.close(reader)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "asgiserve", *words],
            stdout=number,
            stderr=subprocess.PIPE,
            timeout=START_PATIENCE,
            check=False,
        )
    finally:
        os.close(number)
    assert ended.stderr == b""


def test_something_of_the_applications_in_the_place_of_a_stream_is_left_alone(anyio_backend: Backend) -> None:
    code, _, err = served(serving(anyio_backend, f"{__package__}.tee_site:app"))

    assert code == 0
    assert "Exception ignored" not in err
