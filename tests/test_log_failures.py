"""What becomes of lines that cannot be written: by handlers of others that raise, and on streams that break."""

from __future__ import annotations

import errno
import io
import logging
import sys
from typing import TYPE_CHECKING

import pytest

from asgiserve import log_output, logs
from tests.test_logs import RECORD
from tests.test_logs import _loggers_as_they_were as _loggers_as_they_were
from tests.test_logs import err as err
from tests.test_logs import out as out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# --- handlers and filters of others that raise ------------------------------------------------

LOGGED = [
    lambda: logs.log_access(RECORD),
    lambda: logs.log_info("hello"),
    lambda: logs.log_app_error("GET", "/path", ValueError()),
    lambda: logs.log_refusal("127.0.0.1:5000", 400, "reason"),
    lambda: logs.log_internal_error("a connection", ValueError()),
    lambda: logs.log_critical("the end", None),
]


class Broken(logging.Handler):
    """A handler and a filter in one, and both fail."""

    def emit(self, record: logging.LogRecord) -> None:
        raise ConnectionError("the chat is down\nINFO:     forged")

    def filter(self, record: logging.LogRecord) -> bool:
        raise KeyError("the chat is down\nINFO:     forged")


@pytest.fixture(params=["handler", "filter", "filter of a handler", "factory"])
def _broken(request: pytest.FixtureRequest, out: io.StringIO) -> Iterator[None]:
    """Logging in which something of the user's own raises for each record."""
    loggers, broken, factory = (logs.general, logs.access), Broken(), logging.getLogRecordFactory()
    handler = logging.StreamHandler(io.StringIO()) if request.param == "filter of a handler" else broken

    def make(*args: object, **kwargs: object) -> logging.LogRecord:
        raise KeyError("the chat is down\nINFO:     forged")

    if request.param == "factory":
        logging.setLogRecordFactory(make)
    for logger in loggers:
        if request.param == "filter":
            logger.addFilter(broken)
        elif request.param != "factory":
            logger.addHandler(handler)
    if request.param == "handler":
        handler.filter = lambda record: True  # type: ignore[method-assign]
    else:
        handler.addFilter(broken)
    yield
    logging.setLogRecordFactory(factory)
    for logger in loggers:
        logger.removeFilter(broken)
        logger.removeHandler(handler)


@pytest.mark.usefixtures("_broken")
@pytest.mark.parametrize("log", LOGGED)
def test_what_a_handler_or_a_filter_raises_is_told_on_stderr_and_reaches_nobody(
    capsys: pytest.CaptureFixture[str], log: Callable[[], None]
) -> None:
    log()

    first, *rest = capsys.readouterr().err.splitlines()
    assert first == "--- Logging error ---"
    assert any("the chat is down" in line for line in rest)
    assert rest[-2].startswith("          Message: ")
    assert all(line.startswith(" " * 10) for line in rest)


@pytest.mark.parametrize("_broken", ["handler"], indirect=True)
@pytest.mark.usefixtures("_broken")
@pytest.mark.parametrize("log", LOGGED)
def test_it_is_not_told_where_logging_is_told_to_be_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], log: Callable[[], None]
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    log()
    assert capsys.readouterr().err == ""


class Full(io.StringIO):
    """A stream that takes nothing, as long as it is full."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = OSError(errno.ENOSPC, "No space left on device")

    def flush(self) -> None:
        if self.error is not None:
            raise self.error


class Unwritable(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.EPIPE, "Broken pipe")


@pytest.mark.parametrize("_broken", ["handler"], indirect=True)
@pytest.mark.usefixtures("_broken")
@pytest.mark.parametrize("stderr", [None, Unwritable()])
@pytest.mark.parametrize("log", LOGGED)
def test_nor_does_it_reach_anybody_where_it_cannot_be_told(
    monkeypatch: pytest.MonkeyPatch, log: Callable[[], None], stderr: io.StringIO | None
) -> None:
    monkeypatch.setattr(sys, "stderr", stderr)
    log()


# --- streams that break -----------------------------------------------------------------------


def test_that_access_lines_cannot_be_written_is_told_once_until_they_can(err: io.StringIO) -> None:
    out = Full()
    log_output.configure(level="info", stderr=err, stdout=out)

    logs.log_access(RECORD)
    logs.log_access(RECORD)
    assert err.getvalue() == "ERROR:    Access lines cannot be written: No space left on device.\n"

    out.error = None
    out.truncate(0)
    logs.log_access(RECORD)
    assert '"GET /a?b HTTP/1.1" 200 OK' in out.getvalue()
    assert err.getvalue().count("\n") == 1

    out.error = BrokenPipeError(errno.EPIPE, "Broken pipe")
    logs.log_access(RECORD)
    logs.log_access(RECORD)
    assert err.getvalue().splitlines()[1:] == ["ERROR:    Access lines cannot be written: Broken pipe."]


def test_a_stream_that_an_application_has_closed_is_told_once_too(err: io.StringIO) -> None:
    out = io.StringIO()
    log_output.configure(level="info", stderr=err, stdout=out)
    out.close()

    logs.log_access(RECORD)
    logs.log_access(RECORD)

    assert err.getvalue() == "ERROR:    Access lines cannot be written: I/O operation on closed file.\n"


def test_general_lines_that_cannot_be_written_are_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    err = Full()
    log_output.configure(level="info", stderr=err, stdout=io.StringIO())

    logs.log_info("hello")
    logs.log_info("hello")

    assert err.getvalue().count("General lines cannot be written") == 1
    assert capsys.readouterr().err == ""


def test_what_else_fails_in_a_line_is_told_as_python_does(
    out: io.StringIO, err: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    record = logging.LogRecord("x", logging.ERROR, "", 0, "%d", ("no number",), None)

    handlers = [each for each in logs.general.handlers if getattr(each, "stream", None) is err]
    handlers[0].handle(record)

    assert "--- Logging error ---" in capsys.readouterr().err


def test_a_character_that_a_streams_encoding_does_not_have_is_shown_as_its_escape() -> None:
    raw, theirs = io.BytesIO(), io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    log_output.configure(level="info", stderr=theirs, stdout=io.TextIOWrapper(raw, encoding="ascii"))

    logs.log_access(RECORD, "", "%(client)s → %(status)d", {"client": "é", "status": 200})

    assert raw.getvalue() == b"\\xe9 \\u2192 200\n"
    assert theirs.errors == "replace"  # somebody has decided otherwise
