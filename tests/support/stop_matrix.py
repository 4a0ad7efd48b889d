"""What a stop does to what is going on: the one table of it, for both halves of the matrix and for the page.

`tests/unit/server/test_stop_matrix.py` goes through it in memory, where the clock is exact,
`tests/live/test_stop_matrix.py` with processes and signals. `python -m tests.support.stop_matrix` writes the table of
`docs/reference/behaviour.md`; a test compares.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.support.websocket import handshake

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ROWS", "App", "Cell", "Client", "Pace", "Row", "Way", "When", "opening", "seen", "table", "told"]


@dataclass(frozen=True, kw_only=True)
class Pace:
    """The limits that a stop goes by, in seconds from its beginning."""

    linger: float
    notice: float
    ws_close: float
    grace: float
    lifespan: float

    @property
    def bound(self) -> float:
        """What no stop exceeds."""
        return self.grace + self.lifespan + 1


class Way(enum.Enum):
    """How a server is stopped; the value is the heading of the column."""

    GRACEFUL = "SIGTERM, `stop()`, the stop event"
    QUICK = "Ctrl+C, `stop_quickly()`"
    NOW = "a second signal, `abort()`, `serve()` cancelled"

    def of(self, pace: Pace, quick_grace: float) -> Pace:
        """What becomes of the limits of a graceful stop."""
        grace = {Way.GRACEFUL: pace.grace, Way.QUICK: min(quick_grace, pace.grace), Way.NOW: 0.0}[self]
        return Pace(
            linger=min(pace.linger, grace),
            notice=pace.notice if self is Way.GRACEFUL else 0.0,
            ws_close=min(pace.ws_close, grace),
            grace=grace,
            lifespan=pace.lifespan,
        )


class When(enum.Enum):
    AT_ONCE = "at once"
    LINGER = "when the linger ends"
    NOTICE = "at the notice"
    WS_CLOSE = "after `timeout_ws_close`"
    GRACE = "when grace ends"
    FORCED = "a second after grace at most"
    LIFESPAN = "after `timeout_lifespan_shutdown`"

    def seconds(self, pace: Pace) -> float:
        return {
            When.AT_ONCE: 0.0,
            When.LINGER: pace.linger,
            When.NOTICE: pace.notice,
            When.WS_CLOSE: pace.ws_close,
            When.GRACE: pace.grace,
            When.FORCED: pace.grace + 0.75,
            When.LIFESPAN: pace.lifespan,
        }[self]


class Client(enum.Enum):
    """What the client sees."""

    NOBODY = ""
    CLOSE = "closed"
    TIMEOUT = "408"
    UNAVAILABLE = "503"
    END = "the response ends"
    CUT = "the response is cut"
    RESTART = "Close 1012"


class App(enum.Enum):
    """What the application is told."""

    NOTHING = ""
    HTTP = "`http.disconnect`"
    WEBSOCKET = "`websocket.disconnect` 1012"
    REFUSED = "`websocket.disconnect` 1006"
    CANCELLED = "cancelled"
    GOES_ON = "cancelled, and left behind"


@dataclass(frozen=True)
class Cell:
    client: Client
    app: App
    when: When
    """All of it is over then, and the server can end."""
    client_when: When | None = None
    """If the client sees it earlier."""

    @property
    def text(self) -> str:
        sees, told = self.client.value, self.app.value
        if self.client_when is None:
            parts = [each for each in (sees, told) if each]
            return f"{', '.join(parts)}; {self.when.value}" if parts else self.when.value
        return f"{sees} {self.client_when.value}; {told} {self.when.value}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """What goes on when the server is stopped."""

    name: str
    """What tests do to bring it about; most names are paths of `stop_site`."""
    text: str
    graceful: Cell
    quick: Cell
    now: Cell
    lifespan: str = "app"
    """Which object of `stop_site` is served: the others have a shutdown that hangs or raises."""
    code: int = 0
    """The exit code of the command line."""
    in_memory: bool = True
    live: bool = True

    def cell(self, way: Way) -> Cell:
        return {Way.GRACEFUL: self.graceful, Way.QUICK: self.quick, Way.NOW: self.now}[way]


_CLOSED_IN_LINGER: Final = Cell(Client.CLOSE, App.NOTHING, When.LINGER)
_CLOSED_AT_ONCE: Final = Cell(Client.CLOSE, App.NOTHING, When.AT_ONCE)
_CANCELLED_AT_ONCE: Final = Cell(Client.UNAVAILABLE, App.CANCELLED, When.AT_ONCE)
_CUT_AT_GRACE: Final = Cell(Client.CUT, App.CANCELLED, When.GRACE)
_CUT_AT_ONCE: Final = Cell(Client.CUT, App.CANCELLED, When.AT_ONCE)
_LEFT_BEHIND: Final = Cell(Client.CLOSE, App.GOES_ON, When.FORCED)
_TOLD_1012: Final = Cell(Client.RESTART, App.WEBSOCKET, When.AT_ONCE)
_TOO_SLOW: Final = Cell(Client.NOBODY, App.NOTHING, When.LIFESPAN)
_FAILS: Final = Cell(Client.NOBODY, App.NOTHING, When.AT_ONCE)


ROWS: Final = (
    Row(
        name="idle",
        text="a connection that is idle, for less than the linger",
        graceful=_CLOSED_IN_LINGER,
        quick=_CLOSED_IN_LINGER,
        now=_CLOSED_AT_ONCE,
    ),
    Row(
        name="half_head",
        text="half of a head",
        graceful=Cell(Client.TIMEOUT, App.NOTHING, When.LINGER),
        quick=Cell(Client.TIMEOUT, App.NOTHING, When.LINGER),
        now=_CLOSED_AT_ONCE,
    ),
    Row(
        name="tls_handshake",
        text="half of a TLS handshake",
        graceful=_CLOSED_IN_LINGER,
        quick=_CLOSED_IN_LINGER,
        now=_CLOSED_AT_ONCE,
    ),
    Row(
        name="body",
        text="half of a body, awaited in `receive()`",
        graceful=Cell(Client.UNAVAILABLE, App.HTTP, When.NOTICE),
        quick=Cell(Client.UNAVAILABLE, App.HTTP, When.NOTICE),
        now=_CANCELLED_AT_ONCE,
    ),
    Row(
        name="sleep",
        text="an application that sleeps before it answers",
        graceful=Cell(Client.UNAVAILABLE, App.CANCELLED, When.GRACE),
        quick=Cell(Client.UNAVAILABLE, App.CANCELLED, When.GRACE),
        now=_CANCELLED_AT_ONCE,
    ),
    Row(
        name="events",
        text="a stream of events that listens",
        graceful=Cell(Client.END, App.HTTP, When.NOTICE),
        quick=Cell(Client.END, App.HTTP, When.NOTICE),
        now=_CUT_AT_ONCE,
    ),
    Row(
        name="deaf",
        text="a stream of events that does not listen",
        graceful=_CUT_AT_GRACE,
        quick=_CUT_AT_GRACE,
        now=_CUT_AT_ONCE,
    ),
    Row(
        name="large",
        text="100 MiB for a client that does not read",
        graceful=_CUT_AT_GRACE,
        quick=_CUT_AT_GRACE,
        now=_CUT_AT_ONCE,
    ),
    Row(
        name="background",
        text="an application that goes on after its response",
        graceful=Cell(Client.CLOSE, App.CANCELLED, When.GRACE, When.LINGER),
        quick=Cell(Client.CLOSE, App.CANCELLED, When.GRACE, When.LINGER),
        now=Cell(Client.CLOSE, App.CANCELLED, When.AT_ONCE),
    ),
    Row(
        name="websocket",
        text="an idle WebSocket",
        graceful=_TOLD_1012,
        quick=_TOLD_1012,
        now=Cell(Client.RESTART, App.CANCELLED, When.AT_ONCE),
    ),
    Row(
        name="flood",
        text="a WebSocket whose client floods, and never answers a Close",
        graceful=Cell(Client.RESTART, App.WEBSOCKET, When.WS_CLOSE, When.AT_ONCE),
        quick=Cell(Client.RESTART, App.WEBSOCKET, When.WS_CLOSE, When.AT_ONCE),
        now=Cell(Client.RESTART, App.CANCELLED, When.AT_ONCE),
    ),
    Row(
        name="deaf_websocket",
        text="a WebSocket whose application does not listen",
        graceful=Cell(Client.RESTART, App.CANCELLED, When.GRACE, When.AT_ONCE),
        quick=Cell(Client.RESTART, App.CANCELLED, When.GRACE, When.AT_ONCE),
        now=Cell(Client.RESTART, App.CANCELLED, When.AT_ONCE),
    ),
    Row(
        name="undecided",
        text="a WebSocket that is not accepted yet",
        graceful=Cell(Client.UNAVAILABLE, App.REFUSED, When.AT_ONCE),
        quick=Cell(Client.UNAVAILABLE, App.REFUSED, When.AT_ONCE),
        now=Cell(Client.UNAVAILABLE, App.CANCELLED, When.AT_ONCE),
    ),
    Row(
        name="shielded",
        text="an application in a shielded cancel scope",
        graceful=_LEFT_BEHIND,
        quick=_LEFT_BEHIND,
        now=_LEFT_BEHIND,
        code=1,
    ),
    # Not in virtual time: it would stand still while something is always ready to run, and does not know of threads.
    Row(
        name="swallows",
        text="an application that swallows its cancellation, again and again",
        graceful=_LEFT_BEHIND,
        quick=_LEFT_BEHIND,
        now=_LEFT_BEHIND,
        code=1,
        in_memory=False,
    ),
    Row(
        name="thread",
        text="an application in a thread that blocks",
        graceful=_LEFT_BEHIND,
        quick=_LEFT_BEHIND,
        now=_LEFT_BEHIND,
        code=1,
        in_memory=False,
    ),
    Row(
        name="nothing",
        text="a lifespan shutdown that hangs",
        graceful=_TOO_SLOW,
        quick=_TOO_SLOW,
        now=_TOO_SLOW,
        lifespan="hangs",
        code=1,
    ),
    Row(
        name="nothing",
        text="a lifespan shutdown that raises",
        graceful=_FAILS,
        quick=_FAILS,
        now=_FAILS,
        lifespan="fails",
        code=1,
    ),
)


def seen(data: bytes) -> Client:
    """What these bytes are to a client: all that it has been sent until now, or until its connection ended."""
    head, _, rest = data.partition(b"\r\n\r\n")
    if not head or (head.startswith(b"HTTP/1.1 200 ") and rest == b"hello"):
        return Client.CLOSE
    match head[9:12]:
        case b"101":
            return Client.RESTART if rest == b"\x88\x02\x03\xf4" else Client.CLOSE
        case b"408":
            return Client.TIMEOUT
        case b"503":
            return Client.UNAVAILABLE
        case _:
            return Client.END if rest.endswith(b"\r\n0\r\n\r\n") else Client.CUT


def opening(name: str) -> bytes:
    """What the client sends before the stop."""
    if name == "idle":
        return b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
    if name == "half_head":
        return b"GET / HT"
    if name == "tls_handshake":
        return b"\x16\x03\x01\x02\x00\x01"
    if name == "body":
        return b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1234"
    if name in ("websocket", "flood", "deaf_websocket", "undecided"):
        return handshake("/websocket" if name == "flood" else f"/{name}")
    return f"GET /{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def told(lines: Sequence[str]) -> App:
    """What the application has been told, from what it said. What it said before the stop is not among it."""
    says = [line.removeprefix("app: ") for line in lines if line.startswith("app: ")]
    match says[0] if says else "":
        case "http.disconnect":
            return App.HTTP
        case "websocket.disconnect 1012":
            return App.WEBSOCKET
        case "websocket.disconnect 1006":
            return App.REFUSED
        case "cancelled":
            return App.CANCELLED
        case said:
            assert not said, said
            return App.NOTHING


# --- the page ---------------------------------------------------------------------------------

_IN_MEMORY: Final = "`tests/unit/server/test_stop_matrix.py::test_a_stop_does_what_the_table_says`"
_LIVE: Final = "`tests/live/test_stop_matrix.py::test_a_signal_does_what_the_table_says`"


def table() -> str:
    ways = (Way.GRACEFUL, Way.QUICK, Way.NOW)
    lines = [
        f"| what goes on | {' | '.join(way.value for way in ways)} | code | test |",
        "|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        cells = " | ".join(row.cell(way).text for way in ways)
        lines.append(f"| {row.text} | {cells} | {row.code} | {_IN_MEMORY if row.in_memory else _LIVE} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    print(table(), end="")
