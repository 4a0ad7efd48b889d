"""A worker's thread that tells what goes on in it, whatever its event loop does. Started by worker.py.

It waits for the supervisor to ask, which is seldom; the rest of the time it costs a sleeping thread.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import traceback
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from asgiserve.process.own_thread import start_thread
from asgiserve.supervise.channel import MAX_LINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["answering_thread"]

_JOIN_SECONDS: Final = 1.0
"""For an answer that is being made: it takes milliseconds."""

_TRIES: Final = 5
"""The loop goes on while this thread reads what belongs to it: a set may change while it is walked over."""


@contextmanager
def answering_thread(end: socket.socket, about: Callable[[], dict[str, Any]]) -> Iterator[None]:
    """Answer each line on this socket with one of what `about` returns and the stacks of all other threads.

    Raises StartupError.
    """
    thread = start_thread("asgiserve inspection", _answer, end, about)
    try:
        yield
    finally:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)  # wakes the thread
        thread.join(_JOIN_SECONDS)
        end.close()


def _answer(end: socket.socket, about: Callable[[], dict[str, Any]]) -> None:
    try:
        while asked := end.recv(4096):
            number = json.loads(asked.splitlines()[-1])["number"]
            end.sendall(_line({"word": "told", "number": number, **_tried(about), "stacks": _stacks()}))
    except OSError:
        pass  # the supervisor is gone


def _tried(about: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    for _ in range(_TRIES):
        try:
            return about()
        except RuntimeError:
            continue
    return {"text": "too much goes on to be read"}


def _line(answer: dict[str, Any]) -> bytes:
    line = json.dumps(answer).encode() + b"\n"
    if len(line) <= MAX_LINE:
        return line
    # A character may become six bytes, and what is cut is text for people.
    short = {name: one[: MAX_LINE // 16] if isinstance(one, str) else one for name, one in answer.items()}
    return json.dumps(short).encode() + b"\n"


def _stacks() -> str:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    stacks = []
    for ident, frame in sys._current_frames().items():
        name = names.get(ident, str(ident))
        if not name.startswith("asgiserve"):  # those that watch, this one among them
            stacks.append(f"Thread {name}:\n" + "".join(traceback.format_stack(frame)))
    return "".join(stacks)
