"""`--reload`: files change, and what serves changes with them."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.live.backends import one_loop_per_library
from tests.live.raw import RawClient, request
from tests.live.test_rolling import answer_of, write
from tests.support.processes import START_PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.live.conftest import LiveServers
    from tests.live.servers import ProcessServer

pytestmark = [pytest.mark.live, one_loop_per_library]

__all__ = ["write"]


@pytest.fixture
def reloading(live_server: LiveServers, write: Callable[..., Path]) -> Callable[..., ProcessServer]:
    """Serves the application that is written, and watches its directory."""

    def serve(answer: str = "old", more: str = "", **settings: object) -> ProcessServer:
        directory = write(answer, more)
        return live_server(
            "rolling_application:app",
            reload=True,
            app_dir=directory,
            reload_dir=directory,
            **{"reload_delay": 0.05, **settings},
        )

    return serve


def test_a_change_of_the_same_size_and_second_is_served(
    reloading: Callable[..., ProcessServer], tmp_path: Path
) -> None:
    server = reloading("old", wrapper=["env", "-u", "PYTHONDONTWRITEBYTECODE"])
    assert answer_of(server) == b"old"
    assert list((tmp_path / "__pycache__").glob("rolling_application.*"))

    source = tmp_path / "rolling_application.py"
    before = source.stat()
    source.write_text(source.read_text().replace("old", "new"))
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))

    server.stderr.wait_for("Application startup complete.", 2, patience=START_PATIENCE)
    assert answer_of(server) == b"new"


def test_a_change_is_served_and_a_request_meanwhile_waits(
    reloading: Callable[..., ProcessServer], write: Callable[..., Path]
) -> None:
    server = reloading()
    assert answer_of(server) == b"old"
    with RawClient(server.port) as client:
        client.send(request("/", "Content-Length: 2", method="POST") + b"a")  # holds the old worker
        server.stdout.wait_for("request: entered")

        write("new")

        server.stderr.wait_for("Changed: ")
        server.stderr.wait_for("Waiting for at most 5 s")
        with RawClient(server.port) as waiting:
            waiting.send(request())
            assert client.answer("POST").body == b"old"  # a person waits: it was told at once
            assert waiting.answer().body == b"new"
    server.send_signal(signal.SIGINT)
    assert server.wait_exit() == 0
    assert server.stderr.text.count("lifespan: stopped") == 2


def test_code_that_does_not_import_is_shown_and_a_change_brings_it_back(
    reloading: Callable[..., ProcessServer], write: Callable[..., Path]
) -> None:
    server = reloading()

    write("new", more="def :")
    server.stderr.wait_for("SyntaxError: invalid syntax")
    server.stderr.wait_for(
        "ended with exit code 3 before it was ready; waiting for a change of files.", patience=START_PATIENCE
    )
    with RawClient(server.port) as client:
        client.send(request())
        write("right again")
        assert client.answer().body == b"right again"
    server.expect_traceback()


def test_it_may_begin_with_code_that_does_not_import(
    reloading: Callable[..., ProcessServer], write: Callable[..., Path]
) -> None:
    server = reloading(more="import nonsense", ready="waiting for a change of files.")

    write("right")

    server.wait_workers(1)
    assert answer_of(server) == b"right"
    server.expect_traceback()


def test_ctrl_c_ends_it_while_it_waits_for_a_change(reloading: Callable[..., ProcessServer]) -> None:
    server = reloading(more="import nonsense", ready="waiting for a change of files.")
    server.expected_code = 130

    server.send_signal(signal.SIGINT)

    assert server.wait_exit() == 130
    server.expect_traceback()


def test_a_stop_does_not_wait_for_the_delay(reloading: Callable[..., ProcessServer]) -> None:
    server = reloading(reload_delay=1_000_000_000)
    server.send_signal(signal.SIGTERM)

    assert server.wait_exit() == 0


def test_a_change_is_served_when_the_delay_is_longer_than_a_step(
    reloading: Callable[..., ProcessServer], write: Callable[..., Path]
) -> None:
    server = reloading(reload_delay=0.6)

    write("new")

    server.stderr.wait_for("Application startup complete.", 2, patience=START_PATIENCE)
    assert answer_of(server) == b"new"


def test_a_terminal_that_is_closed_ends_it(reloading: Callable[..., ProcessServer]) -> None:
    server = reloading()

    server.send_signal(signal.SIGHUP)

    assert server.wait_exit() == 0
    assert "lifespan: stopped" in server.stderr.text


def test_reload_has_one_worker(live_server: LiveServers, write: Callable[..., Path]) -> None:
    server = live_server("rolling_application:app", reload=True, workers=3, app_dir=write("one"))

    server.wait_workers(1)

    assert "--workers: reload has one worker; 3 are for a server without it" in server.stderr.text


def test_without_watchfiles_it_says_what_to_install(
    tmp_path: Path, live_server: LiveServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "watchfiles.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    server = live_server(
        "asgiserve.demo:app", reload=True, ready="Error: --reload: needs watchfiles: pip install 'asgiserve[reload]'"
    )
    server.expected_code = 2

    assert server.wait_exit() == 2


def test_a_change_is_served_although_the_current_directory_is_gone(
    reloading: Callable[..., ProcessServer], tmp_path: Path
) -> None:
    """As of a checkout that another one has taken the place of. What has changed is said in full then."""
    left = tmp_path / "left"
    left.mkdir()
    # Python itself does not start there with anything in it that is relative, as an empty word is.
    words = [os.curdir, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    imported_from = os.pathsep.join(map(os.path.abspath, words))
    server = reloading("old", wrapper=["env", "-C", str(left), f"PYTHONPATH={imported_from}"])
    left.rmdir()

    source = tmp_path / "rolling_application.py"
    source.write_text(source.read_text().replace("old", "newer"))

    server.stderr.wait_for(f"Changed: {source}")
    server.stderr.wait_for("Application startup complete.", 2, patience=START_PATIENCE)
    assert answer_of(server) == b"newer"
