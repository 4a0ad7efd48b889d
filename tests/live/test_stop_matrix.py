"""The stop matrix with processes and signals: what clients see, what applications are told, how the process ends.

What is expected is in `tests/support/stop_matrix.py`; the ways to stop that are no signals, and the exact times, are
tested in memory by `tests/unit/server/test_stop_matrix.py`. All cells of a run go on side by side: they wait far more
than they work.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import pytest

from tests.live.nursery import Nursery
from tests.live.servers import PATIENCE
from tests.support.certificates import Authority
from tests.support.processes import START_PATIENCE
from tests.support.stop_matrix import ROWS, App, Client, Pace, Way, opening, seen, told
from tests.support.websocket import TEXT, close_frame, frame

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from tests.live.nursery import Child
    from tests.support.stop_matrix import Cell, Row

pytestmark = pytest.mark.live

PACE: Final = Pace(linger=0.3, notice=0.4, ws_close=0.7, grace=1.2, lifespan=1.0)

QUICK_GRACE: Final = 5.0

LATE: Final = 1.0
"""How late something may be on a machine that has other things to do as well. What is to come at once still comes
before the grace period ends."""

AT_A_TIME: Final = 8

WAYS: Final = {
    "SIGTERM": (Way.GRACEFUL, [signal.SIGTERM]),
    "SIGTERM twice": (Way.GRACEFUL, [signal.SIGTERM, signal.SIGTERM]),
    "SIGINT": (Way.QUICK, [signal.SIGINT]),
    "SIGINT twice": (Way.QUICK, [signal.SIGINT, signal.SIGINT]),
}

GOES_ON_AS: Final = {"half_head": "waiting for the rest of a request head", "tls_handshake": "1 TLS handshake going on"}
"""What has no application that would say so: what the overview calls it."""

FOR_PEOPLE: Final = ("INFO: ", "WARNING: ", "ERROR: ", "Error: ")


@dataclass
class Outcome:
    """What became of one server and its client."""

    data: bytes
    """All that the client has been sent."""
    client_took: float | None
    took: float
    """From the last signal to the server's last words. What Python takes for its exit is not the server's affair."""
    code: int
    stderr: list[str]
    """What was said after the first signal."""
    timed: str
    """All that was said, and when."""


class Peer:
    """The client's side of what goes on."""

    def __init__(self, child: Child, name: str) -> None:
        self._child = child
        port = int(child.stderr.wait_for("asgiserve running on ").split("127.0.0.1:")[1].split()[0])
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._name = name
        self.data = b""
        self.over_at: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()

    def begin(self) -> None:
        """Bring about what goes on, and wait until it does."""
        name, child = self._name, self._child
        self.socket.sendall(opening(name))
        if name in GOES_ON_AS:
            overviews = 0
            while GOES_ON_AS[name] not in child.stderr.text:
                overviews += 1
                child.send_signal(signal.SIGUSR1)
                child.stderr.wait_for(": serving for ", overviews)
        else:
            child.stderr.wait_for("app: returned" if name == "idle" else "app: entered")
        if name in ("idle", "background"):
            self._read_until(b"hello")
        if name in ("events", "deaf", "large"):
            self._read_until(b"\r\n\r\n")
        if name == "flood":
            threading.Thread(target=self._flood, daemon=True).start()

    def read(self) -> None:
        """To the end; ends what has come to its end."""
        try:
            while more := self.socket.recv(65536):
                self.data += more
                if self.over_at is None and seen(self.data) not in (Client.CLOSE, Client.CUT):
                    self.over_at = time.monotonic()
                    if self._name == "flood":
                        continue
                    if seen(self.data) is Client.RESTART:
                        self.socket.sendall(close_frame(1012))
                    self.socket.shutdown(socket.SHUT_WR)
        except TimeoutError:
            raise
        except OSError:
            pass  # reset: what has come is all that comes
        self.over_at = self.over_at or time.monotonic()

    def _read_until(self, end: bytes) -> None:
        while end not in self.data:
            more = self.socket.recv(65536)
            assert more
            self.data += more

    def _flood(self) -> None:
        try:
            while True:
                self.socket.sendall(frame(TEXT, b"x" * 1000))
        except OSError:
            pass


def run_cell(nursery: Nursery, authority: Authority, row: Row, how: str, backend: str) -> Outcome:
    settings = {
        "backend": backend,
        "port": 0,
        "timeout-linger": PACE.linger,
        "timeout-shutdown-notice": PACE.notice,
        "timeout-ws-close": PACE.ws_close,
        "timeout-graceful-shutdown": PACE.grace,
        "timeout-lifespan-shutdown": PACE.lifespan,
    }
    words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    if backend == "asyncio":
        words += ["--loop", "asyncio"]
    if row.name == "tls_handshake":
        pair = authority.pair(name=f"{backend} {how}")
        words += ["--ssl-certfile", str(pair.certfile), "--ssl-keyfile", str(pair.keyfile)]
    with nursery.start([*words, f"tests.support.stop_site:{row.lifespan}"]) as child:
        child.stderr.wait_for("asgiserve running on ", patience=START_PATIENCE)
        if row.name == "nothing":
            return _stopped(child, None, row, how)
        with Peer(child, row.name) as peer:
            peer.begin()
            return _stopped(child, peer, row, how)


