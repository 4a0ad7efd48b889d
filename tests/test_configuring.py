"""The command line and its sources: what `--print-config` and `--check` say, and how errors name the place."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import tomllib
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from asgiserve import ConfigError, serve
from asgiserve import run as run_server
from asgiserve.config import OPTIONS, Launch
from asgiserve.from_uvicorn import FOREIGN
from asgiserve.print_config import config_lines
from tests.support.command_line import HELLO, command_line
from tests.support.processes import ran

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.command_line import Run


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "applications.py").write_text(textwrap.dedent(HELLO))
    with command_line(capsys, monkeypatch) as run_main:
        yield run_main


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    def run(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return run


# --- help -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FOREIGN)
def test_help_tells_every_option_that_only_uvicorn_has(run: Run, name: str) -> None:
    option = FOREIGN[name]

    words = " ".join(run("--help").out.split())

    assert f" {option.flag} {'/' if option.form is None else option.form} " in words
    assert option.text in words


@pytest.mark.parametrize(
    "flag", ["--config", "--env-file", "--print-config", "--check", "--install-completion", "--show-completion"]
)
def test_help_tells_what_is_no_setting(run: Run, flag: str) -> None:
    assert f"\n  {flag} " in run("--help").out


# --- errors -----------------------------------------------------------------------------------


def test_a_variable_that_makes_no_sense_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASGISERVE_PORT", "http")

    code, _, err = run("applications:app")

    assert code == 2
    assert "ASGISERVE_PORT: expected a port from 0 to 65535 (0: any free one), but got 'http'" in err


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "timeout_keep_alive = 'soon'",
            "timeout_keep_alive: expected a duration in seconds, 0 or more, or none for no limit, but got 'soon'",
        ),
        (
            "header = [{ X-Frame-Options = 'DENY' }]",
            'header: expected fields of the form "Name: value", or pairs of name and value, but got'
            " [{'X-Frame-Options': 'DENY'}]",
        ),
        (
            "header = [[1, 'x']]",
            "header: expected fields of the form \"Name: value\", or pairs of name and value, but got [[1, 'x']]",
        ),
    ],
)
def test_a_value_in_a_file_that_makes_no_sense_is_named(run: Run, write: Any, text: str, sentence: str) -> None:
    code, _, err = run("--config", write("asgiserve.toml", text), "applications:app")

    assert code == 2
    assert f"asgiserve.toml: {sentence}" in err


def test_a_combination_that_makes_no_sense_is_told_with_the_place(run: Run, write: Any) -> None:
    write("pyproject.toml", "[tool.asgiserve]\nloop = 'uvloop'")

    code, _, err = run("--backend", "trio", "applications:app")

    assert code == 2
    assert "pyproject.toml: loop: uvloop is an event loop for asyncio and cannot run trio" in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--workers", "0"], "--workers: expected a whole number from 1 to 10000, but got '0'"),
        (["--workers", "10001"], "--workers: expected a whole number from 1 to 10000, but got '10001'"),
        (["--limit-worker-memory", "much"], "--limit-worker-memory: expected a number of bytes, 1 or more, with K, M"),
        (["--timeout-worker-healthcheck", "0"], "--timeout-worker-healthcheck: expected more than 0"),
        (
            ["--backlog", "99999999999"],
            "--backlog: expected a whole number from 1 to 2147483647, but got '99999999999'",
        ),
        (
            ["--reload-delay", "none"],
            "--reload-delay: expected a duration in seconds, from 0 to 1000000000, but got 'none'",
        ),
        (["--http2"], "--http2: HTTP/2 is not there yet"),
        (["--log-config", "log.json", "--log-format", "json"], "--log-format: what lines look like is log_config's"),
        (["--access-log-format", "{statsu}"], "--access-log-format: there is no field {statsu}; did you mean"),
        (["--h11-max-incomplete-event-size", "0"], "--h11-max-incomplete-event-size: expected a whole number"),
        (["--env-file", "no.env"], "--env-file: cannot read no.env: No such file or directory"),
        (["--log-config", "no.ini"], "--log-config: cannot use no.ini: "),
    ],
)
def test_what_is_refused_leaves_with_2_and_a_sentence(run: Run, arguments: list[str], sentence: str) -> None:
    code, _, err = run(*arguments, "applications:app")

    assert code == 2
    assert sentence in err


def test_web_concurrency_that_is_no_number_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "auto")

    code, _, err = run("--check", "applications:app")

    assert code == 2
    assert "WEB_CONCURRENCY: expected a whole number from 1 to 10000, but got 'auto'" in err


# --- the check --------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_check_says_yes_and_leaves_with_0(run: Run, backend: str) -> None:
    assert run("--check", "--backend", backend, "applications:app")[:2] == (0, "Yes: applications:app can be served.\n")


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["applications:ap"], 3, "applications has no 'ap'; did you mean app?"),
        (["applications:app", "--port", "x"], 2, "--port: expected a port"),
        (["applications:app", "--bind", "nonsense"], 3, "--bind: expected HOST:PORT, [IPv6]:PORT, unix:PATH"),
        (["applications:app", "--header", "a b: c"], 3, "--header: "),
        (["applications:app", "--ssl-certfile", "no.pem"], 3, "no.pem"),
        (["applications:app", "--config", "no.toml"], 2, "--config: cannot read no.toml"),
    ],
)
def test_the_check_says_no_with_the_reason_and_leaves_as_the_start_would(
    run: Run, arguments: list[str], code: int, sentence: str
) -> None:
    left, out, err = run("--check", *arguments)

    assert (left, out) == (code, "")
    assert err.startswith("No: ")
    assert sentence in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--user", "no-such-user"], "--user: this machine has no user 'no-such-user'"),
        (["--group", "users"], "--group: needs user"),
        (["--uds", "a.sock", "--uds-group", "no-such-group"], "--uds-group: this machine has no group"),
        (["--pid-file", "nowhere/a.pid"], "--pid-file: nowhere/a.pid cannot be made"),
        (["--uds", "nowhere/a.sock"], "--uds: nowhere/a.sock cannot be made"),
        (["--bind", "unix:no/a.sock"], "since there is no directory no\n"),
    ],
)
def test_the_check_says_no_to_what_cannot_be_claimed(run: Run, arguments: list[str], sentence: str) -> None:
    left, out, err = run("--check", *arguments, "applications:app")

    assert (left, out) == (3, "")
    assert err.startswith("No: --")
    assert sentence in err


def test_the_check_binds_nothing_and_starts_nothing(run: Run, write: Any) -> None:
    write("applications.py", "async def app(scope, receive, send): open('called', 'w')")
    path = write("there.sock", "a file, so that binding would fail")
    places = ("--uds", path, "--bind", "unix:@abstract", "--pid-file", "a.pid")

    assert run("--check", *places, "applications:app").code == 0
    assert not os.path.exists("a.pid")
    assert not os.path.exists("called")


def test_the_check_reads_the_logging_configuration(run: Run, write: Any) -> None:
    code, _, err = run("--check", "--log-config", write("log.json", '{"version": 2}'), "applications:app")

    assert code == 2
    assert err.startswith("No: --log-config: ")


# --- showing the configuration ----------------------------------------------------------------


def test_the_configuration_is_shown_with_each_origin(run: Run, write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write("pyproject.toml", '[tool.asgiserve]\ntimeout_head = 2.5\napp = "applications:app"\nheader = ["X-A: b"]')
    monkeypatch.setenv("ASGISERVE_LIMIT_CONNECTIONS", "7")
    env_file = write("prod.env", "ASGISERVE_ACCESS_LOG=off\n")

    code, out, err = run("--print-config", "--http", "httptools", "--env-file", env_file)

    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert 'app = "applications:app"  # pyproject.toml: app' in lines
    assert "timeout_head = 2.5  # pyproject.toml: timeout_head" in lines
    assert 'header = ["X-A: b"]  # pyproject.toml: header' in lines
    assert "limit_connections = 7  # ASGISERVE_LIMIT_CONNECTIONS" in lines
    assert "access_log = false  # prod.env: ASGISERVE_ACCESS_LOG" in lines
    assert 'http = "auto"  # --http' in lines
    assert "timeout_keep_alive = 75  # default" in lines
    assert 'timeout_request = "none"  # default' in lines
    assert "# port is not set [default: 8000]  # default" in lines


def test_every_setting_is_shown_once(run: Run) -> None:
    lines = run("--print-config").out.splitlines()

    for name in OPTIONS:
        assert len([line for line in lines if line.startswith((f"{name} = ", f"# {name} is "))]) == 1


def test_what_is_shown_is_a_configuration_file_that_means_the_same(run: Run, write: Any) -> None:
    arguments = [
        *("--timeout-head", "none", "--timeout-body", "0.1", "--limit-request-body", "9", "--port", "0"),
        *("--header", 'X-A: "quoted" \\ \x7f', "--header", "X-B: c", "--no-access-log", "--no-use-colors"),
        *("--backend", "trio", "--bind", "unix:/run/ü.sock", "--root-path", "/a\tb"),
    ]

    first = run("--print-config", *arguments, "applications:app").out
    config = write("asgiserve.toml", first)
    second = run("--print-config", "--config", config).out

    assert tomllib.loads(second) == tomllib.loads(first)
    assert tomllib.loads(first)["header"] == ['X-A: "quoted" \\ \x7f', "X-B: c"]
    changed = [line for line in second.splitlines() if line.endswith("  # asgiserve.toml: timeout_body")]
    assert changed == ["timeout_body = 0.1  # asgiserve.toml: timeout_body"]


def test_a_table_is_shown_as_a_table_that_means_the_same(run: Run, write: Any) -> None:
    table = textwrap.dedent(r"""
        [log_config]
        version = 1
        disable_existing_loggers = false
        extra = [1.0, -7, inf, [], {}, 2026-01-01, 2026-01-01T10:00:00.5Z, 10:00:00, ["a", { b = 1 }]]
        [log_config.formatters."a.b"]
        "()" = "logging.Formatter"
        format = '"%(message)s" \ ü'
        datefmt = "\n\u0000\u00a0\u2028\U000e0001"
        [log_config.loggers."asgiserve.error"]
        handlers = ["default"]
    """)
    first = run("--print-config", "--config", write("first.toml", table)).out

    second = run("--print-config", "--config", write("second.toml", first)).out

    assert tomllib.loads(first)["log_config"] == tomllib.loads(table)["log_config"]
    assert tomllib.loads(second) == tomllib.loads(first)
    assert len([line for line in first.splitlines() if line.endswith("  # first.toml: log_config")]) == 1


def test_a_file_of_variables_that_would_beat_what_is_shown_is_shown_as_a_comment(run: Run, write: Any) -> None:
    variables = write("a.env", "ASGISERVE_PORT=81\nASGISERVE_BACKLOG=5\n")

    def shown(*words: object) -> str:
        out = run("--print-config", *words).out
        for name in ("ASGISERVE_PORT", "ASGISERVE_BACKLOG"):
            os.environ.pop(name, None)  # as for another process
        return out

    whole = shown("--env-file", variables)
    first = shown("--env-file", variables, "--port", "90")
    second = shown("--config", write("asgiserve.toml", first))

    assert tomllib.loads(whole)["env_file"] == str(variables)
    assert first.startswith(f'# env_file = "{variables}"  # --env-file; has other values of port\n')
    assert tomllib.loads(second) == tomllib.loads(first)
    assert (tomllib.loads(second)["port"], tomllib.loads(second)["backlog"]) == (90, 5)


def test_a_hosts_certificate_with_a_comma_is_shown_as_a_list(run: Run, write: Any) -> None:
    table = "ssl_certfile = 'c'\nssl_sni = [['a.test', 'c,d.pem'], 'b.test=c,k', ['c.test', 'e,f', 'k']]"
    first = run("--print-config", "--config", write("first.toml", table)).out

    second = run("--print-config", "--config", write("second.toml", first)).out

    assert tomllib.loads(first)["ssl_sni"] == [["a.test", "c,d.pem"], "b.test=c,k", ["c.test", "e,f", "k"]]
    assert tomllib.loads(second) == tomllib.loads(first)


def test_a_table_that_is_nested_too_deeply_is_not_shown() -> None:
    table: Any = []
    for _ in range(100_000):
        table = [table]

    with pytest.raises(ConfigError, match=r"^log_config: is nested too deeply to be shown$"):
        list(config_lines([Launch(log_config={"a": table})], OPTIONS, {}))


def test_secrets_are_not_shown(run: Run, write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASGISERVE_SSL_KEYFILE_PASSWORD", "hunter2")
    config = write("asgiserve.toml", "ssl_certfile = 'a.pem'\nssl_sni = ['b.example=b.pem,b.key']")

    out = run("--print-config", "--config", config).out

    assert "hunter2" not in out
    assert "# ssl_keyfile_password is set, and not shown  # ASGISERVE_SSL_KEYFILE_PASSWORD\n" in out
    assert 'ssl_sni = ["b.example=b.pem,b.key"]  # asgiserve.toml: ssl_sni\n' in out


def test_settings_that_make_no_sense_are_not_shown(run: Run) -> None:
    code, out, err = run("--print-config", "--port", "x")

    assert (code, out) == (2, "")
    assert "--port: expected a port" in err


# --- what is accepted -------------------------------------------------------------------------


def test_a_command_of_uvicorn_is_accepted_and_says_what_serves(run: Run) -> None:
    code, out, err = run(
        *("--workers", "1", "--loop", "zuvloop", "--http", "httptools", "--ws", "websockets", "--reset-contextvars"),
        *("--ws-per-message-deflate", "false", "--h11-max-incomplete-event-size", "9999", "--check"),
        "applications:app",
    )

    assert (code, out) == (0, "Yes: applications:app can be served.\n")
    assert [line.split(";")[0] for line in err.splitlines()] == [
        "INFO:     --http: httptools is a choice of uvicorn's",
        "INFO:     --ws: websockets is a choice of uvicorn's",
        "INFO:     --loop: zuvloop is a choice of uvicorn's",
        "INFO:     --reset-contextvars: every request has a context of its own anyway",
        "WARNING:  --h11-max-incomplete-event-size: is --limit-request-head here, and sets it",
    ]


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["--ws-per-message-deflate", "true"], "true"),
        (["--ws-per-message-deflate", "False"], "false"),
        (["--ws-per-message-deflate=1"], "true"),
        (["--ws-per-message-deflate=no"], "false"),
        (["--ws-per-message-deflate", "t"], "true"),
        (["--ws-per-message-deflate= N "], "false"),
        (["--ws-per-message-deflate"], "true"),
        (["--no-ws-per-message-deflate"], "false"),
    ],
)
def test_compression_takes_a_word_as_in_uvicorn_or_none(run: Run, words: list[str], value: str) -> None:
    for arguments in ([*words, "applications:app"], ["applications:app", *words]):
        out = run("--print-config", *arguments).out

        no = "no-" if value == "false" else ""
        assert f"\nws_per_message_deflate = {value}  # --{no}ws-per-message-deflate\n" in out
        assert out.startswith('app = "applications:app"  # APP\n')


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["--ws-per-message-deflate=maybe"], "maybe"),
        (["--ws-per-message-deflate="], ""),
        (["--ws-per-message-deflate", ""], ""),
    ],
)
def test_a_word_that_compression_does_not_take_is_no_application(
    run: Run, monkeypatch: pytest.MonkeyPatch, words: list[str], given: str
) -> None:
    monkeypatch.setenv("ASGISERVE_APP", "applications:app")

    code, _, err = run("--check", *words)

    assert code == 2
    assert f"Error: --ws-per-message-deflate: expected true or false, but got {given!r}" in err


def test_a_current_directory_that_is_gone_is_not_needed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    yes = run("--check", "--app-dir", tmp_path, "applications:app")
    no = run("--check", "applications:app")
    reload = run("--check", "--reload", "--app-dir", tmp_path, "applications:app")

    assert yes.out == "Yes: applications:app can be served.\n"
    assert (no.code, no.err) == (3, "No: the current directory is gone; --app-dir names one to import from\n")
    assert (reload.code, reload.err) == (2, "No: --reload: cannot watch .: no such file or directory\n")


@pytest.mark.parametrize(
    ("arguments", "note"),
    [
        (["--reload-dir", "src"], "--reload-dir: does nothing without reload"),
        (["--reload-include", "*.txt"], "--reload-include: does nothing without reload"),
        (["--reload-exclude", "*.txt"], "--reload-exclude: does nothing without reload"),
        (["--limit-max-requests-jitter", "5"], "--limit-max-requests-jitter: does nothing without limit_max_requests"),
        (
            ["--timeout-worker-healthcheck", "30"],
            "--timeout-worker-healthcheck: does nothing without a supervisor, which workers or reload bring",
        ),
        (["--timeout-worker-healthcheck", "30", "--limit-max-requests", "9"], None),
        (["--timeout-worker-healthcheck", "5"], None),
        (["--limit-max-requests-jitter", "5", "--limit-max-requests", "9"], None),
        (["--reload-delay", "0.25"], None),
    ],
)
def test_a_setting_of_processes_that_does_nothing_is_noted(run: Run, arguments: list[str], note: str | None) -> None:
    code, _, err = run("--check", *arguments, "applications:app")

    assert code == 0
    assert err == (f"INFO:     {note}\n" if note else "")


def test_the_application_may_come_from_a_variable(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASGISERVE_APP", "applications:app")

    assert run("--check").out == "Yes: applications:app can be served.\n"


def test_variables_of_a_file_reach_the_application_and_never_replace_others(
    run: Run, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_SET_BEFORE", "environment")
    path = write("prod.env", "TEST_SET_BEFORE=file\nTEST_FROM_FILE=file\n")
    write("applications.py", f"import os\n{textwrap.dedent(HELLO)}\nassert os.environ['TEST_FROM_FILE'] == 'file'")

    assert run("--check", "--env-file", path, "applications:app").code == 0
    assert os.environ["TEST_SET_BEFORE"] == "environment"
    assert os.environ["TEST_FROM_FILE"] == "file"


# --- keywords ---------------------------------------------------------------------------------


async def test_serve_takes_uvicorns_keywords_and_logs_what_serves(
    anyio_backend: object, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "asgiserve.error")
    stop = anyio.Event()
    stop.set()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise NotImplementedError

    await serve(app, stop=stop, port=0, http="httptools", workers=1, reload=False, h11_max_incomplete_event_size=99)

    assert caplog.messages[0].startswith("http: httptools is a choice of uvicorn's; ")


async def test_serve_reads_neither_the_environment_nor_files(
    anyio_backend: object, write: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write("pyproject.toml", "[tool.asgiserve]\nport = 'nonsense'")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASGISERVE_BACKLOG", "nonsense")
    monkeypatch.setenv("WEB_CONCURRENCY", "nonsense")
    stop = anyio.Event()
    stop.set()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise NotImplementedError

    with pytest.raises(ConfigError, match=r"^backlog: "):
        await serve(app, stop=stop, port=0, backlog="nonsense")
    await serve(app, stop=stop, port=0)


async def test_serve_refuses_what_would_change_an_effect(anyio_backend: object) -> None:
    with pytest.raises(ConfigError, match=r"^workers: is for run\(\) and the command line; serve\(\) is one server"):
        await serve(lambda: None, workers=2)  # type: ignore[arg-type]


def test_run_takes_uvicorns_keywords(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "asgiserve.error")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "enough"})

    with pytest.raises(Exception, match="enough"):
        run_server(app, port=0, loop="zuvloop", workers=1, log_config=None)

    assert caplog.messages[0].startswith("loop: zuvloop is a choice of uvicorn's; ")


# --- completion -------------------------------------------------------------------------------


def complete(shell: str, line: str) -> str:
    """What the shell gets for a command line that ends where the cursor is."""
    words = line.split(" ")
    environ = {
        **os.environ,
        "_ASGISERVE_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = ran([sys.executable, "-m", "asgiserve"], env=environ)
    return done.stdout


@pytest.mark.parametrize(
    ("shell", "sign"),
    [
        ("bash", "complete -o default -F _asgiserve_completion asgiserve"),
        ("zsh", "compdef _asgiserve_completion asgiserve"),
        ("fish", "complete --command asgiserve"),
    ],
)
def test_the_completion_of_a_shell_is_written_and_is_a_script(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shell: str, sign: str
) -> None:
    monkeypatch.setenv("_ASGISERVE_COMPLETE", f"source_{shell}")

    code, out, _ = run()

    assert code == 0
    assert sign in out
    if shutil.which(shell):
        (tmp_path / "script").write_text(out)
        assert ran([shell, "-n", tmp_path / "script"]).returncode == 0


@pytest.mark.live
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_options_and_their_words_are_completed(shell: str) -> None:
    options = complete(shell, "asgiserve --timeout-k")
    words = complete(shell, "asgiserve --backend t")

    assert "--timeout-keep-alive" in options
    assert "--port" not in options
    assert "trio" in words
    assert "asyncio" not in words


@pytest.mark.live
def test_bash_completes_by_the_script(tmp_path: Path) -> None:
    command = tmp_path / "asgiserve"
    command.write_text(f"#!/bin/sh\nexec {sys.executable} -m asgiserve\n")
    command.chmod(0o755)
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    typed = "COMP_WORDS=(asgiserve --lifespan o); COMP_CWORD=2; _asgiserve_completion asgiserve"
    script = f'eval "$(_ASGISERVE_COMPLETE=source_bash asgiserve)"; {typed}; printf "%s\n" "${{COMPREPLY[@]}}"'

    done = ran(["bash", "-c", script], env=environ)

    assert done.stdout.split() == ["on", "off"]


# --- real processes ---------------------------------------------------------------------------


@pytest.mark.live
def test_a_process_serves_by_all_its_sources(tmp_path: Path) -> None:
    (tmp_path / "applications.py").write_text(textwrap.dedent(HELLO))
    (tmp_path / "pyproject.toml").write_text('[tool.asgiserve]\napp = "applications:app"\nheader = "X-From: file"\n')
    (tmp_path / "prod.env").write_text("ASGISERVE_BACKEND=trio\nWEB_CONCURRENCY=3\n")
    environ = {**os.environ, "ASGISERVE_PORT": "0", "ASGISERVE_ENV_FILE": "prod.env"}
    process = subprocess.Popen(
        [sys.executable, "-m", "asgiserve", "--no-access-log", "--http", "httptools"],
        cwd=tmp_path,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        lines: list[str] = []
        for line in process.stderr:
            lines.append(line)
            if "running on" in line:
                break
        url = lines[-1].partition("running on ")[2].split()[0]
        assert httpx.get(url).headers["x-from"] == "file"
        process.terminate()
        out, _ = process.communicate(timeout=20)
    finally:
        process.kill()  # nothing, if it has ended
        process.communicate()

    assert process.returncode == 0
    assert out == ""
    assert any(line.startswith("INFO:     --http: httptools is a choice of uvicorn's; ") for line in lines)
    assert any(line.startswith("INFO:     Started supervisor process ") and "3 workers" in line for line in lines)


@pytest.mark.live
@pytest.mark.parametrize(
    ("words", "code", "out", "err"),
    [
        (["--print-config"], 0, "port = 7  # ASGISERVE_PORT\n", ""),
        (["--check", "asgiserve.demo:app"], 0, "Yes: asgiserve.demo:app can be served.\n", ""),
        (["--check", "asgiserve.demo:ap"], 3, "", "No: asgiserve.demo has no 'ap'; did you mean app?\n"),
        (["--config", "no.toml", "a:b"], 2, "", "Error: --config: cannot read no.toml: No such file or directory\n"),
    ],
)
def test_a_process_says_what_it_was_asked_and_leaves(
    tmp_path: Path, words: list[str], code: int, out: str, err: str
) -> None:
    done = ran([sys.executable, "-m", "asgiserve", *words], cwd=tmp_path, env={**os.environ, "ASGISERVE_PORT": "7"})

    assert done.returncode == code
    assert out in done.stdout
    assert done.stderr.endswith(err)
