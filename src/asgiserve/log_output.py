"""The command line's way of showing log lines: where they go, and what they look like there.

Text for people, with colours on a terminal, or one JSON object a line. The lines' words are in `logs.py`; what is
shown by a configuration of the user's own is set up by `log_config.py`. Only the command line calls `configure()`:
`serve()` and `run()` leave logging to the program around them. The formatters can be named in such a program's own
configuration as well.
"""

from __future__ import annotations

import json
import logging
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, Final, TextIO

from asgiserve import logs
from asgiserve.logs import access_line, printable_lines

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AccessFormatter", "JsonFormatter", "TextFormatter", "configure"]

_RESET: Final = "\x1b[0m"
_LEVEL_COLOURS: Final[Mapping[str, str]] = {
    "TRACE": "\x1b[34m",
    "DEBUG": "\x1b[36m",
    "INFO": "\x1b[32m",
    "WARNING": "\x1b[33m",
    "ERROR": "\x1b[31m",
    "CRITICAL": "\x1b[91m",
}
_STATUS_COLOURS: Final = ("", "\x1b[37m", "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[91m")
"""By the first digit of the status."""

_WIDTH: Final = 10
"""The level, its colon and the spaces behind: `CRITICAL: ` fits exactly. `printable_lines` indents by as much."""


def configure(
    *,
    level: str,
    form: str = "text",
    use_colors: bool | None = None,
    stderr: TextIO | None = None,
    stdout: TextIO | None = None,
) -> None:
    """Show general lines on stderr and access lines on stdout, as "text" or "json". `use_colors` None: where that is
    a terminal.

    Touches no logger but our two. They stop propagating, so that an application which configures the root
    logger does not make every line appear twice. A second call replaces the first.
    """
    logs.name_trace_level()
    for logger, lines, stream, formatter in (
        (logs.general, "General lines", stderr or sys.stderr, TextFormatter),
        (logs.access, "Access lines", stdout or sys.stdout, AccessFormatter),
    ):
        handler = _handler(stream, lines)
        colours = _is_terminal(stream) if use_colors is None else use_colors
        handler.setFormatter(JsonFormatter() if form == "json" else formatter(colours))
        logger.handlers[:] = [*(each for each in logger.handlers if not _is_ours(each)), handler]
        logger.setLevel(logs.LEVELS[level])
        logger.propagate = False


def _handler(stream: TextIO | None, lines: str) -> logging.Handler:
    """A program without a terminal, or one whose stream was closed, has None in the place of it."""
    if stream is None:
        return logging.NullHandler()
    if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
        # What its encoding does not have is shown as its escape, as Python itself does on stderr.
        with suppress(OSError):  # it is flushed first
            stream.reconfigure(errors="backslashreplace")
    return _Lines(stream, lines)


class _Lines(logging.StreamHandler[TextIO]):
    """Lines on a stream that may break, a pipe whose reader has gone or a file on a disk that is full: that is told
    once, and not for each line."""

    def __init__(self, stream: TextIO, lines: str) -> None:
        super().__init__(stream)
        self._lines = lines
        """What they are called."""
        self._broken = False

    def flush(self) -> None:
        self.stream.flush()
        self._broken = False

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError) and not self.stream.closed:
            super().handleError(record)
        elif not self._broken:
            self._broken = True  # before it is told, which may be by a line for this stream
            reason = error.strerror if isinstance(error, OSError) else None
            logs.log_error(f"{self._lines} cannot be written: {reason or error}.")


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _is_ours(handler: logging.Handler) -> bool:
    return isinstance(handler.formatter, (TextFormatter, JsonFormatter))


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    assert record.exc_info
    try:
        return formatter.formatException(record.exc_info)
    except Exception as failure:  # exceptions are the application's code, and may fail when looked at
        kind = type(record.exc_info[1]).__name__
        return f"{kind} (its traceback could not be formatted: {type(failure).__name__})"


class TextFormatter(logging.Formatter):
    """`INFO:     message`, with a traceback below it, all of it free of control characters. Only the first line begins
    in the first column: by this people and collectors of logs see where something else begins."""

    def __init__(self, colours: bool = False) -> None:
        super().__init__()
        self.colours = colours
        self.prefixes = {name: self._prefix(name) for name in _LEVEL_COLOURS}

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + _traceback(self, record)
        return (self.prefixes.get(record.levelname) or self._prefix(record.levelname)) + printable_lines(text)

    def _prefix(self, level: str) -> str:
        padding = " " * (_WIDTH - 1 - len(level))
        colour = _LEVEL_COLOURS.get(level, "")
        return f"{colour}{level}{_RESET}:{padding}" if self.colours and colour else f"{level}:{padding}"


class AccessFormatter(TextFormatter):
    """An access line; its arguments were made printable when it was logged."""

    def format(self, record: logging.LogRecord) -> str:
        if hasattr(record, "fields"):
            # The user's own format says all that the line says: a reader of such lines knows no level before it.
            return record.getMessage()
        arguments: Any = record.args
        line = record.msg
        if self.colours and _is_of_request(record):
            line = _coloured(line, arguments[4])
        text = line % arguments if arguments else record.getMessage()
        return (self.prefixes.get(record.levelname) or self._prefix(record.levelname)) + text


def _coloured(line: str, status: int) -> str:
    coloured = access_line(status, _STATUS_COLOURS[status // 100 % 6], _RESET)
    return coloured + line.removeprefix(access_line(status))


def _is_of_request(record: logging.LogRecord) -> bool:
    """Whether it is an access record with all that belongs to it: a queue's handler drops `args`, for one."""
    return hasattr(record, "duration_ms") and bool(record.args)


_ACCESS_KEYS: Final = ("client", "method", "target", "http_version", "status")
"""What the `args` of an access record are."""


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message; of a request its fields, of an error its traceback. ASCII only,
    so that no control character of anybody's is left in it."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": logs.timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if record.name == logs.access.name and _is_of_request(record):
            entry |= _access_entry(record)
        else:
            entry["message"] = _whole(record.getMessage())
            known = logs.request_id.get("")
            if known:
                entry["request_id"] = known
        if record.exc_info:
            entry["exception"] = _whole(_traceback(self, record))
        return json.dumps(entry)


def _access_entry(record: logging.LogRecord) -> dict[str, Any]:
    known = vars(record)
    if "fields" in known:
        return {"message": record.getMessage(), **_entry_of_fields(known["fields"])}
    _, method, target, _, status = known["args"]
    entry = {"message": f"{method} {target} {status}", **dict(zip(_ACCESS_KEYS, known["args"], strict=True))}
    entry |= {"bytes": known["bytes"], "duration_ms": round(known["duration_ms"], 3)}
    if "request_id" in known:
        entry["request_id"] = known["request_id"]
    return entry


def _entry_of_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    for name, value in fields.items():
        group, bracket, header = name.partition("[")
        if bracket:
            entry.setdefault(group, {})[header[:-1].lower()] = value
        elif name == "duration":
            entry["duration_ms"] = round(value, 3)
        elif name != "time":
            entry[name] = value
    return entry


def _whole(text: str) -> str:
    """The text without halves of surrogate pairs: readers of JSON refuse or lose them."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")
