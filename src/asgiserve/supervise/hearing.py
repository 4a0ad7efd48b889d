"""A worker's thread that hears what the supervisor says, whatever its event loop does. Started by worker.py.

What it hears it tells at once, and puts where a task of the loop finds it: the bound of a stop counts from the
supervisor's word on, also where the loop is blocked, still imports the application, or has ended.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from asgiserve.process.own_thread import start_thread
from asgiserve.supervise.channel import MAX_LINE, said_in

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from io import BufferedReader

__all__ = ["GONE", "Said", "start_hearing"]

GONE: Final = "gone"
"""What nobody says: the line has ended, and with it the supervisor."""


class Said(NamedTuple):
    """What the supervisor says; process.py has the words."""

    word: str
    last: bool
    """No other worker accepts after this one."""


def start_hearing(line: socket.socket, *tell: Callable[[Said], None]) -> None:
    """Tell each of them, in a thread, of all that comes on this line until the process ends; `GONE` comes last.

    Raises StartupError.
    """
    lines = line.makefile("rb")
    start_thread("asgiserve hearing", _hear, lines, tell)


def _hear(lines: BufferedReader, tell: tuple[Callable[[Said], None], ...]) -> None:
    for said in _all_said(lines):
        for one in tell:
            one(said)


def _all_said(lines: BufferedReader) -> Iterator[Said]:
    with lines, suppress(OSError):
        while (said := said_in(lines.readline(MAX_LINE))) is not None:
            yield Said(said["word"], said.get("last") is True)
    yield Said(GONE, last=True)
