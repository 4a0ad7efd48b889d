"""The command line: what it prints, where, and the code that it leaves with."""

from __future__ import annotations

import errno
import json
import signal
import socket
import subprocess
import sys
import textwrap
from importlib.metadata import version
from typing import TYPE_CHECKING, NoReturn

import anyio
import httpx
import pytest

from asgiserve.config import OPTIONS
from tests.support.command_line import HELLO, command_line
from tests.support.processes import ran

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tests.support.command_line import Run

GROUPS = [
    "Application",
    "Bind",
    "Launch",
    "Processes",
    "HTTP",
    "Limits",
    "Timeouts (seconds, or none)",
    "WebSocket",
    "TLS",
    "Proxies",
    "Logging",
    "From uvicorn",
    "Other",
]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    with command_line(capsys, monkeypatch) as run_main:
        yield run_main


@pytest.fixture
def applications(tmp_path: Path) -> Callable[[str], Path]:
    """Writes the module `applications`; gives the directory for `--app-dir`."""

    def write(source: str) -> Path:
        (tmp_path / "applications.py").write_text(textwrap.dedent(source))
        return tmp_path

    return write


# --- help and version -------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_fits_eighty_columns_and_orders_its_panels(run: Run, flag: str) -> None:
    code, out, _ = run(flag)

    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    titles = [line.rstrip(":") for line in out.splitlines() if line.endswith(":") and line[0] != " "]
    assert titles == GROUPS


@pytest.mark.parametrize("name", OPTIONS)
def test_help_tells_every_setting(run: Run, name: str) -> None:
    option = OPTIONS[name]

    words = " ".join(run("--help").out.split())

    assert f" {option.flag} {'/' if option.form is None else option.form}" in words
    assert option.text in words
    if option.default_text is not None:
        assert f"{option.text} [default: {option.default_text}]" in words


def test_version_tells_what_a_defect_report_needs(run: Run) -> None:
    code, out, _ = run("--version")

    assert code == 0
    for name in ("anyio", "trio", "h11"):
        assert f"{name} {version(name)}" in out
    assert out.startswith("asgiserve ")
    assert "backends: asyncio" in out
    assert sys.version.split()[0] in out


# --- options that make no sense ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--timeout-head", "soon"], "--timeout-head: expected a duration in seconds, 0 or more"),
        (["--timeout-head", "soon"], "but got 'soon'"),
        (["--port", "99999"], "--port: expected a port from 0 to 65535"),
        (["--backend", "curio"], "--backend: expected one of asyncio, trio, but got 'curio'"),
        (["--header", "nonsense"], "--header: expected fields of the form"),
        (["--backend", "trio", "--loop", "uvloop"], "--loop: uvloop is an event loop for asyncio"),
        (["--no-such-option"], "--no-such-option"),
    ],
)
def test_a_usage_error_names_the_flag_and_leaves_with_2(run: Run, arguments: list[str], sentence: str) -> None:
    code, out, err = run(*arguments, "module:app")

    assert code == 2
    assert sentence in err
    assert "Usage: asgiserve" in err
    assert out == ""


def test_a_missing_application_gets_an_example(run: Run) -> None:
    code, _, err = run()

    assert code == 2
    assert "for example: asgiserve myproject.main:app" in err


# --- what fails at the start ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("applications", "for example applications:app"),
        ("absent_module:app", "no module 'absent_module'"),
        ("applications:ap", "did you mean app?"),
        ("applications:text", "is a str"),
        ("applications:create", "use --factory"),
    ],
)
def test_an_application_that_cannot_be_loaded_is_one_sentence(
    run: Run, applications: Callable[[str], Path], target: str, hint: str
) -> None:
    more = "text = ''\ndef create(): return app"
    directory = applications(textwrap.dedent(HELLO) + more)

    code, out, err = run("--app-dir", directory, "--port", "0", target)

    assert code == 3
    assert err.startswith("Error: ")
    assert hint in err
    assert err.count("\n") == 1
    assert out == ""


def test_an_error_inside_the_application_shows_its_traceback_then_a_sentence(
    run: Run, applications: Callable[[str], Path]
) -> None:
    directory = applications("def fail():\n    1 / 0\nfail()")

    code, _, err = run("--app-dir", directory, "--port", "0", "applications:app")

    assert code == 3
    lines = err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "Error: importing applications failed: ZeroDivisionError: division by zero"
    assert "asgiserve" not in err


