"""What becomes of lines that handlers of others do not write, since they raise."""

from __future__ import annotations

import errno
import io
import logging
import sys
from typing import TYPE_CHECKING

import pytest

from asgiserve import logs
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
