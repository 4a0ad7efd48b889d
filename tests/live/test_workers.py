"""Several worker processes: who serves, what ends one, and what the others do then."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live.backends import one_loop_per_library
from tests.live.raw import RawClient, request
from tests.live.servers import PATIENCE, command
from tests.support.processes import START_PATIENCE, ran

if TYPE_CHECKING:
    from tests.live.backends import Backend
    from tests.live.conftest import LiveServers
    from tests.live.servers import ProcessServer

pytestmark = [pytest.mark.live, one_loop_per_library]

SITE = "tests.live.worker_site:app"


def pid_of(client: RawClient, path: str = "/") -> int:
    answer = client.get(path)
    assert answer.status == 200
    return int(answer.body)


def assert_gone(pid: int) -> None:
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def connect_until_refused(port: int) -> None:
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        with RawClient(port):
            time.sleep(0.01)  # a poll; without it the queue that the last one empties is filled for ever


def lifespans(server: ProcessServer) -> int:
    return server.stderr.text.count("lifespan: stopped")  # the line's end is another write


# --- serving and stopping ---------------------------------------------------------------------


def test_workers_share_the_port_and_each_runs_its_lifespan(live_server: LiveServers) -> None:
    server = live_server(SITE, workers=2)
    pids = server.wait_workers(2)
    seen: set[int] = set()

    while seen != set(pids):
        with RawClient(server.port) as client:
            seen.add(pid_of(client))

    server.send_signal(signal.SIGTERM)
    assert server.wait_exit() == 0
    assert lifespans(server) == 2
    assert server.stderr.text.count("asgiserve running on ") == 1
    for pid in pids:
        assert_gone(pid)


def test_a_stop_lets_requests_finish_and_refuses_new_connections(live_server: LiveServers) -> None:
    server = live_server(SITE, workers=2, timeout_graceful_shutdown=60)
    server.wait_workers(2)
    port = server.port
    with RawClient(port) as client:
        client.send(request("/body", "Content-Length: 2", method="POST") + b"a")
        server.stderr.wait_for("request: entered")

        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Waiting for at most")
        with pytest.raises(ConnectionError):  # refused, at the latest when the last of them has closed its listener
            connect_until_refused(port)
        client.send(b"b")

        assert client.answer("POST").status == 200
    assert server.wait_exit() == 0


def test_a_second_signal_cancels_what_runs(live_server: LiveServers) -> None:
    server = live_server(SITE, workers=2, timeout_graceful_shutdown=60)
    server.wait_workers(2)
    with RawClient(server.port) as client:
        client.send(request("/stuck"))
        server.stderr.wait_for("request: entered")
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Waiting for at most")

        server.send_signal(signal.SIGTERM)

        assert client.answer().status == 503
        assert server.wait_exit() == 0
    assert lifespans(server) == 2


def test_workers_serve_on_for_the_delay_of_a_stop(live_server: LiveServers) -> None:
    server = live_server(SITE, workers=2, shutdown_delay=600)
    server.wait_workers(2)

    server.send_signal(signal.SIGTERM)
    server.stderr.wait_for("Serving on for 600 s", 2)

    with RawClient(server.port) as client:
        answer = client.get()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    server.send_signal(signal.SIGTERM)
    assert server.wait_exit() == 0
    assert lifespans(server) == 2


def test_one_that_ends_during_the_delay_takes_nobodys_socket_away(live_server: LiveServers, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    server = live_server(SITE, workers=2, uds=path, shutdown_delay=20)
    server.expected_code = 1  # the one that is killed
    first, second = server.wait_workers(2)
    server.send_signal(signal.SIGTERM)
    server.stderr.wait_for("Serving on for 20 s", 2)

    os.kill(first, signal.SIGKILL)
    server.stderr.wait_for(f"Worker [{first}] was ended by SIGKILL")

    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(path))
        client.sendall(request())
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
    os.kill(second, signal.SIGKILL)
    assert server.wait_exit() == 1
    assert not path.exists()


def test_the_log_says_how_the_last_worker_ended_at_a_stop(live_server: LiveServers) -> None:
    server = live_server(SITE, workers=1, limit_max_requests=1000, timeout_graceful_shutdown=60)
    server.expected_code = 1
    (worker,) = server.wait_workers(1)
    with RawClient(server.port) as client:
        client.send(request("/stuck"))
        server.stderr.wait_for("request: entered")
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Waiting for at most")

        os.kill(worker, signal.SIGKILL)

        assert server.wait_exit() == 1
    assert f"ERROR:    Worker [{worker}] was ended by SIGKILL.\n" in server.stderr.text


IGNORES_CHILDREN = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_stop_that_overtakes_the_word_of_a_worker_that_has_answered_is_no_failed_start(
    live_server: LiveServers,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number = listening.fileno()
        site, started = "tests.live.worker_site:holds_up_its_supervisor", "Application startup complete"
        server = live_server(site, fd=number, pass_fds=[number], workers=2, ready=started)
        try:
            with RawClient(listening.getsockname()[1]) as client:
                assert client.get().status == 200
        finally:
            server.send_signal(signal.SIGTERM)
            server.send_signal(signal.SIGCONT)
        assert server.wait_exit() == 0, server.stderr.text


def test_workers_end_well_where_sigchld_was_ignored_at_the_start(live_server: LiveServers) -> None:
    """As `trap '' CHLD` of a shell hands it down. The system keeps no exit codes then."""
    server = live_server(SITE, workers=2, wrapper=[sys.executable, "-c", IGNORES_CHILDREN])
    pids = server.wait_workers(2)

    server.send_signal(signal.SIGTERM)

    assert server.wait_exit() == 0
    assert not [pid for pid in pids if f"Worker [{pid}] ended with exit code" in server.stderr.text]


def test_ctrl_c_at_a_terminal_reaches_the_supervisor_alone(live_server: LiveServers) -> None:
    """The terminal signals its whole process group. A request in flight has its time all the same."""
    server = live_server(SITE, workers=2, wrapper=["setsid"])
    server.wait_workers(2)
    with RawClient(server.port) as client:
        client.send(request("/body", "Content-Length: 2", method="POST") + b"a")
        server.stderr.wait_for("request: entered")

        os.killpg(server.process.pid, signal.SIGINT)
        server.stderr.wait_for("Received SIGINT, stopping; again to cancel what still runs.")

        assert client.answer("POST").status == 200
        server.send_signal(signal.SIGINT)
    server.wait_exit()
    assert server.stderr.text.count("Received SIGINT, stopping") == 1
    assert lifespans(server) == 2


def test_workers_end_by_themselves_when_the_supervisor_is_killed(live_server: LiveServers) -> None:
    server = live_server(SITE, workers=2)
    server.expected_code = -signal.SIGKILL
    server.wait_workers(2)

    server.send_signal(signal.SIGKILL)

    server.wait_exit()  # the pipe of stderr ends with the last of them
    assert server.stderr.text.count("The supervisor is gone, stopping.") == 2
    assert lifespans(server) == 2


def test_a_wsgi_application_is_told_that_there_are_several_processes(live_server: LiveServers) -> None:
    server = live_server("tests.live.worker_site:wsgi", workers=2)

    with RawClient(server.port) as client:
        assert client.get().body == b"True"


# --- the start --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("tests.live.worker_site:ap", "Error: tests.live.worker_site has no 'ap'; did you mean app?"),
        ("tests.live.applications:fails_to_start", "Error: Application startup failed: no database"),
    ],
)
def test_an_application_that_does_not_start_is_told_once_and_ends_with_3(
    anyio_backend: Backend, target: str, sentence: str
) -> None:
    done = ran(command(target, anyio_backend, {"workers": 4, "port": 0}))

    assert done.returncode == 3
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    assert errors[0].startswith(sentence)
    assert re.fullmatch(
        r"Error: The first worker ended with exit code 3 before it was ready: it says why above\.", errors[1]
    )
    assert len(errors) == 2


def test_a_worker_that_cannot_log_as_the_settings_say_has_a_sentence_for_it_and_ends_with_3(
    anyio_backend: Backend, tmp_path: Path
) -> None:
    """Here a file that may not be there yet, and that the supervisor has made; with `--user`, one that is root's."""
    table = {"handlers": {"file": {"class": "logging.FileHandler", "filename": str(tmp_path / "log"), "mode": "x"}}}
    path = tmp_path / "log.json"
    path.write_text(json.dumps({"version": 1, "root": {"handlers": ["file"]}, **table}))
    settings = {"workers": 2, "port": 0, "log_config": path}

    done = ran(command(SITE, anyio_backend, settings))

    assert done.returncode == 3
    first, second = done.stderr.splitlines()
    assert first.startswith(f"Error: --log-config: {path}: Unable to configure handler 'file': [Errno 17] File exists")
    assert second == "Error: The first worker ended with exit code 3 before it was ready: it says why above."