def test_a_port_in_use_is_told_with_the_address_and_a_way_out(run: Run, applications: Callable[[str], Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        code, _, err = run("--app-dir", applications(HELLO), "--port", port, "applications:app")

    assert code == 3
    assert "Traceback" not in err
    sentence = err.splitlines()[-1]
    assert sentence.startswith("Error: ")
    assert str(port) in sentence
    assert ". Another program has it; choose another port. `" in sentence
    assert sentence.endswith("` shows which; --port takes another port, --port 0 any free one.")


def test_a_unix_socket_in_use_is_told_with_its_path_and_a_way_out(
    run: Run, applications: Callable[[str], Path], tmp_path: Path
) -> None:
    path = tmp_path / "app.sock"
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(path))
        taken.listen()

        code, _, err = run("--app-dir", applications(HELLO), "--uds", path, "applications:app")

    assert code == 3
    tool = "ss -lxp" if sys.platform == "linux" else "lsof -U"
    assert err.splitlines()[-1] == (
        f"Error: Cannot bind unix:{path}: another server listens on it. `{tool}` shows which; --uds takes another path."
    )


def test_a_unix_socket_that_may_not_be_made_is_told_with_a_way_out(
    run: Run, applications: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refused)

    code, _, err = run("--app-dir", applications(HELLO), "--uds", "app.sock", "applications:app")

    assert code == 3
    sentence = "Error: Cannot bind unix:app.sock: permission denied. --uds takes another path."
    assert err.splitlines()[-1] == sentence


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_failed_startup_is_told_and_leaves_with_3(
    run: Run, applications: Callable[[str], Path], backend: str
) -> None:
    directory = applications("""
        async def app(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "no database"})
    """)

    code, _, err = run("--app-dir", directory, "--port", 0, "--backend", backend, "applications:app")

    assert code == 3
    assert "no database" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_an_application_says_of_its_failed_startup_may_have_several_lines(
    run: Run, applications: Callable[[str], Path], form: str
) -> None:
    directory = applications("""
        async def app(scope, receive, send):  # as Starlette does
            await receive()
            try:
                raise RuntimeError("no database")
            except RuntimeError:
                import traceback
                await send({"type": "lifespan.startup.failed", "message": traceback.format_exc()})
                raise
    """)

    code, _, err = run("--app-dir", directory, "--port", 0, "--log-format", form, "applications:app")

    assert code == 3
    lines = [line for line in err.splitlines() if "started" not in line.lower()]
    if form == "json":
        message = json.loads(lines[-1])["message"]
        assert message.splitlines()[-1] == "RuntimeError: no database"
    else:
        begin = lines.index("Error: Application startup failed: Traceback (most recent call last):")
        assert lines[-1] == "          RuntimeError: no database"
        assert all(line.startswith("          ") for line in lines[begin + 1 :])


# --- serving ----------------------------------------------------------------------------------


def _until(lines: Iterable[str], text: str) -> Iterator[str]:
    """The lines up to the first with that text; all of them, if there is none."""
    for line in lines:
        yield line
        if text in line:
            return


@pytest.mark.live
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_it_says_where_it_serves_and_logs_requests_to_stdout(applications: Callable[[str], Path], backend: str) -> None:
    command = [sys.executable, "-m", "asgiserve", "--port", "0", "--backend", backend, "applications:app"]
    process = subprocess.Popen(
        [*command, "--app-dir", str(applications(HELLO))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        lines = list(_until(process.stderr, "running on"))
        url = lines[-1].partition("running on ")[2].split()[0]
        assert httpx.get(f"{url}/path?query").text == "hi"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()  # nothing, if it has ended
        process.communicate()

    assert lines[0] == f"INFO:     Started server process [{process.pid}]\n"
    assert lines[-1] == f"INFO:     asgiserve running on {url} (Press CTRL+C to quit)\n"
    assert url.startswith("http://127.0.0.1:")
    assert '"GET /path?query HTTP/1.1" 200 OK 2B' in out
    assert "GET" not in err
    assert process.returncode == 0


def test_the_module_can_be_run() -> None:
    done = ran([sys.executable, "-m", "asgiserve", "--version"])

    assert done.returncode == 0
    assert f"anyio {version(anyio.__name__)}" in done.stdout
