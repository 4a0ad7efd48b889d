"""Formats of access lines and excluded paths: what may be written, what is refused, and what they match."""

from __future__ import annotations

import pytest

from asgiserve.access_format import excluding, read_format
from asgiserve.config import Settings
from asgiserve.errors import ConfigError

FIELDS = {
    "client": "127.0.0.1:5000",
    "method": "GET",
    "target": "/a?b",
    "status": 200,
    "bytes": 13,
    "duration": 1.26,
    "request[user-agent]": "test",
    "response[Content-Type]": "text/plain",
}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{client} "{method} {target}" {status} {bytes} {duration}', '127.0.0.1:5000 "GET /a?b" 200 13 1.3'),
        ("{request[user-agent]}; {response[Content-Type]}", "test; text/plain"),
        ("100% {{literal}} {status}", "100% {literal} 200"),
        ("{status}\t{status}", "200\t200"),
        ("no field", "no field"),
    ],
)
def test_a_format_is_text_with_named_fields(text: str, line: str) -> None:
    assert read_format(text).template % FIELDS == line


def test_a_format_says_what_it_needs() -> None:
    read = read_format("{time} {path} {request[X-A]} {request[X-A]} {response[x-b]}")

    assert read.names == {"time", "path"}
    assert read.request == (("request[X-A]", b"x-a"),)
    assert read.response == (("response[x-b]", b"x-b"),)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{statsu}", "there is no field {statsu}; did you mean {status}?"),
        ("{user-agent}", "there is no field {user-agent}; did you mean {request[user-agent]}?"),
        ("{xyzzy}", "there is no field {xyzzy}; a header is {request[NAME]} or {response[NAME]}"),
        ("{}", "there is no field {}; a header is {request[NAME]} or {response[NAME]}"),
        ("{request[a b]}", "there is no field {request[a b]}; "),
        ("{status:>5}", "{status} takes no form of its own behind its name"),
        ("{status!r}", "{status} takes no form of its own behind its name"),
        ("{status", "expected '}' before end of string; a brace of the text is written twice"),
        ("status}", "Single '}' encountered in format string; a brace of the text is written twice"),
        ("{status}\n", "a line has no control characters"),
        ("{status}\x1b", "a line has no control characters"),
    ],
)
def test_a_format_that_makes_no_sense_is_refused_when_settings_are_made(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.of({"access_log_format": text})

    assert str(caught.value).startswith(f"access_log_format: {reason}")


def test_a_format_with_the_requests_id_needs_the_header_of_it() -> None:
    with pytest.raises(ConfigError, match=r"^access_log_format: \{request_id\} needs request_id_header$"):
        Settings.of({"access_log_format": "{request_id}"})

    assert Settings.of({"access_log_format": "{request_id}", "request_id_header": "X-Id"})


@pytest.mark.parametrize(
    ("path", "excluded"),
    [
        ("/health", True),
        ("/health/", False),
        ("/healthy", False),
        ("/Health", False),
        ("/static/a.css", True),
        ("/static/a/b.css", True),
        ("/static", False),
        ("/v1/ready", True),
        ("/v11/ready", False),
        ("/api/x.ico", True),
        ("/h%65alth", False),
        ("/health\nx", False),
    ],
)
def test_paths_are_excluded_by_name_or_by_glob(path: str, excluded: bool) -> None:
    matches = excluding(["/health", "/static/*", "/v?/ready", "*.ico"])

    assert matches is not None
    assert matches(path) is excluded


def test_one_name_alone_is_compared() -> None:
    matches = excluding(["/health"])

    assert matches is not None
    assert (matches("/health"), matches("/health/x")) == (True, False)


def test_without_a_pattern_nothing_is_excluded() -> None:
    assert excluding([]) is None
