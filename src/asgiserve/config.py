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
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from asgiserve import setting_values as values
from asgiserve.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
    "Settings",
    "Timeouts",
]

# --- declaring a setting ----------------------------------------------------------------------


def _setting(default: Any, convert: values.Converter, text: str) -> Any:
    return field(default=default, metadata={"convert": convert, "text": text})


class _Group:
    """A frozen dataclass of settings; converts and checks every value as it is made."""

    prefix: ClassVar[str] = ""
    panel: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for one in fields(self):  # type: ignore[arg-type]
            value = getattr(self, one.name)
            convert = one.metadata["convert"]
            try:
                converted = convert(value)
            except (TypeError, ValueError, IndexError):
                expected = convert.__doc__.rstrip(".")
                expected = expected[0].lower() + expected[1:]
                raise ConfigError(f"{self.prefix}{one.name}: expected {expected}, but got {value!r}") from None
            object.__setattr__(self, one.name, converted)


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
        (), values.texts, "Where to listen: HOST:PORT, [IPv6]:PORT, unix:PATH or fd:NUMBER. Repeatable."
    )
    backlog: int = _setting(2048, values.count, "Connections that the kernel queues before they are accepted.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Application(_Group):
    """How the application is called."""

    panel: ClassVar[str] = "Application"

    interface: str = _setting(
        "auto", values.choice("auto", "asgi3", "asgi2"), "The application's interface; auto looks at its signature."
    )
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
    handshake: float = _setting(10.0, values.seconds, "A TLS handshake is given up.")
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
class Log(_Group):
    """What is logged."""

    panel: ClassVar[str] = "Logging"

    access_log: bool = _setting(True, values.flag, "Log a line per request.")


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
        "info", values.choice("critical", "error", "warning", "info", "debug"), "The least level that is logged."
    )
    use_colors: bool | None = _setting(None, values.optional_flag, "Colours in log lines; by default on a terminal.")


# --- all of them ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One setting as users meet it: the command line, the reference page and the checks are made of these."""

    name: str
    """The flat name: `timeout_keep_alive`."""
    attribute: str
    """The field's name in its group: `keep_alive`."""
    group: type[_Group]
    default: Any
    convert: values.Converter
    text: str

    @property
    def choices(self) -> tuple[str, ...] | None:
        return getattr(self.convert, "choices", None)

    @property
    def flag(self) -> str:
        """How the command line calls it: `--timeout-keep-alive`."""
        return "--" + self.name.replace("_", "-")

    @property
    def form(self) -> str | None:
        """What a value looks like in help texts: `SECONDS`, `auto|on|off`; None for a flag: it takes none."""
        return "|".join(self.choices) if self.choices else values.FORMS[self.convert]

    @property
    def repeatable(self) -> bool:
        return isinstance(self.default, tuple)

    @property
    def default_text(self) -> str | None:
        """The default as one would type it; None where there is none, or where `text` tells it in words."""
        if self.form is None:
            return None if self.default is None else "on" if self.default else "off"
        if self.default == math.inf or (self.default is None and self.convert is values.optional_count):
            return "none"
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default or "") or None


_SERVER_GROUPS: Final[Mapping[str, type[_Group]]] = {
    "bind": Bind,
    "application": Application,
    "http": Http,
    "limits": Limits,
    "timeouts": Timeouts,
    "log": Log,
}


def _options(groups: Iterable[type[_Group]]) -> Mapping[str, Option]:
    options: dict[str, Option] = {}
    for group in groups:
        for one in fields(group):  # type: ignore[arg-type]
            assert one.default is not MISSING
            name = group.prefix + one.name
            options[name] = Option(
                name=name,
                attribute=one.name,
                group=group,
                default=one.default,
                convert=one.metadata["convert"],
                text=one.metadata["text"],
            )
    return options


OPTIONS: Final = _options([*_SERVER_GROUPS.values(), Launch])
"""Every setting by its flat name."""

LAUNCH_NAMES: Final = frozenset(_options([Launch]))
"""The settings that `serve()` does not take: the caller has decided them already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that `serve()` is told, in groups."""

    bind: Bind = field(default_factory=Bind)
    application: Application = field(default_factory=Application)
    http: Http = field(default_factory=Http)
    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)
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
