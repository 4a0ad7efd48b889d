"""The error tree: everything that asgiserve raises on purpose.

Who catches what: the command line turns `ConfigError`, `AppLoadError`, `BindError` and `StartupError`
into one sentence and exit code 3; `serve()` and `run()` raise them bare; a connection's driver turns
`RemoteProtocolError` into a response; an application sees `LocalProtocolError` and `ClientDisconnected`
come out of `send()`.

    AsgiserveError
    ├── ConfigError(ValueError)           a setting's value or combination makes no sense
    ├── AppLoadError                      the application cannot be imported, or is none
    ├── BindError(OSError)                an address cannot be bound or listened on
    ├── StartupError                      the application's lifespan startup failed
    ├── ShutdownError                     the application's lifespan ended badly
    ├── WorkerError                       worker processes ended badly, or again and again
    ├── LocalProtocolError(RuntimeError)  the application broke a rule of ASGI or HTTP
    ├── RemoteProtocolError               the peer broke a rule of HTTP; carries the suggested status
    │   └── WebSocketError                the peer broke a rule of WebSocket; carries the close code
    └── ClientDisconnected(OSError)       the peer is gone; raised by a WebSocket's send()
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "AppLoadError",
    "AsgiserveError",
    "BindError",
    "ClientDisconnected",
    "ConfigError",
    "LocalProtocolError",
    "RemoteProtocolError",
    "ShutdownError",
    "StartupError",
    "Terminated",
    "WebSocketError",
    "WorkerError",
    "bare_errors",
    "quoted",
    "reason",
]


class AsgiserveError(Exception):
    """The root: `except AsgiserveError` catches all that asgiserve raises on purpose."""


class ConfigError(AsgiserveError, ValueError):
    """A setting has a value, or a combination of values, that makes no sense. Names setting and value."""


class AppLoadError(AsgiserveError):
    """The application could not be imported, or what was found is not an application."""


class BindError(AsgiserveError, OSError):
    """An address could not be bound or listened on. `errno` is the system's, the text names the address."""


class StartupError(AsgiserveError):
    """The application's lifespan startup failed, or took longer than `timeout_lifespan_startup`; or the system has no
    thread for the server."""


class ShutdownError(AsgiserveError):
    """The application's lifespan failed while serving or shutting down, or overran its limit."""


class WorkerError(AsgiserveError):
    """Worker processes ended badly, or so often that no more of them are started. Raised by `run()` only."""


class LocalProtocolError(AsgiserveError, RuntimeError):
    """The application broke a rule: the text names the message, the state and what was expected."""


class RemoteProtocolError(AsgiserveError):
    """The peer broke a rule of HTTP.

    `status` is the response that the rule's text suggests; the text is safe to send back to the peer: it
    never contains a byte of what the peer sent.
    """

    def __init__(self, text: str, *, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


class WebSocketError(RemoteProtocolError):
    """The peer broke a rule of WebSocket, behind the handshake.

    `code` and `reason` are for the Close frame that fails the connection (RFC 6455 7.1.7). The reason is safe to
    send back, and fits.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class ClientDisconnected(AsgiserveError, OSError):
    """The peer is gone. Raised by `send()` where the scope's `spec_version` is 2.4 or later."""


class Terminated(SystemExit):
    """SIGTERM has come where an exception ends the process. What an application's `sys.exit()` raises is not this."""


def quoted(value: object) -> str:
    """A value as an error shows it. Python writes no number of more than 4300 digits."""
    try:
        return repr(value)
    except Exception:  # somebody's own __repr__ may raise anything
        return f"a value of type {type(value).__name__} that cannot be shown"


def reason(error: Exception) -> str:
    """Why the system has refused something, for the middle or the end of a sentence."""
    return (getattr(error, "strerror", None) or str(error)).lower()


@contextmanager
def bare_errors() -> Iterator[None]:
    """Raise the one error that a group holds instead of the group; its cause stays.

    Task groups wrap even a single error, and whoever called us should not have to know that we use them. A
    group of several stays a group: none of them is *the* error.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from error.__cause__
