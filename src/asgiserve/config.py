"""Settings: one declaration per setting, in frozen groups that are handed to whoever needs them.

A setting is declared once, as a field of its group; the command line's options, the keyword arguments of
`serve()` and `run()`, their checks, their help texts and `docs/reference/settings.md` all follow from that
declaration. No layer is given the whole of `Settings`: a driver gets `Timeouts`, the head check `Limits`.

What does not live here: reading the environment, printing, exiting (cli.py), and what a setting *does*.

A setting's flat name, the one that users type, is its field's name behind its group's prefix
(`Timeouts.keep_alive` is `timeout_keep_alive` and `--timeout-keep-alive`). Where an option exists in uvicorn,
ours has its name and meaning; where a default differs, the field's text says so.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from asgiserve import setting_values as values
from asgiserve.declaring import Group as _Group
from asgiserve.declaring import Option, options_of
from asgiserve.declaring import setting as _setting
from asgiserve.errors import ConfigError
from asgiserve.log_settings import Log
from asgiserve.trusted import Trusted

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "LAUNCH_NAMES",
    "OPTIONS",
    "Application",
    "Bind",
    "Http",
    "Launch",
    "Limits",
    "Log",
    "Option",
    "Proxies",
    "Settings",
    "Timeouts",
    "Tls",
    "WebSockets",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind(_Group):
    """Where to listen. With nothing given: 127.0.0.1, port 8000."""

    panel: ClassVar[str] = "Bind"

    host: str | None = _setting(
        None,
        values.host,
        "Address or name to listen on, every address of a name. [default: 127.0.0.1]",
    )
    port: int | None = _setting(None, values.port, "Port to listen on; 0 takes a free one. [default: 8000]")
    uds: str | None = _setting(None, values.optional_text, "Path of a Unix socket to listen on instead.")
    fd: int | None = _setting(None, values.descriptor, "File descriptor of a bound socket to listen on instead.")
    bind: tuple[str, ...] = _setting(
        (),
        values.texts,
        "HOST:PORT, [IPv6]:PORT, unix:PATH or fd:NUMBER to listen on; behind it ,tls=off for plain HTTP. Repeatable.",
    )
    backlog: int = _setting(2048, values.count, "Connections that the kernel queues before they are accepted.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Application(_Group):
    """How the application is called."""

    panel: ClassVar[str] = "Application"

    interface: str = _setting(
        "auto",
        values.choice("auto", "asgi3", "asgi2", "wsgi"),
        "The application's interface; auto looks at its signature.",
    )
    wsgi_threads: int = _setting(40, values.count, "Threads of a WSGI application, each for one request at a time.")
    lifespan: str = _setting(
        "auto",
        values.choice("auto", "on", "off"),
        "Lifespan events; auto goes on without them if the application refuses the scope.",
    )
    root_path: str = _setting(
        "", values.root_path, "The path under which a proxy mounts the application (ASGI's root_path)."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Http(_Group):
    """What an HTTP exchange does."""

    panel: ClassVar[str] = "HTTP"

    http: str = _setting(
        "auto",
        values.choice("auto", "h11"),
        "auto reads ordinary requests directly and the rest with h11; h11 reads all with h11.",
    )
    server_header: bool = _setting(True, values.flag, "Send a Server field, unless the application sends one.")
    date_header: bool = _setting(True, values.flag, "Send a Date field, unless the application sends one.")
    header: tuple[tuple[str, str], ...] = _setting(
        (), values.header_pairs, 'A field "Name: value" to add to every response. Repeatable.'
    )
    cancel_on_disconnect: bool = _setting(
        False, values.flag, "Cancel a request's task when its client goes away before the response is complete."
    )
    task_per_request: bool = _setting(
        False, values.flag, "Run every request in a task of its own instead of the connection's."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits(_Group):
    """How much is accepted. A limit of None (on the command line: none) is no limit."""

    prefix: ClassVar[str] = "limit_"
    panel: ClassVar[str] = "Limits"

    concurrency: int | None = _setting(
        None,
        values.optional_count,
        "Requests in flight; more are answered 503 with Retry-After. Idle connections do not count.",
    )
    connections: int | None = _setting(
        None, values.optional_count, "Open connections; more wait unaccepted in the kernel's queue."
    )
    request_line: int = _setting(16_384, values.count, "Bytes of a request line; a longer one is answered 414.")
    request_head: int = _setting(65_536, values.count, "Bytes of a request head in all; a longer one is answered 431.")
    request_fields: int = _setting(
        100, values.count, "Fields of a request head, or of its trailers; more are answered 431."
    )
    request_body: int | None = _setting(
        None, values.optional_count, "Bytes of a request body; a longer one is answered 413."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts(_Group):
    """How long is waited, in seconds. None (on the command line: none) waits for ever."""

    prefix: ClassVar[str] = "timeout_"
    panel: ClassVar[str] = "Timeouts (seconds, or none)"

    keep_alive: float = _setting(
        75.0,
        values.seconds,
        "An idle connection is closed. Above the 60 s of common load balancers (uvicorn: 5).",
    )
    handshake: float = _setting(10.0, values.seconds, "A TLS handshake, with the PROXY header before it, is given up.")
    head: float = _setting(10.0, values.seconds, "A request head must be complete, counted from its first byte.")
    body: float = _setting(30.0, values.seconds, "No byte of a request body that the application waits for.")
    write: float = _setting(30.0, values.seconds, "No byte of a response that the peer takes.")
    request: float = _setting(
        math.inf, values.seconds, "A whole request; the application is cancelled, 504 if nothing was sent."
    )
    linger: float = _setting(
        1.0, values.seconds, "At a stop, connections idle for less than this answer one more request."
    )
    shutdown_notice: float = _setting(
        10.0,
        values.seconds,
        "At a stop, running requests are told http.disconnect after this (at most 0.4 of the grace period).",
    )
    graceful_shutdown: float = _setting(
        25.0, values.seconds, "The grace period: at a stop, what still runs after this is cancelled."
    )
    lifespan_startup: float = _setting(
        math.inf,
        values.seconds,
        "The application's startup. No limit: loading a model may take minutes, and whoever started the"
        " server watches it.",
    )
    lifespan_shutdown: float = _setting(3.0, values.seconds, "The application's shutdown.")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSockets(_Group):
    """What a WebSocket does and how much of it is kept; durations are in seconds, or none."""

    panel: ClassVar[str] = "WebSocket"

    ws: str = _setting("auto", values.choice("auto", "none"), "none takes every handshake for a plain HTTP request.")
    ws_max_size: int = _setting(16_777_216, values.count, "Bytes of a message; a larger one is closed with 1009.")
    ws_max_queue: int = _setting(32, values.count, "Messages kept for a busy application, in ws_max_size bytes.")
    ws_ping_interval: float = _setting(20.0, values.seconds, "A ping is sent this often; 0 sends none.")
    ws_ping_timeout: float = _setting(20.0, values.seconds, "Nothing comes after a ping: closed with 1011; 0 waits on.")
    ws_per_message_deflate: bool = _setting(False, values.flag, "Compress messages; takes memory (uvicorn: on).")
    timeout_ws_handshake: float = _setting(30.0, values.seconds, "The application neither accepts nor refuses: 504.")
    timeout_ws_close: float = _setting(10.0, values.seconds, "A Close that the peer does not answer; it is cut off.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls(_Group):
    """TLS (https, wss) with certificates from files, which are read again when they change."""

    panel: ClassVar[str] = "TLS"

    ssl_certfile: str | None = _setting(
        None, values.optional_path, "The certificate in PEM, the chain behind it. With it the server speaks TLS."
    )
    ssl_keyfile: str | None = _setting(None, values.optional_path, "Its key. [default: in the certificate's file]")
    ssl_keyfile_password: str | None = _setting(None, values.secret, "What encrypted keys are encrypted with.")
    ssl_version: str = _setting(
        "any", values.choice("any", "1.2", "1.3", numbers={2: "any", 5: "1.2", 17: "any"}), "Only this version of TLS."
    )
    ssl_minimum_version: str = _setting("1.2", values.choice("1.2", "1.3"), "The oldest version of TLS.")
    ssl_cert_reqs: str = _setting(
        "none",
        values.choice("none", "optional", "required", numbers={0: "none", 1: "optional", 2: "required"}),
        "Whether clients are asked for a certificate.",
    )
    ssl_ca_certs: str | None = _setting(
        None, values.optional_path, "The authorities, in PEM, that clients' certificates must come from."
    )
    ssl_ciphers: str | None = _setting(
        None, values.optional_text, "Ciphers of TLS 1.2, as OpenSSL's list. [default: Python's]"
    )
    ssl_sni: tuple[tuple[str, str, str | None], ...] = _setting(
        (),
        values.sni_certificates,
        "Another certificate for clients that ask for this host, *.example.com for any below it. Repeatable.",
    )

    def __post_init__(self) -> None:
        _Group.__post_init__(self)
        for one in fields(self) if self.ssl_certfile is None else ():
            if getattr(self, one.name) != one.default:
                raise ConfigError(f"{one.name}: is for TLS, which needs ssl_certfile")
        if self.ssl_cert_reqs != "none" and self.ssl_ca_certs is None:
            raise ConfigError(f"ssl_cert_reqs: {self.ssl_cert_reqs} needs ssl_ca_certs, to verify certificates with")
        if (self.ssl_version, self.ssl_minimum_version) == ("1.2", "1.3"):
            raise ConfigError("ssl_version: 1.2 is older than ssl_minimum_version")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxies(_Group):
    """Whom to believe where a connection or a request comes from."""

    panel: ClassVar[str] = "Proxies"

    proxy_headers: bool = _setting(
        True, values.flag, "Take client, scheme and more from what trusted proxies say in a request's fields."
    )
    forwarded_allow_ips: Trusted = _setting(
        Trusted.of(("127.0.0.1", "::1")),
        values.trusted,
        "The trusted proxies: addresses, networks, unix for peers on Unix sockets, * for every peer.",
    )
    forwarded_fields: str = _setting(
        "for,proto",
        values.forwarded_fields,
        "What is believed: for, proto, host, port and prefix of X-Forwarded-*, or forwarded (RFC 7239). Name what your"
        " proxy sets for every request: the rest is its client's word.",
    )
    proxy_protocol: bool = _setting(
        False, values.flag, "Every connection is from a trusted proxy, and begins with a PROXY header (version 1 or 2)."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch(_Group):
    """What whoever starts the loop decides: `run()` and the command line, never `serve()`."""

    panel: ClassVar[str] = "Launch"

    backend: str = _setting("asyncio", values.choice("asyncio", "trio"), "The event loop's library.")
    loop: str = _setting(
        "auto",
        values.choice("auto", "asyncio", "uvloop"),
        "The loop of the asyncio backend; auto takes uvloop if it is installed.",
    )
    app_dir: str = _setting("", values.text, "Directory to import the application from. [default: the current one]")
    factory: bool = _setting(False, values.flag, "APP names a callable that makes the application.")
    log_level: str = _setting(
        "info",
        values.choice("critical", "error", "warning", "info", "debug", "trace"),
        "The least level that is logged; trace logs every ASGI message, without bodies and headers.",
    )
    log_format: str = _setting(
        "text", values.choice("text", "json"), "Log lines for people, or one JSON object a line."
    )
    log_config: str | Mapping[str, Any] | None = _setting(
        None, values.logging_config, "A file of Python's logging configuration to log by: .json, .toml, .yaml, .ini."
    )
    use_colors: bool | None = _setting(None, values.optional_flag, "Colours in log lines; by default on a terminal.")


# --- all of them ------------------------------------------------------------------------------


_SERVER_GROUPS: Final[Mapping[str, type[_Group]]] = {
    "bind": Bind,
    "application": Application,
    "http": Http,
    "limits": Limits,
    "timeouts": Timeouts,
    "websockets": WebSockets,
    "tls": Tls,
    "proxies": Proxies,
    "log": Log,
}


OPTIONS: Final = options_of([*_SERVER_GROUPS.values(), Launch])
"""Every setting by its flat name."""

LAUNCH_NAMES: Final = frozenset(options_of([Launch]))
"""The settings that `serve()` does not take: the caller has decided them already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that `serve()` is told, in groups."""

    bind: Bind = field(default_factory=Bind)
    application: Application = field(default_factory=Application)
    http: Http = field(default_factory=Http)
    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)
    websockets: WebSockets = field(default_factory=WebSockets)
    tls: Tls = field(default_factory=Tls)
    proxies: Proxies = field(default_factory=Proxies)
    log: Log = field(default_factory=Log)

    @classmethod
    def of(cls, keywords: Mapping[str, Any]) -> Self:
        """Settings from flat names. Raises ConfigError for an unknown name or a value that makes no sense."""
        chosen: dict[type[_Group], dict[str, Any]] = {}
        for name, value in keywords.items():
            option = OPTIONS.get(name)
            if option is None:
                raise ConfigError(_unknown(name))
            if option.group is Launch:
                raise ConfigError(
                    f"{name}: is for run() and the command line; who awaits serve() has decided it already"
                )
            chosen.setdefault(option.group, {})[option.attribute] = value
        groups: dict[str, Any] = {name: group(**chosen.get(group, {})) for name, group in _SERVER_GROUPS.items()}
        return cls(**groups)


def split_launch(keywords: Mapping[str, Any]) -> tuple[Launch, Mapping[str, Any]]:
    """Divide flat names into what starts the loop and what `Settings.of` takes."""
    launch = {name: value for name, value in keywords.items() if name in LAUNCH_NAMES}
    rest = {name: value for name, value in keywords.items() if name not in LAUNCH_NAMES}
    return Launch(**launch), rest


def _unknown(name: str) -> str:
    nearest = difflib.get_close_matches(name, OPTIONS, n=1)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return f"{name}: there is no such setting{hint}"
