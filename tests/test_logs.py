"""The lines: what they look like, what they never contain, and which loggers are left alone."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING

import pytest

from asgiserve import log_output, logs

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORD = logs.AccessRecord("127.0.0.1:5000", "GET", "/a?b", "1.1", 200, 13, 0.0005)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _loggers_as_they_were() -> Iterator[None]:
    names = ("asgiserve.error", "asgiserve.access")
    before = [(each, each.handlers[:], each.level, each.propagate) for each in map(logging.getLogger, names)]
    yield
    for logger, handlers, level, propagate in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate


@pytest.fixture
def err() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def out(err: io.StringIO) -> io.StringIO:
    """Access lines as the command line shows them; general lines go to `err`."""
    stream = io.StringIO()
    log_output.configure(level="info", stderr=err, stdout=stream)
    return stream


# --- the form of lines ------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["INFO", "WARNING", "ERROR", "CRITICAL"])
def test_a_general_line_starts_with_the_level_in_ten_columns(out: io.StringIO, err: io.StringIO, level: str) -> None:
    logs.general.log(getattr(logging, level), "message %d", 7)

    assert err.getvalue() == f"{level}:".ljust(10) + "message 7\n"
    assert out.getvalue() == ""


def test_an_access_line_tells_the_request_status_bytes_and_duration(out: io.StringIO, err: io.StringIO) -> None:
    logs.log_access(RECORD)

    assert out.getvalue() == 'INFO:     127.0.0.1:5000 - "GET /a?b HTTP/1.1" 200 OK 13B 0.5ms\n'
    assert err.getvalue() == ""


@pytest.mark.parametrize(
    ("status", "shown"), [(404, "404 Not Found"), (499, "499 Client Closed Request"), (599, "599")]
)
def test_a_status_is_shown_with_its_phrase_if_it_has_one(out: io.StringIO, status: int, shown: str) -> None:
    logs.log_access(RECORD._replace(status=status))

    assert f'HTTP/1.1" {shown} 13B' in out.getvalue()


def test_formatters_of_others_can_read_the_fields(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "asgiserve.access")

    logs.log_access(RECORD)

    (record,) = caplog.records
    assert record.name == "asgiserve.access"
    assert record.args == ("127.0.0.1:5000", "GET", "/a?b", "1.1", 200)
    assert (vars(record)["bytes"], vars(record)["duration_ms"]) == (13, 0.5)
    assert not hasattr(record, "request_id")
    assert record.getMessage() == '127.0.0.1:5000 - "GET /a?b HTTP/1.1" 200 OK 13B 0.5ms'


# --- colours ----------------------------------------------------------------------------------


def test_a_terminal_gets_coloured_levels_and_statuses() -> None:
    out, err = Terminal(), Terminal()
    log_output.configure(level="info", stderr=err, stdout=out)

    logs.log_access(RECORD)
    logs.log_access(RECORD._replace(status=500))
    logs.general.error("message")

    fine, failed = out.getvalue().splitlines()
    assert fine.startswith("\x1b[32mINFO\x1b[0m:     127.0.0.1")
    assert "\x1b[32m200 OK\x1b[0m 13B" in fine
    assert "\x1b[91m500 Internal Server Error\x1b[0m" in failed
    assert err.getvalue() == "\x1b[31mERROR\x1b[0m:    message\n"


@pytest.mark.parametrize("status", [100, 304, 404, 599, 999])
def test_every_status_has_a_colour(status: int) -> None:
    out = io.StringIO()
    log_output.configure(level="info", use_colors=True, stderr=io.StringIO(), stdout=out)

    logs.log_access(RECORD._replace(status=status))

    assert str(status) in out.getvalue()


def test_colours_can_be_turned_off_on_a_terminal() -> None:
    out = Terminal()
    log_output.configure(level="info", use_colors=False, stderr=Terminal(), stdout=out)

    logs.log_access(RECORD)

    assert "\x1b" not in out.getvalue()


# --- control characters -----------------------------------------------------------------------

CONTROLS = [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "\u2028", "\u202e", "\udc80"]


@pytest.mark.parametrize("character", CONTROLS, ids=ascii)
def test_no_control_character_reaches_a_line(out: io.StringIO, err: io.StringIO, character: str) -> None:
    text = f"a{character}b"
    logs.log_access(logs.AccessRecord(text, text, text, "1.1", 200, 0, 0))
    logs.log_app_error(text, text, ValueError(text))
    logs.general.warning("%s", text)

    shown = out.getvalue() + err.getvalue()
    assert character == "\n" or character not in shown
    assert out.getvalue().count("\n") == 1
    shown.encode()  # no lone surrogate is left that a stream could not write


def test_escapes_name_the_character() -> None:
    assert logs.printable("a\x1b[31m\n\x85\udc80é") == "a\\x1b[31m\\n\\x85\\udc80é"


def test_a_clean_text_is_returned_as_it_is() -> None:
    text = "/café?x=1 2"

    assert logs.printable(text) is text


def test_bytes_of_a_target_that_are_not_ascii_are_shown_as_bytes(out: io.StringIO) -> None:
    logs.log_access(RECORD._replace(target=b"/caf\xc3\xa9\xff".decode("latin-1")))

    assert '"GET /caf\\xc3\\xa9\\xff HTTP/1.1"' in out.getvalue()


def test_a_target_cannot_end_the_quotation_that_it_stands_in(out: io.StringIO) -> None:
    logs.log_access(RECORD._replace(target='/"\\x'))

    assert '"GET /\\x22\\x5cx HTTP/1.1"' in out.getvalue()


def test_a_line_break_in_a_message_cannot_forge_a_line(out: io.StringIO, err: io.StringIO) -> None:
    logs.general.info("first\n%s", "INFO:     forged")

    assert err.getvalue() == "INFO:     first\n          INFO:     forged\n"


# --- errors of applications -------------------------------------------------------------------


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_an_application_error_is_one_record_with_its_traceback(out: io.StringIO, err: io.StringIO) -> None:
    logs.log_app_error("GET", "/path", raised(ValueError("what went wrong")))

    first, *rest = err.getvalue().splitlines()
    assert first == "ERROR:    Exception in ASGI application (GET /path)"
    assert rest[0] == "          Traceback (most recent call last):"
    assert rest[1].startswith('            File "')
    assert "in raised" in rest[1]
    assert rest[-1] == "          ValueError: what went wrong"


def test_an_errors_text_cannot_forge_a_line(out: io.StringIO, err: io.StringIO) -> None:
    error = raised(ValueError("unknown user\nINFO:     forged"))
    error.add_note("a note\nINFO:     forged")
    error.__cause__ = ExceptionGroup("first\nINFO:     forged", [KeyError("INFO:     forged")])

    logs.log_app_error("GET", "/path", error)

    first, *rest = err.getvalue().splitlines()
    assert first.startswith("ERROR:    ")
    assert len(rest) > 10
    assert all(line.startswith(" " * 10) for line in rest)


def test_a_group_of_one_is_logged_as_its_member(caplog: pytest.LogCaptureFixture) -> None:
    member = raised(ValueError("inner"))

    logs.log_app_error("GET", "/", BaseExceptionGroup("outer", [ExceptionGroup("middle", [member])]))

    (record,) = caplog.records
    assert record.exc_info
    assert record.exc_info[1] is member


def test_a_group_of_several_is_logged_whole(out: io.StringIO, err: io.StringIO) -> None:
    logs.log_app_error("GET", "/", ExceptionGroup("outer", [ValueError("one"), KeyError("two")]))

    assert "ValueError: one" in err.getvalue()
    assert "KeyError: 'two'" in err.getvalue()


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


class Unreadable(Exception):
    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]
        raise RuntimeError


def test_an_exception_without_a_text_is_logged_by_its_type(out: io.StringIO, err: io.StringIO) -> None:
    logs.log_app_error("GET", "/path", raised(Mute()))

    assert "Exception in ASGI application (GET /path)" in err.getvalue()
    assert "Mute: <exception str() failed>" in err.getvalue()


def test_an_exception_that_cannot_be_looked_at_is_shown_by_its_type(out: io.StringIO, err: io.StringIO) -> None:
    error = raised(Unreadable())
    record = logging.LogRecord("x", logging.ERROR, "", 0, "message", (), (Unreadable, error, None))

    handlers = [each for each in logs.general.handlers if getattr(each, "stream", None) is err]
    first, *rest = handlers[0].format(record).splitlines()

    assert first == "ERROR:    message"
    # From Python 3.13 on, traceback itself survives such notes.
    shown = ("Unreadable (its traceback could not be formatted: RuntimeError)", "Unreadable")
    assert any(line.endswith(shown) for line in rest)


# --- which loggers ----------------------------------------------------------------------------


def test_only_our_two_loggers_are_configured() -> None:
    root = logging.getLogger()
    before = (root.handlers[:], root.level, logging.getLogger("asgiserve").handlers[:])

    log_output.configure(level="debug", stderr=io.StringIO(), stdout=io.StringIO())

    assert (root.handlers, root.level, logging.getLogger("asgiserve").handlers) == before


def test_a_root_handler_of_the_application_makes_no_second_line(
    out: io.StringIO, err: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = io.StringIO()
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.StreamHandler(theirs)])

    logs.general.warning("once")
    logs.log_access(RECORD)

    assert theirs.getvalue() == ""
    assert err.getvalue().count("once") == 1
    assert out.getvalue().count("GET") == 1


def test_a_second_call_replaces_the_first(out: io.StringIO) -> None:
    later = io.StringIO()
    log_output.configure(level="info", stderr=io.StringIO(), stdout=later)

    logs.log_access(RECORD)

    assert out.getvalue() == ""
    assert later.getvalue().count("\n") == 1


def test_without_configuration_records_propagate_and_info_is_off(caplog: pytest.LogCaptureFixture) -> None:
    assert not logs.access_enabled()

    logs.general.warning("seen")

    assert [record.getMessage() for record in caplog.records] == ["seen"]


@pytest.mark.parametrize(("level", "enabled"), [("debug", True), ("info", True), ("warning", False)])
def test_the_level_decides_whether_access_lines_are_made(level: str, enabled: bool) -> None:
    log_output.configure(level=level, stderr=io.StringIO(), stdout=io.StringIO())

    assert logs.access_enabled() is enabled