def test_a_signal_during_startup_ends_it_with_the_code_of_the_signal(live_server: LiveServers) -> None:
    server = live_server("tests.live.applications:never_starts", workers=2, ready="lifespan: entered")
    server.expected_code = 143

    server.send_signal(signal.SIGTERM)

    assert server.wait_exit() == 143


# --- one worker ends --------------------------------------------------------------------------


def test_a_worker_that_dies_is_replaced_and_the_other_serves_on(live_server: LiveServers) -> None:
    server = live_server(SITE, workers=2)
    first, second = server.wait_workers(2)

    os.kill(first, signal.SIGKILL)

    server.stderr.wait_for(f"Worker [{first}] was ended by SIGKILL (by hand, or by the system because memory ran out)")
    third = server.wait_workers(3)[-1]
    assert third not in (first, second)
    with RawClient(server.port) as client:
        assert pid_of(client) in (second, third)


def hold(pid: int) -> None:
    """Stop a process, and wait until it stands still: on a busy machine one of its threads may run on for a while."""
    os.kill(pid, signal.SIGSTOP)
    tasks = Path(f"/proc/{pid}/task")
    while tasks.exists() and not all(_state(one) == "T" for one in tasks.iterdir()):
        time.sleep(0.01)


def _state(task: Path) -> str:
    return (task / "stat").read_text().rpartition(")")[2].split()[0]