def _stopped(child: Child, peer: Peer | None, row: Row, how: str) -> Outcome:
    before = len(child.stderr.lines())
    for number in WAYS[how][1]:
        began = time.monotonic()
        child.send_signal(number)
        child.stderr.wait_for(f"Received {number.name}")
    if peer is not None and row.name != "large":
        peer.read()
    child.stderr.wait_for(last_words(row))
    took = time.monotonic() - began
    code = child.wait_exit(PATIENCE)
    if row.name == "large":
        assert peer is not None
        peer.read()
    over_at = None if peer is None or row.name == "large" else peer.over_at
    return Outcome(
        data=b"" if peer is None else peer.data,
        client_took=None if over_at is None else over_at - began,
        took=took,
        code=code,
        stderr=child.stderr.lines()[before:],
        timed=f"{child.stderr.timed()}\nlast signal at {child.stderr.seconds(began):.3f}",
    )


def last_words(row: Row) -> str:
    if row.graceful.app is App.GOES_ON:
        return "Leaving without "
    return "Finished server process" if row.lifespan == "app" else "Error: "


# --- the cells of a run -----------------------------------------------------------------------


Key = tuple[str, str, str]


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Key, Future[Outcome]]]:
    """Of the cells that were selected; all of them have begun when the first is asked for."""
    chosen = [
        item.callspec.params
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == test_a_signal_does_what_the_table_says.__name__
    ]
    with ExitStack() as stack:
        nursery = Nursery()
        stack.callback(nursery.close)
        authority = Authority(tmp_path_factory.mktemp("authority"))
        pool = stack.enter_context(ThreadPoolExecutor(AT_A_TIME))
        stack.callback(pool.shutdown, cancel_futures=True)
        yield {
            (one["row"].text, one["how"], one["backend"]): pool.submit(
                run_cell, nursery, authority, one["row"], one["how"], one["backend"]
            )
            for one in chosen
        }


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("row", [row for row in ROWS if row.live], ids=lambda row: row.text)
def test_a_signal_does_what_the_table_says(
    row: Row, how: str, backend: str, outcomes: dict[Key, Future[Outcome]]
) -> None:
    outcome = outcomes[row.text, how, backend].result(60)
    print(outcome.timed)  # shown with a test that fails
    way, numbers = WAYS[how]
    pace = (Way.NOW if len(numbers) == 2 else way).of(PACE, QUICK_GRACE)
    # Of two signals the second may come when the first has had all its effect.
    expected = [row.cell(way)] if len(numbers) == 1 else [row.cell(way), row.cell(Way.NOW)]

    said = "".join(outcome.stderr)
    assert outcome.code == row.code, said
    assert outcome.took <= pace.bound, said
    assert said.count("lifespan: shutdown\n") == 1
    if row.name != "nothing":
        assert (seen(outcome.data), what_was_told(outcome, expected)) in [(one.client, one.app) for one in expected]
    if len(numbers) == 1:
        check_times(expected[0], pace, outcome)
    check_stderr(row, outcome.stderr)


def what_was_told(outcome: Outcome, expected: list[Cell]) -> App:
    lines = [line.rstrip("\n") for line in outcome.stderr]
    if any("goes on although it was cancelled" in line for line in lines):
        return App.GOES_ON
    return told(lines)


def check_times(cell: Cell, pace: Pace, outcome: Outcome) -> None:
    assert cell.when.seconds(pace) <= outcome.took
    if outcome.client_took is not None and cell.client is not Client.NOBODY:
        when = (cell.client_when or cell.when).seconds(pace)
        assert when <= outcome.client_took <= when + LATE


def check_stderr(row: Row, lines: list[str]) -> None:
    """All of it is meant for people, and tells them what they need to know."""
    said = "".join(lines)
    strange = [line for line in lines if not line.startswith((*FOR_PEOPLE, "app: ", "lifespan: "))]
    if row.graceful.app is App.GOES_ON:
        assert said.index("lifespan: shutdown\n") < said.index("goes on although")
        name = "The application tests.support.stop_site.Site.__call__, running for "
        assert name in said
        assert f"goes on although it was cancelled (GET /{row.name}):\n" in said
        assert f"in {row.name}\n" in said
        assert lines[-1].startswith("ERROR:    Leaving without ")
        strange = [line for line in strange if not line.startswith(" " * 10)]
    elif row.lifespan == "fails":
        assert lines[-1] == "Error: Application shutdown failed: RuntimeError: no database\n"
        return  # with the traceback of the application's error
    elif row.lifespan == "hangs":
        assert lines[-1].startswith("Error: The application's lifespan shutdown took longer than 1 s")
    assert strange == []
    if row.graceful.app is not App.GOES_ON:
        assert "ERROR: " not in said
