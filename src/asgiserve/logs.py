"""The two loggers, the lines that are written to them, and the command line's way of showing them.

`asgiserve.error` takes everything general, `asgiserve.access` one record per request; the names follow
uvicorn's, where "error" does not mean that something failed. Both are plain loggers that propagate: an
embedding program sees their records wherever its own logging sends them. Only the command line calls
`configure()`.

Whatever a peer or an application supplies passes `printable()` before it is logged: an escape sequence in a
request target must not reach a terminal, and a line break must not forge a second line.

Cost matters here, since an access line is written per request: `log_access()` makes its record itself,
because `Logger.info()` would first search the stack for a caller that nobody asks for.
"""

from __future__ import annotations

import functools
import logging
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AccessRecord",
    "access",
    "access_enabled",
    "configure",
    "general",
    "log_access",
    "log_app_error",
    "log_app_fault",
    "log_debug",
    "log_error",
    "log_info",
    "log_internal_error",
    "log_refusal",
    "log_unstoppable",
    "log_warning",
    "printable",
    "text_of",
]

general: Final = logging.getLogger("asgiserve.error")
access: Final = logging.getLogger("asgiserve.access")


# --- what peers and applications supply -------------------------------------------------------


def printable(text: str) -> str:
    """`text` with every character that is not printable written as its escape (`\\x1b`, `\\n`, `\\udc80`)."""
    return text if text.isprintable() else "".join(map(_escape, text))


def _escape(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]


def _printable_target(target: str) -> str:
    """A URI is ASCII; any other byte of a target, decoded as Latin-1, is shown as the byte that it is."""
    if target.isascii() and target.isprintable():
        return target
    return "".join(c if c.isascii() and c.isprintable() else ascii(c)[1:-1] for c in target)


# --- access lines -----------------------------------------------------------------------------


class AccessRecord(NamedTuple):
    """One request as the access log tells it."""

    client: str
    """The peer's address, "127.0.0.1:5000"; empty where there is none."""
    method: str
    target: str
    """Raw path and query as received, decoded as Latin-1."""
    http_version: str
    status: int
    """What was sent; 499 if the client left before anything was."""
    body_bytes: int
    duration_s: float


def access_enabled() -> bool:
    """Whether an access record would go anywhere: ask before making one."""
    return access.isEnabledFor(logging.INFO)


def log_access(record: AccessRecord) -> None:
    """Write one access line.

    A formatter finds the fields in the record's `args`: client, method, target, HTTP version, status, bytes
    of body, and the duration in milliseconds.
    """
    client, method, target, http_version, status, body_bytes, duration_s = record
    arguments = (
        printable(client),
        printable(method),
        _printable_target(target),
        http_version,
        status,
        body_bytes,
        duration_s * 1000,
    )
    line = _access_line(status)
    access.handle(access.makeRecord("asgiserve.access", logging.INFO, __file__, 0, line, arguments, None))


@functools.lru_cache(maxsize=1024)  # a status has three digits: at most 900 entries
def _access_line(status: int, colour: str = "", reset: str = "") -> str:
    return f'%s - "%s %s HTTP/%s" {colour}%d{_phrase(status)}{reset} %dB %.1fms'


def _phrase(status: int) -> str:
    if status == 499:  # nginx's number for it; the registry has none
        return " Client Closed Request"
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""


# --- errors of applications -------------------------------------------------------------------


def log_app_error(method: str, path: str, error: BaseException) -> None:
    """One ERROR record with the traceback of what the application raised.

    A group with one member is logged as that member: groups nest wherever an application opens a task
    group, and hide the one line that matters.
    """
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    general.error("Exception in ASGI application (%s %s)", printable(method), printable(path), exc_info=error)


def log_app_fault(method: str, path: str, fault: str) -> None:
    """The application returned, but `fault`: "without starting a response"."""
    general.error("ASGI application returned %s (%s %s)", fault, printable(method), printable(path))


def log_unstoppable(method: str, path: str, stack: str) -> None:
    """An application goes on although it was cancelled."""
    general.error(
        "The application goes on although it was cancelled (%s %s):\n%s",
        printable(method),
        printable(path),
        stack,
    )


# --- everything else --------------------------------------------------------------------------


def log_debug(text: str, error: BaseException) -> None:
    general.debug("%s %s: %s", text, type(error).__name__, text_of(error))


