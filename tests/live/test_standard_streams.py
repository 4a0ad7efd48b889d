"""The command line without some of its standard streams: whoever started it has closed them."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.live.raw import RawClient
from tests.live.servers import command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.live.backends import Backend

pytestmark = pytest.mark.live

ALL = "<&- >&- 2>&-"


def served(words: Callable[[int], Sequence[str]], closed: str) -> tuple[int, str, str]:
    """Have a request answered on a socket that these words are told of; exit code, stdout and stderr."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number = listening.fileno()
        with subprocess.Popen(
            ["sh", "-c", f'exec "$0" "$@" {closed}', *words(number)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=[number],
        ) as process:
            try:
                with RawClient(listening.getsockname()[1]) as client:
                    assert client.get().status == 200
            finally:
                process.terminate()
            out, err = process.communicate(timeout=20)
    return process.returncode, out, err


def test_nor_does_a_program_that_calls_run_need_them(anyio_backend: Backend) -> None:
    def words(number: int) -> Sequence[str]:
        name = anyio_backend[0]
        call = f"import asgiserve; asgiserve.run('asgiserve.demo:app', backend={name!r}, fd={number}, workers=2)"
        return [sys.executable, "-c", call]

    code, _, _ = served(words, ALL)
    assert code == 0


@pytest.mark.parametrize(("closed", "workers"), [("<&-", 1), (">&-", 1), ("2>&-", 1), (ALL, 1), (ALL, 2)])
def test_a_server_without_them_serves_without_their_lines(anyio_backend: Backend, closed: str, workers: int) -> None:
    def words(number: int) -> Sequence[str]:
        return command("asgiserve.demo:app", anyio_backend, {"fd": number, "workers": workers})

    code, out, err = served(words, closed)

    assert code == 0
    assert ("GET /" in out) == (">&-" not in closed.split())
    assert ("Started server process" in err) == ("2>&-" not in closed.split())
