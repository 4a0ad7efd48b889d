"""What a server's process holds, and how a test finds that it holds no more than before.

The server serves `leak_site.py`. Tasks and descriptors are counted exactly; memory is what tracemalloc counts.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.live.raw import RawClient

    Connect = Callable[[], RawClient]

__all__ = ["SITE", "Held", "assert_nothing_is_left", "assert_spare_guards_go", "held", "held_at_rest", "settled"]

SITE: Final = "tests.live.leak_site:app"

PATIENCE: Final = 60.0
"""How long the last connections may take to end: their applications may still have much to send into nothing."""

NOISE: Final = 64 * 1024
"""Bytes by which memory may grow in the second half of all connections: in the first half caches fill."""


class Held(NamedTuple):
    """What the process holds at one moment, the connection that asks included."""

    tasks: int
    descriptors: int
    memory: int
    spare: int
    """Guards that wait for the next connection: not among the tasks, and of no account while connections come."""


def held(connect: Connect) -> Held:
    """Ask the server."""
    with connect() as client:
        answer = client.get("/count", "Connection: close")
    return Held(**json.loads(answer.body))


def assert_nothing_is_left(connect: Connect, some: Callable[[int], None], count: int, step: int = 500) -> None:
    """Have `some(n)` make and end n connections, `step` at most, until there were `count`: nothing of them is left.

    What the server holds is asked for before the first, in the middle and at the end."""
    step = min(step, count // 2)
    with connect() as client:
        client.get("/trace", "Connection: close")
    before = held_at_rest(connect)
    for _ in range(count // 2 // step):
        some(step)
    middle = settled(connect, before)
    for _ in range(count // 2 // step):
        some(step)
    after = settled(connect, before._replace(memory=middle.memory + NOISE))
    second = after.memory - middle.memory
    print(f"{count} connections: memory {middle.memory} B behind the first half, {second:+} B in the second")


def held_at_rest(connect: Connect) -> Held:
    """What is held before anything happens: the least of some answers, since the connection of the one before may not
    be quite gone when the next is counted."""
    with connect() as client:
        # A second request on a connection gives it a transport, and uvloop's first one opens a descriptor that is kept.
        client.get("/count")
        client.get("/count", "Connection: close")
    return min(held(connect) for _ in range(5))._replace(memory=sys.maxsize, spare=sys.maxsize)


def settled(connect: Connect, most: Held) -> Held:
    """What is held when the last connections have ended, and their deadlines, which trio forgets when they pass: no
    more of anything than `most`."""
    deadline, first = time.monotonic() + PATIENCE, None
    while True:
        now = held(connect)
        if all(count <= bound for count, bound in zip(now, most, strict=True)):
            return now
        first = first or now
        assert time.monotonic() < deadline, f"{first}, in the end {now}, and expected was {most}"


def assert_spare_guards_go(connect: Connect) -> None:
    """Once no connections come. Whoever asks needs one guard, so it is asked seldom."""
    deadline = time.monotonic() + PATIENCE
    while (spare := held(connect).spare) > 0:
        assert time.monotonic() < deadline, f"{spare} guards still wait for a connection"
        time.sleep(0.5)