def test_a_connection_waits_while_no_worker_is_there(live_server: LiveServers) -> None:
    server = live_server(SITE, workers=1, limit_max_requests=1000)
    (first,) = server.wait_workers(1)
    hold(first)
    with RawClient(server.port) as client:
        client.send(request())

        os.kill(first, signal.SIGKILL)

        answer = client.answer()
        assert answer.status == 200
        assert int(answer.body) == server.wait_workers(2)[-1]


def test_sigterm_to_one_worker_drains_it_and_another_one_takes_its_place(live_server: LiveServers) -> None:
    server = live_server(SITE, workers=2, timeout_graceful_shutdown=60)
    server.wait_workers(2)
    with RawClient(server.port) as client:
        pid = pid_of(client)
        client.send(request("/body", "Content-Length: 2", method="POST") + b"a")
        server.stderr.wait_for("request: entered")

        os.kill(pid, signal.SIGTERM)

        server.stderr.wait_for(f"Worker [{pid}] accepts no more, and not by our word.")
        server.wait_workers(3)
        client.send(b"b")
        assert client.answer("POST").status == 200
    server.stderr.wait_for(f"Worker [{pid}] has ended.")


def test_signals_for_the_supervisor_do_nothing_to_a_worker_whose_lines_have_its_name(live_server: LiveServers) -> None:
    """`pkill -HUP asgiserve` reaches all of them."""
    server = live_server(SITE, workers=1, limit_max_requests=1000)
    (worker,) = server.wait_workers(1)
    server.stderr.wait_for(f"INFO:     [{worker}] Application startup complete.", patience=START_PATIENCE)

    for number in (signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR1):
        os.kill(worker, number)

    server.stderr.wait_for("0 connections")
    with RawClient(server.port) as client:
        assert pid_of(client) == worker


IMPORTS_SLOWLY = """
import os, pathlib, subprocess, sys, time
from tests.live.saying import say
from tests.live.worker_site import app

ignores = "import signal; print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)"
print("programs ignore it:", subprocess.check_output([sys.executable, "-c", ignores], text=True).strip(), flush=True)
say(f"import: entered by {os.getpid()}")
while not pathlib.Path(__file__).with_name("go on").exists():
    time.sleep(0.01)
"""


def test_nor_do_they_while_it_imports_the_application(live_server: LiveServers, tmp_path: Path) -> None:
    (tmp_path / "imports_slowly.py").write_text(IMPORTS_SLOWLY)
    options = {"limit_max_requests": 1000, "app_dir": tmp_path}
    server = live_server("imports_slowly:app", ready="import: entered", **options)
    worker = int(server.stderr.wait_for("import: entered").rpartition(" ")[2])

    for number in (signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR1):
        os.kill(worker, number)
    (tmp_path / "go on").touch()

    assert server.wait_workers(1) == [worker]
    server.stdout.wait_for("programs ignore it: False")
    os.kill(worker, signal.SIGUSR1)
    server.stderr.wait_for("0 connections")


