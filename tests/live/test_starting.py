"""The command line's start: where it listens, and what it leaves with when it cannot start."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.backends import one_loop_per_library
from tests.live.curl import curl, needs_curl
from tests.live.raw import RawClient
from tests.live.servers import command
from tests.support.processes import START_PATIENCE, ran

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.backends import Backend
    from tests.live.conftest import LiveServers

pytestmark = [pytest.mark.live, one_loop_per_library]

REPORT = "tests.live.applications:report"


def failed_start(target: str, backend: Backend, **settings: Any) -> str:
    """What it says on stderr; fails unless it leaves with code 3, one sentence and no traceback of ours."""
    words = command(target, backend, {"port": 0, **settings})
    done = ran(words)
    assert done.returncode == 3, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    return done.stderr


def test_a_missing_module_is_code_3(anyio_backend: Backend) -> None:
    assert "tests.live.no_such_site" in failed_start("tests.live.no_such_site:app", anyio_backend)


def test_a_missing_attribute_is_code_3(anyio_backend: Backend) -> None:
    assert "reporter" in failed_start("tests.live.applications:reporter", anyio_backend)


def test_a_port_in_use_is_code_3(anyio_backend: Backend) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        said = failed_start(REPORT, anyio_backend, port=port)

    assert f"127.0.0.1:{port}" in said
    assert "lifespan: started" not in said


HAS_NO_THREADS = """
import threading

start = threading.Thread.start

def start_if_possible(thread):
    if thread.name.startswith("asgiserve"):
        raise RuntimeError("can't start new thread")
    start(thread)

threading.Thread.start = start_if_possible
"""


@pytest.mark.parametrize("processes", [{}, {"workers": 2}], ids=["alone", "workers"])
def test_that_the_system_has_no_thread_for_the_server_is_code_3(
    anyio_backend: Backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, processes: dict[str, int]
) -> None:
    (tmp_path / "sitecustomize.py").write_text(HAS_NO_THREADS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    said = failed_start(REPORT, anyio_backend, **processes)

    sentence = (
        "Error: Cannot start a thread: can't start new thread. Limits on processes (ulimit -u, pids) count threads.\n"
    )
    assert said.count(sentence) == 1


def test_a_failed_startup_is_code_3(anyio_backend: Backend) -> None:
    assert "no database" in failed_start("tests.live.applications:fails_to_start", anyio_backend)


@needs_curl
def test_a_unix_socket_serves_and_its_file_goes_with_the_server(live_server: LiveServers, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    server = live_server(REPORT, uds=path)
    assert server.urls == [f"unix:{path}"]

    answer, _ = curl("--unix-socket", path, "http://localhost/x?y=1")

    assert b'"path": "/x"' in answer
    assert b'"client": null' in answer
    server.finish()
    assert not path.exists()


def test_an_inherited_descriptor_serves(live_server: LiveServers) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        number = bound.fileno()
        server = live_server(REPORT, fd=number, pass_fds=[number])
        assert server.port == bound.getsockname()[1]

        with RawClient(server.port) as client:
            assert client.get().status == 200


def test_a_name_is_served_on_all_its_addresses_with_one_port(live_server: LiveServers) -> None:
    expected = {str(found[4][0]) for found in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}

    server = live_server(REPORT, host="localhost", port=0)

    server.stderr.wait_for("asgiserve running on", count=len(expected), patience=START_PATIENCE)
    assert len(server.urls) == len(expected)
    assert {url.rpartition(":")[2] for url in server.urls} == {str(server.port)}
    for address in expected:
        socket.create_connection((address, server.port), timeout=5).close()


def test_a_port_and_a_unix_socket_are_served_by_one_server(live_server: LiveServers, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"

    server = live_server(REPORT, bind="127.0.0.1:0", uds=path)

    server.stderr.wait_for("asgiserve running on", count=2, patience=START_PATIENCE)
    assert server.urls == [f"http://127.0.0.1:{server.port}", f"unix:{path}"]
    for one in (socket.socket(), socket.socket(socket.AF_UNIX)):
        with one:
            one.settimeout(10)
            one.connect(("127.0.0.1", server.port) if one.family == socket.AF_INET else str(path))
            one.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert one.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
