"""What one server does: where it listens, how it calls the application, what it speaks, how much it takes and how
long it waits.

Declarations only; how they are read, and the rules for them, stand in the package's own docstring.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Final

from asgiserve import setting_values as values
from asgiserve.declaring import Group, setting
from asgiserve.errors import ConfigError

__all__ = ["Application", "Bind", "Http", "Limits", "Timeouts", "WebSockets"]

_INTERACTIVE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind(Group):
    """Where to listen. With nothing given: 127.0.0.1, port 8000."""

    panel: ClassVar[str] = "Bind"

    host: str | None = setting(
        None,
        values.host,
        "Address or name to listen on, every address of a name. [default: 127.0.0.1]",
    )
    port: int | None = setting(None, values.port, "Port to listen on; 0 takes a free one. [default: 8000]")
    uds: str | None = setting(
        None, values.optional_text, "Path of a Unix socket to listen on instead; @NAME for an abstract one (Linux)."
    )
    uds_mode: str | None = setting(
        None, values.file_mode, "Permissions of Unix sockets: 660, say. [default: what the umask leaves]"
    )
    uds_group: str | None = setting(
        None, values.name_or_number, "Group of Unix sockets, by name or number. [default: the process's]"
    )
    fd: int | None = setting(None, values.descriptor, "File descriptor of a bound socket to listen on instead.")
    bind: tuple[str, ...] = setting(
        (),
        values.texts,
        "HOST:PORT, [IPv6]:PORT, unix:PATH, fd:NUMBER, or fd:NAME of a socket from systemd, to listen on; behind it"
        " ,tls=off for plain HTTP. Repeatable.",
    )
    backlog: int = setting(2048, values.queue_length, "Connections that the kernel queues before they are accepted.")

    def __post_init__(self) -> None:
        Group.__post_init__(self)
        places = [*(one.removeprefix("unix:") for one in self.bind if one.startswith("unix:")), self.uds or "@"]
        for name in ("uds_mode", "uds_group"):
            if getattr(self, name) is not None and all(one.startswith("@") for one in places):
                raise ConfigError(f"{name}: is for a Unix socket with a path, and none is to be made; give uds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Application(Group):
    """How the application is called."""

    panel: ClassVar[str] = "Application"

    interface: str = setting(
        "auto",
        values.choice("auto", "asgi3", "asgi2", "wsgi"),
        "The application's interface; auto looks at its signature.",
    )
    wsgi_threads: int = setting(40, values.count, "Threads of a WSGI application, each for one request at a time.")
    lifespan: str = setting(
        "auto",
        values.choice("auto", "on", "off"),
        "Lifespan events; auto goes on without them if the application refuses the scope.",
    )
    root_path: str = setting(
        "", values.root_path, "The path that a proxy mounts the application at, and strips (ASGI's root_path)."
    )
    root_path_kept: bool = setting(
        False, values.flag, "The proxy strips nothing: requests come with the root path, and none is put in front."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Http(Group):
    """What an HTTP exchange does."""

    panel: ClassVar[str] = "HTTP"

    http: str = setting(
        "auto",
        values.choice("auto", "h11"),
        "auto reads ordinary requests directly and the rest with h11; h11 reads all with h11.",
    )
    sendfile: bool = setting(
        False, values.flag, "Offer applications to name files as bodies; middleware that reads bodies must know it."
    )
    server_header: bool = setting(True, values.flag, "Send a Server field, unless the application sends one.")
    date_header: bool = setting(True, values.flag, "Send a Date field, unless the application sends one.")
    header: tuple[tuple[str, str], ...] = setting(
        (), values.header_pairs, 'A field "Name: value" to add to every response. Repeatable.'
    )
    cancel_on_disconnect: bool = setting(
        False, values.flag, "Cancel a request's task when its client goes away before the response is complete."
    )
    task_per_request: bool = setting(
        False, values.flag, "Run every request in a task of its own instead of the connection's."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits(Group):
    """How much is accepted. A limit of None (on the command line: none) is no limit."""

    prefix: ClassVar[str] = "limit_"
    panel: ClassVar[str] = "Limits"

    concurrency: int | None = setting(
        None,
        values.optional_count,
        "Requests in flight; more are answered 503 with Retry-After. Idle connections do not count.",
    )
    connections: int | None = setting(
        None, values.optional_count, "Open connections; more wait unaccepted in the kernel's queue."
    )
    request_line: int = setting(16_384, values.count, "Bytes of a request line; a longer one is answered 414.")
    request_head: int = setting(65_536, values.count, "Bytes of a request head in all; a longer one is answered 431.")
    request_fields: int = setting(
        100, values.count, "Fields of a request head, or of its trailers; more are answered 431."
    )
    request_body: int | None = setting(
        None, values.optional_count, "Bytes of a request body; a longer one is answered 413."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts(Group):
    """How long is waited, in seconds. None (on the command line: none) waits for ever."""

    prefix: ClassVar[str] = "timeout_"
    panel: ClassVar[str] = "Timeouts (seconds, or none)"

    keep_alive: float = setting(
        75.0,
        values.seconds,
        "An idle connection is closed. Above the 60 s of common load balancers (uvicorn: 5).",
    )
    handshake: float = setting(10.0, values.seconds, "A TLS handshake, with the PROXY header before it, is given up.")
    head: float = setting(10.0, values.seconds, "A request head must be complete, counted from its first byte.")
    body: float = setting(30.0, values.seconds, "No byte of a request body that the application waits for.")
    write: float = setting(30.0, values.seconds, "No byte of a response that the peer takes.")
    request: float = setting(
        math.inf, values.seconds, "A whole request; the application is cancelled, 504 if nothing was sent."
    )
    linger: float = setting(
        1.0, values.seconds, "At a stop, connections idle for less than this answer one more request."
    )
    shutdown_notice: float = setting(
        10.0,
        values.seconds,
        "At a stop, running requests are told http.disconnect after this (at most 0.4 of the grace period).",
    )
    graceful_shutdown: float = setting(
        25.0, values.seconds, "The grace period: at a stop, what still runs after this is cancelled."
    )
    shutdown_delay: float = setting(
        0.0,
        values.finite_seconds,
        "At a stop, first serve on for so long, while load balancers take notice. Not for Ctrl+C.",
        name="shutdown_delay",
    )
    lifespan_startup: float = setting(
        math.inf,
        values.seconds,
        "The application's startup. No limit: loading a model may take minutes, and whoever started the"
        " server watches it.",
    )
    lifespan_shutdown: float = setting(3.0, values.seconds, "The application's shutdown.")

    @property
    def interactive_grace(self) -> float:
        """The grace period at Ctrl+C: nobody at a keyboard waits for all of it."""
        return min(self.graceful_shutdown, _INTERACTIVE_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSockets(Group):
    """What a WebSocket does and how much of it is kept; durations are in seconds, or none."""

    panel: ClassVar[str] = "WebSocket"

    ws: str = setting("auto", values.choice("auto", "none"), "none takes every handshake for a plain HTTP request.")
    ws_max_size: int = setting(16_777_216, values.count, "Bytes of a message; a larger one is closed with 1009.")
    ws_max_queue: int = setting(32, values.count, "Messages kept for a busy application, in ws_max_size bytes.")
    ws_ping_interval: float = setting(20.0, values.seconds, "A ping is sent this often; 0 sends none.")
    ws_ping_timeout: float = setting(20.0, values.seconds, "Nothing comes after a ping: closed with 1011; 0 waits on.")
    ws_per_message_deflate: bool = setting(False, values.flag, "Compress messages; takes memory (uvicorn: on).")
    timeout_ws_handshake: float = setting(30.0, values.seconds, "The application neither accepts nor refuses: 504.")
    timeout_ws_close: float = setting(10.0, values.seconds, "A Close that the peer does not answer; it is cut off.")
