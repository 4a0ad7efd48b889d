"""`--log-config`: logging by a file of the user's, in each of the forms."""

from __future__ import annotations

import json
import logging
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from asgiserve import logs
from asgiserve.errors import ConfigError, StartupError
from asgiserve.log_config import configure_from
from asgiserve.starting import run
from tests.support.command_line import HELLO, command_line
from tests.support.processes import ran

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asgiserve.types import Receive, Scope, Send

JSON = """
{
  "version": 1,
  "formatters": {"short": {"format": "%(levelname)s/%(name)s/%(message)s"}},
  "handlers": {"file": {"class": "logging.FileHandler", "formatter": "short", "filename": "FILE", "delay": true}},
  "loggers": {"asgiserve": {"handlers": ["file"], "level": "INFO", "propagate": false}}
}
"""
TOML = """
version = 1
formatters.short.format = "%(levelname)s/%(name)s/%(message)s"
handlers.file = {class = "logging.FileHandler", formatter = "short", filename = "FILE", delay = true}
loggers.asgiserve = {handlers = ["file"], level = "INFO", propagate = false}
"""
YAML = """
version: 1
formatters: {short: {format: "%(levelname)s/%(name)s/%(message)s"}}
handlers: {file: {class: logging.FileHandler, formatter: short, filename: FILE, delay: true}}
loggers: {asgiserve: {handlers: [file], level: INFO, propagate: false}}
"""
INI = """
[loggers]
keys = root,ours
[handlers]
keys = file
[formatters]
keys = short
[logger_root]
level = WARNING
handlers =
[logger_ours]
level = INFO
handlers = file
propagate = 0
qualname = asgiserve
[handler_file]
class = FileHandler
formatter = short
args = ("FILE", "a", None, True)
[formatter_short]
format = %(levelname)s/%(name)s/%(message)s
"""
FORMS = {"log.json": JSON, "log.toml": TOML, "log.yaml": YAML, "log.yml": YAML, "log.ini": INI, "log.conf": INI}
OURS = ("asgiserve", "asgiserve.error", "asgiserve.access")


@contextmanager
def logging_put_back() -> Iterator[None]:
    loggers = [logging.getLogger(), *map(logging.getLogger, OURS)]
    before = [(each, each.handlers[:], each.level, each.propagate) for each in loggers]
    others = {each: each.disabled for each in logging.Logger.manager.loggerDict.values() if hasattr(each, "disabled")}
    try:
        yield
    finally:
        for logger, handlers, level, propagate in before:
            for one in set(logger.handlers) - set(handlers):
                one.close()
            logger.handlers[:] = handlers
            logger.setLevel(level)
            logger.propagate = propagate
        for each, disabled in others.items():
            each.disabled = disabled


