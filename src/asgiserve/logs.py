"""The two loggers and the lines that are written to them.

`asgiserve.error` takes everything general, `asgiserve.access` one record per request; the names follow
uvicorn's, where "error" does not mean that something failed. Both are plain loggers that propagate: an
embedding program sees their records wherever its own logging sends them. How the command line shows them is
`log_output.py`'s matter.

Whatever a peer or an application supplies passes `printable()` before it is logged: an escape sequence in a
request target must not reach a terminal, and a line break must not forge a second line.

What handlers and filters of the user's own raise does not leave this file: who logs has something else to do.

Cost matters here, since an access line is written per request: `log_access()` makes its record itself,
because `Logger.info()` would first search the stack for a caller that nobody asks for.

Called from everywhere in the package but by the rules of the wire and of ASGI.
"""

from __future__ import annotations

import functools
import logging
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "LEVELS",
    "TRACE",
    "AccessRecord",
    "access",
    "access_enabled",
    "access_line",
    "general",
    "log_access",
    "log_app_error",
    "log_app_fault",
    "log_critical",
    "log_debug",
    "log_error",
    "log_info",
    "log_internal_error",
    "log_parting",
    "log_refusal",
    "log_trace",
    "log_unstoppable",
    "log_warning",
    "log_websocket",
    "name_trace_level",
    "phrase_of",
    "printable",
    "printable_bytes",
    "printable_lines",
    "request_id",
    "text_of",
    "timestamp",
    "trace_enabled",
]

general: Final = logging.getLogger("asgiserve.error")
access: Final = logging.getLogger("asgiserve.access")

request_id: Final[ContextVar[str]] = ContextVar("asgiserve.request_id")
"""The id of the request whose context this is, where requests have one."""

TRACE: Final = 5
"""uvicorn's level below debug: every ASGI message."""
LEVELS: Final[Mapping[str, int]] = {
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": TRACE,
}


def name_trace_level() -> None:
    """Have level 5 shown as TRACE, and known by that name; unless somebody else in the process has named it."""
    if logging.getLevelName(TRACE) == f"Level {TRACE}":
        logging.addLevelName(TRACE, "TRACE")


def timestamp(seconds: float) -> str:
    """A time of the clock as `2026-11-21T14:50:06.123Z`."""
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


@functools.lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


# --- what peers and applications supply -------------------------------------------------------


def printable(text: str) -> str:
    """`text` with every character that is not printable written as its escape (`\\x1b`, `\\n`, `\\udc80`)."""
    return text if text.isprintable() else "".join(map(_escape, text))


def _escape(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]


def printable_lines(text: str) -> str:
    """The same for a text of several lines. Those below the first are indented, so that none can pass for a line of
    the log."""
    return _BELOW.join(map(printable, text.split("\n")))


_BELOW: Final = "\n" + " " * 10
"""The words of a line begin in the same column."""


def printable_bytes(value: bytes) -> str:
    """What a header's value looks like in a line."""
    return _visible(value.decode("latin-1"))


def _visible(text: str) -> str:
    """Of bytes, decoded as Latin-1, whatever is not visible ASCII is shown as the byte that it is, and so are the
    quotation mark and the backslash, for a line has quotation marks around the text, or may have them."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else f"\\x{ord(c):02x}" for c in text)


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


def log_access(
    record: AccessRecord, request_id: str = "", template: str = "", fields: Mapping[str, Any] | None = None
) -> None:
    """Write one access line: the ordinary one, or the `template` that `--access-log-format` is, with its `fields`.

    The record's `args` are uvicorn's five, since formatters that were written for uvicorn unpack them. What uvicorn
    does not know is in the message already, and in attributes.
    """
    client, method, target, http_version, status, body_bytes, duration_s = record
    duration_ms = duration_s * 1000
    if fields is not None:
        line = _UNSEEN + _escaped(template % fields)
    elif request_id:
        line = f"{access_line(status)} {body_bytes}B {duration_ms:.1f}ms {_escaped(request_id)}"
    else:
        line = f"{access_line(status)} {body_bytes}B {duration_ms:.1f}ms"
    if not (client + method).isprintable():  # one look is cheaper than two calls, and hardly ever more is needed
        client, method = printable(client), printable(method)
    arguments = (client, method, _visible(target), http_version, status)
    try:
        made: Any = access.makeRecord("asgiserve.access", logging.INFO, __file__, 0, line, arguments, None)
        made.bytes = body_bytes
        made.duration_ms = duration_ms
        if request_id:  # without one, the name is free for whoever gives records ids of his own
            made.request_id = request_id
        if fields is not None:
            made.fields = fields
        access.handle(made)
    except Exception:
        _tell_failure(line, arguments)


_UNSEEN: Final = "%.0s" * 5
"""Takes the five `args` of a message that is complete without them."""


def _escaped(text: str) -> str:
    """For Python's `%`."""
    return text.replace("%", "%%")