def log_info(text: str) -> None:
    general.info("%s", text)


def log_warning(text: str) -> None:
    general.warning("%s", text)


def log_error(text: str, error: BaseException | None = None) -> None:
    general.error("%s", text, exc_info=error)


def log_internal_error(where: str, error: BaseException) -> None:
    """What came out of `where` is a defect of ours, or an application has corrupted its task."""
    general.error("Unexpected error in %s", where, exc_info=error)


def log_refusal(client: str, status: int, reason: str) -> None:
    """A peer's request broke a rule and was answered with `status`."""
    general.warning("Invalid HTTP request from %s: %d, %s", client or "a Unix socket", status, reason)


def text_of(error: BaseException) -> str:
    """`str(error)`, also where an application's exception cannot be shown."""
    try:
        return printable(str(error))
    except Exception as failure:  # exceptions are the application's code
        return f"(cannot be shown: {type(failure).__name__})"


# --- the command line's handlers --------------------------------------------------------------

_RESET: Final = "\x1b[0m"
_LEVEL_COLOURS: Final[Mapping[str, str]] = {
    "DEBUG": "\x1b[36m",
    "INFO": "\x1b[32m",
    "WARNING": "\x1b[33m",
    "ERROR": "\x1b[31m",
    "CRITICAL": "\x1b[91m",
}
_STATUS_COLOURS: Final = ("", "\x1b[37m", "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[91m")
"""By the first digit of the status."""

_WIDTH: Final = 10
"""The level, its colon and the spaces behind: `CRITICAL: ` fits exactly."""


def configure(
    *, level: str, use_colors: bool | None = None, stderr: TextIO | None = None, stdout: TextIO | None = None
) -> None:
    """Show general lines on stderr and access lines on stdout. `use_colors` None: where that is a terminal.

    Touches no logger but our two. They stop propagating, so that an application which configures the root
    logger does not make every line appear twice. A second call replaces the first.
    """
    for logger, stream, formatter in (
        (general, stderr or sys.stderr, _LineFormatter),
        (access, stdout or sys.stdout, _AccessFormatter),
    ):
        handler = logging.StreamHandler(stream)
        handler.setFormatter(formatter(stream.isatty() if use_colors is None else use_colors))
        logger.handlers[:] = [*(each for each in logger.handlers if not _is_ours(each)), handler]
        logger.setLevel(level.upper())
        logger.propagate = False


def _is_ours(handler: logging.Handler) -> bool:
    return isinstance(handler.formatter, _LineFormatter)


class _LineFormatter(logging.Formatter):
    """`INFO:     message`, with a traceback below it, all of it free of control characters."""

    def __init__(self, colours: bool) -> None:
        super().__init__()
        self.colours = colours
        self.prefixes = {name: self._prefix(name) for name in _LEVEL_COLOURS}

    def format(self, record: logging.LogRecord) -> str:
        # The lines of a message below its first are indented, so that none can pass for a line of its own.
        lines = record.getMessage().split("\n")
        text = ("\n" + " " * _WIDTH).join(map(printable, lines))
        if record.exc_info:
            text += "\n" + "\n".join(map(printable, self._traceback(record).split("\n")))
        return (self.prefixes.get(record.levelname) or self._prefix(record.levelname)) + text

    def _prefix(self, level: str) -> str:
        padding = " " * (_WIDTH - 1 - len(level))
        colour = _LEVEL_COLOURS.get(level, "")
        return f"{colour}{level}{_RESET}:{padding}" if self.colours and colour else f"{level}:{padding}"

    def _traceback(self, record: logging.LogRecord) -> str:
        assert record.exc_info
        try:
            return self.formatException(record.exc_info)
        except Exception as failure:  # exceptions are the application's code, and may fail when looked at
            kind = type(record.exc_info[1]).__name__
            return f"{kind} (its traceback could not be formatted: {type(failure).__name__})"


class _AccessFormatter(_LineFormatter):
    """An access line; its arguments were made printable when it was logged."""

    def format(self, record: logging.LogRecord) -> str:
        line, arguments = record.msg, record.args
        if self.colours and isinstance(arguments, tuple) and len(arguments) == 7:
            status = arguments[4]
            assert isinstance(status, int)
            line = _access_line(status, _STATUS_COLOURS[status // 100 % 6], _RESET)
        return (self.prefixes.get(record.levelname) or self._prefix(record.levelname)) + line % arguments