@pytest.fixture(autouse=True)
def fresh_logging() -> Iterator[None]:
    with logging_put_back():
        for name in OURS:
            logging.getLogger(name).setLevel(logging.NOTSET)
        logging.addLevelName(logs.TRACE, f"Level {logs.TRACE}")  # as before anybody has named it
        yield


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Writes a file of that name, whose handler logs to `out.log` beside it; gives its path."""

    def run(name: str, text: str) -> str:
        (tmp_path / name).write_text(text.replace("FILE", (tmp_path / "out.log").as_posix()))
        return str(tmp_path / name)

    return run


@pytest.mark.parametrize("name", FORMS)
def test_a_file_in_each_form_says_where_our_lines_go(write: Any, tmp_path: Path, name: str) -> None:
    assert configure_from(write(name, FORMS[name]), level=None) == ()

    logs.log_info("hello")
    logs.general.debug("not this")
    logs.access.info("a request")

    lines = (tmp_path / "out.log").read_text().splitlines()
    assert lines == ["INFO/asgiserve.error/hello", "INFO/asgiserve.access/a request"]


@pytest.mark.parametrize("name", FORMS)
def test_a_level_that_is_asked_for_beats_the_file(write: Any, tmp_path: Path, name: str) -> None:
    configure_from(write(name, FORMS[name]), level="error")

    logs.log_warning("not this")
    logs.log_error("this")

    assert (tmp_path / "out.log").read_text().splitlines() == ["ERROR/asgiserve.error/this"]


@pytest.mark.parametrize("name", ["log.json", "log.ini"])
def test_loggers_that_the_file_does_not_name_stay_enabled(write: Any, name: str) -> None:
    other = logging.getLogger("tests.log_config.other")

    configure_from(write(name, FORMS[name].replace("asgiserve", "tests.log_config.named")), level=None)

    assert not other.disabled
    assert not logs.general.disabled


def test_a_file_may_disable_other_loggers(write: Any) -> None:
    other = logging.getLogger("tests.log_config.disabled")

    configure_from(write("log.json", '{"version": 1, "disable_existing_loggers": true}'), level=None)

    assert other.disabled


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("log.json", "{", "Expecting property name"),
        ("log.json", "[]", "expected a dictionary"),
        ("log.json", '{"version": 2}', "Unsupported version: 2"),
        (
            "log.json",
            '{"version": 1, "formatters": {"a": {"()": "no_such_package.Formatter"}}}',
            "Unable to configure formatter 'a': Cannot resolve 'no_such_package.Formatter': No module named",
        ),
        ("log.toml", "x", "Expected '=' after a key"),
        ("log.yaml", "a: [", "while parsing a flow"),
        ("log.ini", "nothing", "File contains no section headers"),
        ("log.ini", "[handlers]", "there is no 'formatters'"),
    ],
)
def test_a_file_that_makes_no_sense_is_named_with_the_reason(write: Any, name: str, text: str, reason: str) -> None:
    path = write(name, text)

    with pytest.raises(ConfigError) as caught:
        configure_from(path, level=None)

    assert str(caught.value).startswith(f"log_config: {path}: ")
    assert reason in str(caught.value)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^log_config: cannot use /no/log.ini: .*No such file or directory"):
        configure_from("/no/log.ini", level=None)


def test_without_pyyaml_the_way_to_it_is_told(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)

    with pytest.raises(ConfigError, match=r"YAML needs PyYAML: pip install 'asgiserve\[yaml\]'$"):
        configure_from(write("log.yaml", YAML), level=None)


def test_a_dictionary_says_where_our_lines_go(tmp_path: Path) -> None:
    table = json.loads(JSON.replace("FILE", (tmp_path / "out.log").as_posix()))

    assert configure_from(table, level=None) == ()
    logs.log_info("hello")

    assert (tmp_path / "out.log").read_text() == "INFO/asgiserve.error/hello\n"
    assert "disable_existing_loggers" not in table


def test_a_dictionary_that_makes_no_sense_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError, match=r"^log_config: the dictionary: Unsupported version: 2$"):
        configure_from({"version": 2}, level=None)


@pytest.mark.parametrize("name", FORMS)
def test_a_file_may_ask_for_the_level_trace(write: Any, tmp_path: Path, name: str) -> None:
    text = FORMS[name].replace('level": "INFO', 'level": "TRACE').replace('level = "INFO', 'level = "TRACE')
    text = text.replace("level: INFO", "level: TRACE").replace("level = INFO", "level = TRACE")

    configure_from(write(name, text), level=None)
    logs.log_trace("", "something")

    assert (tmp_path / "out.log").read_text() == "TRACE/asgiserve.error/something\n"


def test_a_level_that_is_asked_for_may_be_trace(write: Any, tmp_path: Path) -> None:
    configure_from(write("log.json", JSON), level="trace")
    logs.log_trace("", "something")

    assert (tmp_path / "out.log").read_text() == "TRACE/asgiserve.error/something\n"


def test_a_configuration_may_name_our_formatters(write: Any, tmp_path: Path) -> None:
    form = '"short": {"()": "asgiserve.log_output.JsonFormatter"}'
    configure_from(write("log.json", JSON.replace('"short": {"format"', f'{form}, "x": {{"format"')), level=None)
    logs.log_access(logs.AccessRecord("1.2.3.4:5", "GET", "/", "1.1", 200, 0, 0.0))

    assert json.loads((tmp_path / "out.log").read_text())["client"] == "1.2.3.4:5"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("form", ["dictionary", "file"])
def test_run_logs_by_what_it_is_given(write: Any, tmp_path: Path, backend: str, form: str) -> None:
    path = write("log.json", JSON)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "enough"})

    given = json.loads((tmp_path / "log.json").read_text()) if form == "dictionary" else path
    with pytest.raises(StartupError, match="enough"):
        run(app, backend=backend, loop="asyncio" if backend == "asyncio" else "auto", port=0, log_config=given)

    assert "INFO/asgiserve.error/Waiting for application startup.\n" in (tmp_path / "out.log").read_text()


def test_run_has_no_form_of_its_own_where_somebody_has_configured_logging() -> None:
    with pytest.raises(ConfigError, match=r"^log_format: is for who configures no logging"):
        run("no.such:app", log_format="json")


@pytest.mark.parametrize("log_config", [1, "", ["log.ini"]])
def test_what_is_neither_a_file_nor_a_dictionary_is_refused(log_config: Any) -> None:
    with pytest.raises(ConfigError, match=r"^log_config: expected the path of a file, or a dictionary of Python's"):
        run("no.such:app", log_config=log_config)


WHICH = "the loggers here are asgiserve.error and asgiserve.access"

GUNICORNS = """
[loggers]
keys = root, errors
[handlers]
keys =
[formatters]
keys =
[logger_root]
handlers =
[logger_errors]
handlers =
qualname = gunicorn.error
"""


@pytest.mark.parametrize(
    ("name", "content", "warning"),
    [
        ("log.json", '{"version": 1, "loggers": {"uvicorn": {}}}', f"log_config: names uvicorn; {WHICH}"),
        ("log.ini", GUNICORNS, f"log_config: names gunicorn.error; {WHICH}"),
        ("log.json", '{"version": 1}', f"log_config: has no handler for what is logged; {WHICH}"),
    ],
)
def test_a_file_that_shows_nothing_of_what_is_logged_is_told_on_stderr(
    write: Any, tmp_path: Path, name: str, content: str, warning: str
) -> None:
    words = ["--check", "--log-config", str(write(name, content)), "asgiserve.demo:app"]

    done = ran([sys.executable, "-m", "asgiserve", *words], cwd=tmp_path)

    assert (done.returncode, done.stdout) == (0, "Yes: asgiserve.demo:app can be served.\n")
    assert done.stderr == warning.replace("log_config", "--log-config", 1) + "\n"


def test_a_file_made_for_uvicorn_is_noted(write: Any) -> None:
    theirs = {"version": 1, "loggers": {"uvicorn.error": {}, "uvicorn": {}}}
    both = {"version": 1, "loggers": {"uvicorn": {}, "asgiserve.error": {}}}

    assert configure_from(write("log.json", json.dumps(theirs)), level=None) == (
        "log_config: names uvicorn, uvicorn.error; the loggers here are asgiserve.error and asgiserve.access",
    )
    assert configure_from(write("log.json", json.dumps(both)), level=None) == ()


def test_a_level_that_nobody_asked_for_leaves_the_file_its_own(
    write: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write("log.toml", TOML.replace("INFO", "ERROR"))
    with command_line(capsys, monkeypatch) as run:
        run("--log-config", path, "--http", "httptools", "--check", "asgiserve.demo:app")
        quiet = (tmp_path / "out.log").exists()
        run("--log-config", path, "--http", "httptools", "--check", "asgiserve.demo:app", "--log-level", "info")

    assert not quiet
    assert "httptools" in (tmp_path / "out.log").read_text()


def test_the_command_line_logs_by_the_file_and_by_nothing_else(
    write: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "applications.py").write_text("\n".join(line[4:] for line in HELLO.splitlines()))
    with command_line(capsys, monkeypatch) as run:
        code, out, err = run(
            "--log-config", write("log.toml", TOML), "--http", "httptools", "--check", "applications:app"
        )

    assert (code, out, err) == (0, "Yes: applications:app can be served.\n", "")
    assert (tmp_path / "out.log").read_text().startswith("INFO/asgiserve.error/--http: httptools is a choice")
