"""What a server's process holds, and how a test finds that it holds no more than before.

The server serves `leak_site.py`. Tasks and descriptors are counted exactly; memory is what tracemalloc counts.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.live.raw import RawClient

    Connect = Callable[[], RawClient]

__all__ = ["SITE", "Held", "assert_nothing_is_left", "held", "settled"]

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
        # A second request on a connection gives it a transport, and uvloop's first one a descriptor that is kept.
        client.get("/count")
        client.get("/trace", "Connection: close")
    before = held(connect)
    for _ in range(count // 2 // step):
        some(step)
    middle = settled(connect, lambda now: now[:2] == before[:2])
    for _ in range(count // 2 // step):
        some(step)
    after = settled(connect, lambda now: now[:2] == before[:2] and now.memory < middle.memory + NOISE)
    first, second = middle.memory - before.memory, after.memory - middle.memory
    print(f"{count} connections: memory {first:+} B in the first half, {second:+} B in the second")


def settled(connect: Connect, is_settled: Callable[[Held], bool]) -> Held:
    """What is held when the last connections have ended, and their deadlines, which trio forgets when they pass."""
    deadline, first = time.monotonic() + PATIENCE, None
    while not is_settled(now := held(connect)):
        first = first or now
        assert time.monotonic() < deadline, f"{first}, and in the end {now}"
    return now
