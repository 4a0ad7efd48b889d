"""The command line's lines in their other forms: JSON objects, and a format of the user's own."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from typing import TYPE_CHECKING, Any, cast

import pytest

from asgiserve import log_output, logs
from asgiserve.process.standard_streams import tell
from tests.test_logs import CONTROLS, RECORD, Mute, Terminal, raised
from tests.test_logs import _loggers_as_they_were as _loggers_as_they_were

if TYPE_CHECKING:
    from collections.abc import Callable

FIELDS: dict[str, Any] = {
    "client": "127.0.0.1:5000",
    "method": "GET",
    "target": "/a?b",
    "http_version": "1.1",
    "status": 200,
    "bytes": 13,
    "duration": 0.51239,
}


@pytest.fixture
def shown() -> Callable[[], list[dict[str, Any]]]:
    """Logging as JSON from here on; gives the objects that general lines and access lines have become."""
    out, err = io.StringIO(), io.StringIO()
    log_output.configure(level="debug", form="json", stderr=err, stdout=out)
    return lambda: [json.loads(line) for line in (err.getvalue() + out.getvalue()).splitlines()]


# --- where lines go ---------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["text", "json"])
def test_lines_for_a_stream_that_is_not_there_go_nowhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    log_output.configure(level="info", form=form)
    logs.log_access(RECORD)
    logs.log_info("hello")
    assert "hello" in capsys.readouterr().err

    monkeypatch.setattr(sys, "stderr", None)
    log_output.configure(level="info", form=form)
    logs.log_info("hello")


class Writes(io.RawIOBase):
    """Keeps what each system call would have written."""

    def __init__(self) -> None:
        self.all: list[str] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.all.append(bytes(data).decode())
        return len(data)


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_is_one_write_to_a_stream_without_a_buffer(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    writes = Writes()
    stream = io.TextIOWrapper(cast("io.BufferedWriter", writes), write_through=True)  # as Python does it then
    monkeypatch.setattr(sys, "stderr", stream)
    log_output.configure(level="info", form=form, stdout=stream)
    logs.log_info("one")
    logs.log_access(RECORD)
    tell("Error: three")
    assert len(writes.all) == 3
    assert all(one.index("\n") == len(one) - 1 for one in writes.all)


# --- JSON -------------------------------------------------------------------------------------


def test_a_general_line_is_an_object_with_time_level_and_message(shown: Any) -> None:
    logs.log_info("hello\nworld")

    (entry,) = shown()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry.pop("time"))
    assert entry == {"level": "info", "logger": "asgiserve.error", "message": "hello\nworld"}


def test_an_access_line_is_an_object_with_the_requests_fields(shown: Any) -> None:
    logs.log_access(RECORD._replace(duration_s=0.000_512_39), "abc")

    (entry,) = shown()
    assert entry.pop("time")
    assert entry == {
        "level": "info",
        "logger": "asgiserve.access",
        "message": "GET /a?b 200",
        "client": "127.0.0.1:5000",
        "method": "GET",
        "target": "/a?b",
        "http_version": "1.1",
        "status": 200,
        "bytes": 13,
        "duration_ms": 0.512,
        "request_id": "abc",
    }


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_795_272_606.1239, "2026-11-21T14:50:06.123Z"),
        (1_795_272_606.9999, "2026-11-21T14:50:06.999Z"),
        (1_795_272_607.0, "2026-11-21T14:50:07.000Z"),
    ],
)
def test_a_time_is_utc_with_milliseconds(seconds: float, shown: str) -> None:
    assert logs.timestamp(seconds) == shown


def test_without_an_id_an_object_has_none(shown: Any) -> None:
    logs.log_access(RECORD)
    logs.log_info("hello")

    assert not any("request_id" in entry for entry in shown())


def test_headers_of_a_format_are_in_the_object(shown: Any) -> None:
    headers = {"request[User-Agent]": "curl", "request[accept]": "-", "response[vary]": "x", "time": "now"}
    logs.log_access(RECORD, "", "%(method)s %(request[User-Agent])s", {**FIELDS, **headers})

    (entry,) = shown()
    assert entry["message"] == "GET curl"
    assert entry["request"] == {"user-agent": "curl", "accept": "-"}
    assert entry["response"] == {"vary": "x"}
    assert entry["duration_ms"] == 0.512
    assert (entry["status"], entry["bytes"]) == (200, 13)
    assert entry["time"] != "now"


def test_an_error_is_one_object_with_its_traceback(shown: Any) -> None:
    logs.log_app_error("GET", "/path", raised(ValueError("what went wrong")))
    logs.log_app_error("GET", "/path", raised(Mute()))

    first, second = shown()
    assert first["level"] == "error"
    assert first["message"] == "Exception in ASGI application (GET /path)"
    assert first["exception"].startswith("Traceback (most recent call last):\n")
    assert first["exception"].endswith("\nValueError: what went wrong")
    assert "Mute" in second["exception"]


@pytest.mark.parametrize("character", CONTROLS, ids=ascii)
def test_no_control_character_reaches_an_object(character: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    log_output.configure(level="info", form="json", stderr=err, stdout=out)
    text = f"a{character}b"

    logs.log_access(logs.AccessRecord(text, text, text, "1.1", 200, 0, 0))
    logs.log_app_error(text, text, ValueError(text))
    logs.general.warning("%s", text)

    lines = (out.getvalue() + err.getvalue()).splitlines()
    assert len(lines) == 3
    assert all(line.isascii() and line.isprintable() for line in lines)
    for line in lines:
        json.dumps(json.loads(line), ensure_ascii=False).encode()  # no half of a surrogate pair


def test_a_terminal_changes_nothing_for_objects() -> None:
    out = Terminal()
    log_output.configure(level="info", form="json", use_colors=True, stderr=Terminal(), stdout=out)

    logs.log_access(RECORD)

    assert json.loads(out.getvalue())["status"] == 200


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_second_call_replaces_the_first_whatever_their_forms(form: str) -> None:
    first, second = io.StringIO(), io.StringIO()
    log_output.configure(level="info", form="json", stderr=io.StringIO(), stdout=first)
    log_output.configure(level="info", form=form, stderr=io.StringIO(), stdout=second)

    logs.log_access(RECORD)

    assert first.getvalue() == ""
    assert second.getvalue().count("\n") == 1


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_record_of_somebody_elses_on_the_access_logger_is_shown(form: str) -> None:
    out = io.StringIO()
    log_output.configure(level="info", form=form, use_colors=True, stderr=io.StringIO(), stdout=out)

    logs.access.info("100%")
    logs.access.info("one %s", "argument")

    first, second = out.getvalue().splitlines()
    assert "100%" in first
    assert "one argument" in second


# --- a format of the user's own ---------------------------------------------------------------


@pytest.mark.parametrize("colours", [False, True])
def test_a_line_of_the_users_format_has_nothing_else_in_it(colours: bool) -> None:
    out = io.StringIO()
    log_output.configure(level="info", use_colors=colours, stderr=io.StringIO(), stdout=out)

    logs.log_access(RECORD, "", '%(client)s "%(method)s %(target)s" %(status)d', FIELDS)

    assert out.getvalue() == '127.0.0.1:5000 "GET /a?b" 200\n'


def test_formatters_of_others_find_the_fields_of_such_a_line_by_name(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "asgiserve.access")

    logs.log_access(RECORD, "", "100%% %(method)s %(status)d", FIELDS)

    (record,) = caplog.records
    assert vars(record)["fields"] == FIELDS
    assert record.args == ("127.0.0.1:5000", "GET", "/a?b", "1.1", 200)
    assert record.getMessage() == "100% GET 200"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"curl/8", "curl/8"),
        (b'a"b', "a\\x22b"),
        (b"a\\b", "a\\x5cb"),
        (b"\xc3\xa9\x1b[31m", "\\xc3\\xa9\\x1b[31m"),
        (b"a\tb", "a\\x09b"),
    ],
)
def test_bytes_of_a_header_that_could_change_a_line_are_shown_as_bytes(value: bytes, shown: str) -> None:
    assert logs.printable_bytes(value) == shown


# --- ids and the level trace ------------------------------------------------------------------


@pytest.mark.parametrize("colours", [False, True])
def test_the_id_of_a_request_ends_its_line(colours: bool) -> None:
    out = io.StringIO()
    log_output.configure(level="info", use_colors=colours, stderr=io.StringIO(), stdout=out)

    logs.log_access(RECORD, "abc%s")

    assert out.getvalue().endswith(" 13B 0.5ms abc%s\n")
    assert ("\x1b[32m200 OK\x1b[0m" in out.getvalue()) is colours


def test_the_level_trace_has_a_name() -> None:
    err = io.StringIO()
    log_output.configure(level="trace", stderr=err, stdout=io.StringIO())

    logs.log_trace("127.0.0.1:5000", "something")
    logs.log_trace("", "nobody")

    assert err.getvalue() == "TRACE:    127.0.0.1:5000 - something\nTRACE:    nobody\n"


@pytest.mark.parametrize(("level", "enabled"), [("trace", True), ("debug", False)])
def test_only_the_level_trace_traces(level: str, enabled: bool) -> None:
    log_output.configure(level=level, stderr=io.StringIO(), stdout=io.StringIO())

    assert logs.trace_enabled() is enabled


def test_a_name_that_others_gave_to_the_level_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    before = logging.getLevelName(logs.TRACE)
    logging.addLevelName(logs.TRACE, "FINEST")
    try:
        err = io.StringIO()
        log_output.configure(level="trace", stderr=err, stdout=io.StringIO())
        logs.log_trace("", "something")
    finally:
        logging.addLevelName(logs.TRACE, before)

    assert err.getvalue() == "FINEST:   something\n"