# --- more, less, and what goes on -------------------------------------------------------------


def test_sigttin_adds_a_worker_and_sigttou_takes_one_away(live_server: LiveServers) -> None:
    server = live_server(SITE, workers=2)
    server.wait_workers(2)

    server.send_signal(signal.SIGTTIN)
    server.stderr.wait_for("3 workers from now on.")
    third = server.wait_workers(3)[-1]

    server.send_signal(signal.SIGTTOU)
    server.stderr.wait_for(f"Worker [{third}] has ended.")
    assert_gone(third)


def test_sigusr1_tells_what_each_worker_does_also_one_that_is_blocked(live_server: LiveServers) -> None:
    server = live_server(SITE, workers=2, timeout_graceful_shutdown=0.1, timeout_lifespan_shutdown=0.1)
    server.expected_code = 1  # the blocked one ends badly
    first, second = server.wait_workers(2)
    with RawClient(server.port) as client:
        client.send(request("/block"))
        server.stderr.wait_for("request: blocks the loop")

        server.send_signal(signal.SIGUSR1)

        for pid in (first, second):
            server.stderr.wait_for(f"worker [{pid}], ready for ")
        server.stderr.wait_for("GET /block, no answer yet")
        assert "2 of 2 wanted worker processes" in server.stderr.text
        server.send_signal(signal.SIGTERM)
        assert server.wait_exit() == 1


def test_sigusr1_is_answered_after_a_worker_that_died_before_it_had_answered(
    live_server: LiveServers,
) -> None:
    server = live_server(SITE, workers=1, limit_max_requests=1000)
    (first,) = server.wait_workers(1)
    with RawClient(server.port) as client:
        forked = int(client.get("/fork").body)
    try:
        hold(first)
        server.send_signal(signal.SIGUSR1)
        server.send_signal(signal.SIGTTOU)
        server.stderr.wait_for("The last worker stays")  # so the first signal has been heard as well
        os.kill(first, signal.SIGKILL)
        second = server.wait_workers(2)[-1]

        server.send_signal(signal.SIGUSR1)

        server.stderr.wait_for(f"worker [{second}], ready for ")
        server.stderr.wait_for("0 connections")
        assert re.search(rf"worker \[{first}\], .*: does not answer", server.stderr.text)
    finally:
        os.kill(forked, signal.SIGKILL)


# --- run() ------------------------------------------------------------------------------------

PROGRAM = """
import signal

import asgiserve

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
before = [signal.getsignal(number) for number in signal.valid_signals()]
asgiserve.run("worker_application:app", workers=2, port=0, backend="{backend}", loop="{loop}")
assert before == [signal.getsignal(number) for number in signal.valid_signals()]
print("run() has returned")
"""

APPLICATION = """
from tests.live.worker_site import app
"""


MADE_HERE = """
import sys
import types

import asgiserve

made_here = sys.modules["made_here"] = types.ModuleType("made_here")
exec("class Filter: pass", made_here.__dict__)
config = {"version": 1, "filters": {"a": {"()": made_here.Filter}}, "root": {"handlers": ["none"]}}
config["handlers"] = {"none": {"class": "logging.NullHandler"}}
try:
    asgiserve.run("tests.live.worker_site:app", workers=2, port=0, backend="BACKEND", log_config=config)
except asgiserve.StartupError as error:
    print(error)
"""


def test_a_worker_that_cannot_read_its_settings_has_a_sentence_for_it(anyio_backend: Backend) -> None:
    words = [sys.executable, "-c", MADE_HERE.replace("BACKEND", anyio_backend[0])]

    done = ran(words)

    assert done.stderr == "Error: cannot read what the supervisor has sent: No module named 'made_here'\n"
    assert done.stdout == "The first worker ended with exit code 3 before it was ready: it says why above.\n"


def test_run_takes_workers_and_returns_after_a_signal(anyio_backend: Backend, tmp_path: Path) -> None:
    backend, _ = anyio_backend
    (tmp_path / "program.py").write_text(PROGRAM.format(backend=backend, loop="auto"))
    (tmp_path / "worker_application.py").write_text(APPLICATION)
    root = os.path.abspath(os.curdir)
    process = subprocess.Popen(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        ready = 0
        for line in process.stderr:
            ready += "is ready" in line
            if ready == 2:
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=START_PATIENCE)
    finally:
        process.kill()
        process.wait()

    assert process.returncode == 0
    assert out == "run() has returned\n"
    assert "Traceback" not in err
