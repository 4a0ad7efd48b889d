"""What an application learns when its client goes away: one table, for the page of behaviour and for the tests.

`python -m tests.support.leaving` prints it; `tests/unit/connection/test_when_the_client_leaves.py` checks every cell,
and that the page has the table as it is here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

__all__ = ["COLUMNS", "TABLE", "THREADS", "Column", "Outcome", "Row", "page_table"]


class Outcome(Enum):
    """What becomes of an application."""

    ANSWERS = "goes on, and its answer is sent"
    GOES_ON = "goes on; `send()` is silent"
    WORKS_ON = "goes on"
    WAITS = "waits on, up to `timeout_write`"
    IS_RELEASED = "`send()` returns at once, silently"
    IS_TOLD = "`http.disconnect` at once"
    HEARS = "`True` when it asks next"
    IS_ENDED = "is ended at once, by its framework"
    IS_ENDED_AND_WORKS_ON = "the stream is ended at once, by its framework; the task runs to its end"
    IS_CANCELLED = "is cancelled within 0.25 s"
    IS_RELEASED_AND_CANCELLED = "`send()` returns at once; is cancelled within 0.25 s"
    THREAD_ENDS_FIRST = "the thread goes on; is cancelled when it has ended"
    WEBSOCKET_IS_TOLD = "`websocket.disconnect` with 1006 at once"
    SEND_RAISES_SOON = "`send()` raises within 0.5 s"
    SEND_RAISES = "the next `send()` raises"


@dataclass(frozen=True)
class Column:
    title: str
    leaves: str
    """How the client leaves: "FIN" ends its side only, "RST" is the loss of the connection."""
    cancel_on_disconnect: bool


@dataclass(frozen=True)
class Row:
    doing: str
    """What the application is doing."""
    scenario: str
    """The name of what plays it, in the tests."""
    outcomes: tuple[Outcome, Outcome, Outcome, Outcome]


COLUMNS: Final = (
    Column("half-close (FIN)", "FIN", cancel_on_disconnect=False),
    Column("reset (RST)", "RST", cancel_on_disconnect=False),
    Column("FIN, `--cancel-on-disconnect`", "FIN", cancel_on_disconnect=True),
    Column("RST, `--cancel-on-disconnect`", "RST", cancel_on_disconnect=True),
)


def _same(outcome: Outcome) -> tuple[Outcome, Outcome, Outcome, Outcome]:
    return outcome, outcome, outcome, outcome


THREADS: Final = "runs_in_a_thread"
"""The scenario that knows no virtual time."""
_CANCELLED: Final = Outcome.IS_CANCELLED

TABLE: Final = (
    Row("waits for anything but its client", "sleeps", (Outcome.ANSWERS, Outcome.GOES_ON, _CANCELLED, _CANCELLED)),
    Row("waits in `receive()`", "listens", _same(Outcome.IS_TOLD)),
    Row("asks Starlette's `is_disconnected()` ten times a second", "asks", _same(Outcome.HEARS)),
    Row(
        "sends a stream by `send()`, and does not listen",
        "sends",
        (Outcome.ANSWERS, Outcome.GOES_ON, _CANCELLED, _CANCELLED),
    ),
    Row(
        "waits in `send()` for a client that does not read",
        "is_blocked",
        (Outcome.WAITS, Outcome.IS_RELEASED, _CANCELLED, Outcome.IS_RELEASED_AND_CANCELLED),
    ),
    Row("sends a `StreamingResponse`", "streams", _same(Outcome.IS_ENDED)),
    Row("the same, with a background task behind it", "streams_then_works", _same(Outcome.IS_ENDED_AND_WORKS_ON)),
    Row("sends events by sse-starlette's `EventSourceResponse`", "sends_events", _same(Outcome.IS_ENDED)),
    Row(
        "runs in a thread (FastAPI's `def` endpoint)",
        THREADS,
        (Outcome.ANSWERS, Outcome.GOES_ON, Outcome.THREAD_ENDS_FIRST, Outcome.THREAD_ENDS_FIRST),
    ),
    Row("works in a background task, after its response", "works_in_the_background", _same(Outcome.WORKS_ON)),
    Row("WebSocket: waits in `receive()`", "websocket_listens", _same(Outcome.WEBSOCKET_IS_TOLD)),
    Row(
        "WebSocket: sends, and does not listen",
        "websocket_sends",
        (Outcome.SEND_RAISES_SOON, Outcome.SEND_RAISES, Outcome.SEND_RAISES_SOON, Outcome.SEND_RAISES),
    ),
    Row("WebSocket: waits for anything but its client", "websocket_sleeps", _same(Outcome.WORKS_ON)),
)

_FILE: Final = "tests/unit/connection/test_when_the_client_leaves.py"
_TEST: Final = f"{_FILE}::test_every_cell_of_the_table_is_what_happens"
_TEST_OF_THREADS: Final = f"{_FILE}::test_every_cell_about_threads_is_what_happens"


def page_table() -> str:
    """The table as the page of behaviour has it."""
    titles = ["the application", *(column.title for column in COLUMNS), "test"]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for row in TABLE:
        test = _TEST_OF_THREADS if row.scenario == THREADS else _TEST
        cells = [row.doing, *(outcome.value for outcome in row.outcomes), f"`{test}`"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page_table(), end="")
