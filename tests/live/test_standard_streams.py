"""The command line without some of its standard streams: whoever started it has closed them."""

from __future__ import annotations

import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.live.raw import RawClient
from tests.live.servers import command

if TYPE_CHECKING:
    from tests.live.backends import Backend

pytestmark = pytest.mark.live

ALL = "<&- >&- 2>&-"


@pytest.mark.parametrize(("closed", "workers"), [("<&-", 1), (">&-", 1), ("2>&-", 1), (ALL, 1), (ALL, 2)])
def test_a_server_without_them_serves_without_their_lines(anyio_backend: Backend, closed: str, workers: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number = listening.fileno()
        words = command("asgiserve.demo:app", anyio_backend, {"fd": number, "workers": workers})
        with subprocess.Popen(
            ["sh", "-c", f'exec "$0" "$@" {closed}', *words],
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

    assert process.returncode == 0
    assert ("GET /" in out) == (">&-" not in closed.split())
    assert ("Started server process" in err) == ("2>&-" not in closed.split())