@functools.lru_cache(maxsize=1024)  # a status has three digits: at most 900 entries
def access_line(status: int, colour: str = "", reset: str = "") -> str:
    """How an access line begins: a template of Python's `%` for the record's five `args`."""
    phrase = phrase_of(status)
    return f'%s - "%s %s HTTP/%s" {colour}%d{" " if phrase else ""}{phrase}{reset}'


def phrase_of(status: int) -> str:
    """What a status is called; empty where it has no name."""
    if status == 499:  # nginx's number for it; the registry has none
        return "Client Closed Request"
    try:
        return HTTPStatus(status).phrase
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
    _log(logging.ERROR, "Exception in ASGI application (%s)", _request(method, path), error=error)


def log_parting(method: str, path: str, error: BaseException) -> None:
    """The application has let the news pass that its peer has left, or that the server stops: one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = text_of(error)
    what = f"{type(error).__name__}{text and f': {text}'}"
    _log(logging.INFO, "ASGI application ended by %s (%s)", what, _request(method, path))


def log_app_fault(method: str, path: str, fault: str) -> None:
    """The application returned, but `fault`: "without starting a response"."""
    _log(logging.ERROR, "ASGI application returned %s (%s)", fault, _request(method, path))


def _request(method: str, path: str) -> str:
    """How a request is called in the log; by its id too, where it has one and we are in its context."""
    known = request_id.get("")
    return f"{printable(method)} {printable(path)}{known and f', request {known}'}"


def log_unstoppable(name: str, method: str, path: str, age: float | None, stack: str) -> None:
    """An application goes on although it was cancelled. `age` is for how many seconds it has been running."""
    _log(
        logging.ERROR,
        "The application %s%s goes on although it was cancelled (%s %s):\n%s",
        name,
        "" if age is None else f", running for {age:.1f} s,",
        printable(method),
        printable(path),
        stack,
    )


# --- everything else --------------------------------------------------------------------------


def trace_enabled() -> bool:
    """Whether traces would go anywhere: ask before making one."""
    return general.isEnabledFor(TRACE)


def log_trace(client: str, text: str) -> None:
    """What happens to the connection of this client, in all detail."""
    _log(TRACE, "%s%s%s", printable(client), client and " - ", text)


def log_debug(text: str, error: BaseException) -> None:
    _log(logging.DEBUG, "%s %s: %s", text, type(error).__name__, text_of(error))


def log_info(text: str) -> None:
    _log(logging.INFO, "%s", text)


def log_warning(text: str) -> None:
    _log(logging.WARNING, "%s", text)


def log_error(text: str, error: BaseException | None = None) -> None:
    _log(logging.ERROR, "%s", text, error=error)


def log_critical(text: str, error: BaseException | None) -> None:
    """What ends the program."""
    _log(logging.CRITICAL, "%s", text, error=error)


def log_internal_error(where: str, error: BaseException) -> None:
    """What came out of `where` is a defect of ours, or an application has corrupted its task."""
    _log(logging.ERROR, "Unexpected error in %s", where, error=error)


def log_websocket(client: str, target: str, outcome: str) -> None:
    """The line of one WebSocket, when it is accepted or refused. A general line, as in uvicorn."""
    _log(logging.INFO, '%s - "WebSocket %s" %s', printable(client) or "-", _visible(target), outcome)


def log_refusal(client: str, status: int, reason: str) -> None:
    """A peer's request broke a rule and was answered with `status`."""
    _log(logging.WARNING, "Invalid HTTP request from %s: %d, %s", client or "a Unix socket", status, reason)


def text_of(error: BaseException) -> str:
    """`str(error)`, also where an application's exception cannot be shown."""
    try:
        return printable(str(error))
    except Exception as failure:  # exceptions are the application's code
        return f"(cannot be shown: {type(failure).__name__})"


# --- the way into Python's logging ------------------------------------------------------------


def _log(level: int, message: str, *arguments: object, error: BaseException | None = None) -> None:
    try:
        general.log(level, message, *arguments, exc_info=error, stacklevel=2)
    except Exception:
        _tell_failure(message, arguments)


def _tell_failure(message: str, arguments: tuple[object, ...]) -> None:
    """A handler, a filter or a record's factory has raised: what Python's handlers do when one of their own fails.

    The guard around each task logs as well, so the whole server would end otherwise.
    """
    if not logging.raiseExceptions or sys.stderr is None:
        return
    try:
        text = f"{traceback.format_exc()}Message: {message!r}\nArguments: {arguments!r}"
        sys.stderr.write(printable_lines(f"--- Logging error ---\n{text}") + "\n")
    except Exception:
        pass  # there is nobody left to tell
