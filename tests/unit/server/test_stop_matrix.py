"""The stop matrix in memory: everything that may go on, stopped in every way, on a clock that is exact.

What is expected is in `tests/support/stop_matrix.py`. The same with processes and signals:
`tests/live/test_stop_matrix.py`.
"""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING, Any, Final

import anyio
import pytest

from asgiserve.errors import ShutdownError
from tests.support import stop_site
from tests.support.stop_matrix import ROWS, App, Client, Pace, Way, When, opening, seen, told
from tests.support.stop_site import Site
from tests.support.websocket import TEXT, close_frame, frame
from tests.unit.server.running import running

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.serving import Client as Peer
    from tests.support.stop_matrix import Cell, Row
    from tests.unit.server.running import Run

pytestmark = pytest.mark.anyio

PACE: Final = Pace(linger=1, notice=10, ws_close=10, grace=25, lifespan=3)
"""By default. The tests of the settings say that these are the defaults."""

QUICK_GRACE: Final = 5.0

LATE: Final = 0.5
"""What ends by a deadline ends up to two ticks of the watcher later."""

WAYS: Final[dict[str, tuple[Way, Callable[[Run, anyio.Event], None]]]] = {
    "stop event": (Way.GRACEFUL, lambda run, event: event.set()),
    "stop()": (Way.GRACEFUL, lambda run, event: run.server.stop()),
    "stop_quickly()": (Way.QUICK, lambda run, event: run.server.stop_quickly(QUICK_GRACE)),
    "abort()": (Way.NOW, lambda run, event: run.server.abort()),
    "cancelled scope": (Way.NOW, lambda run, event: run.scope.cancel()),
}

SHUTDOWNS: Final = {"app": None, "hangs": stop_site.sleep_forever, "fails": stop_site.fail}

CELLS: Final = [pytest.param(row, how, id=f"{row.text} - {how}") for row in ROWS if row.in_memory for how in WAYS]


class Witness:
    """The client's side of what goes on: it reads, ends what has come to its end, and knows when that was."""

    def __init__(self, peer: Peer, name: str) -> None:
        self.peer = peer
        self._name = name
        self.data = bytearray()
        self.over_at: float | None = None

    async def read(self) -> None:
        try:
            while True:
                self.data += await self.peer.read()
                if self.over_at is None and seen(bytes(self.data)) not in (Client.CLOSE, Client.CUT):
                    self.over_at = anyio.current_time()
                    await self._answer()
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            if self.over_at is None:
                self.over_at = anyio.current_time()

    async def _answer(self) -> None:
        if self._name == "flood":
            return
        if seen(bytes(self.data)) is Client.RESTART:
            await self.peer.send(close_frame(1012))
        await self.peer.stream.aclose()


async def flood(peer: Peer) -> None:
    try:
        while True:
            await peer.send(frame(TEXT, b"x" * 1000))
            await anyio.sleep(0.01)  # or the clock would never move
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass


@pytest.mark.parametrize(("row", "how"), CELLS)
async def test_a_stop_does_what_the_table_says(row: Row, how: str, caplog: pytest.LogCaptureFixture) -> None:
    way, ask = WAYS[how]
    cell, pace = row.cell(way), way.of(PACE, QUICK_GRACE)
    lines: list[str] = []
    left_at: list[float] = []
    site = Site(lines.append, SHUTDOWNS[row.lifespan])

    def leave() -> None:
        assert "lifespan: shutdown" in lines
        left_at.append(anyio.current_time())
        site.let_go.set()

    event = anyio.Event()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if row.name == "tls_handshake" else None
    options: dict[str, Any] = {"lifespan": "on", "ssl_context": context, "stop": event, "unstoppable": leave}
    async with running(site, **options) as run, anyio.create_task_group() as group:
        witness = None
        if row.name != "nothing":
            witness = Witness(run.connect(), row.name)
            await witness.peer.send(opening(row.name))
            if row.name == "large":
                witness.data += await witness.peer.read()
            else:
                group.start_soon(witness.read)
            if row.name == "flood":
                group.start_soon(flood, witness.peer)
        await anyio.sleep(0.5)
        before, began = len(lines), anyio.current_time()
        ask(run, event)
        await run.returned.wait()
        ended = left_at[0] if left_at else anyio.current_time()
        if witness is not None and row.name == "large":
            await witness.read()

    assert lines.count("lifespan: shutdown") == 1
    check_times(cell, pace, ended - began, witness and witness.over_at, began)
    check_words(row, cell, witness, lines[before:], caplog)
    assert bool(left_at) is (cell.app is App.GOES_ON)
    if how != "cancelled scope":  # whose end is the cancellation; what the shutdown came to is logged
        assert isinstance(run.error, ShutdownError) is (row.lifespan != "app")


def check_times(cell: Cell, pace: Pace, took: float, client_over_at: float | None, began: float) -> None:
    assert cell.when.seconds(pace) <= took <= cell.when.seconds(pace) + LATE
    assert took <= pace.bound
    if cell.client not in (Client.NOBODY, Client.CUT) and cell.when is not When.FORCED:
        assert client_over_at is not None
        expected = (cell.client_when or cell.when).seconds(pace)
        assert expected - LATE <= client_over_at - began <= expected + LATE


def check_words(
    row: Row, cell: Cell, witness: Witness | None, lines: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert cell.app is App.GOES_ON or row.lifespan != "app" or not errors
    if cell.app is not App.GOES_ON:  # here nothing ends it but its own end
        assert witness is None or seen(bytes(witness.data)) is cell.client
        assert told(lines) is cell.app
