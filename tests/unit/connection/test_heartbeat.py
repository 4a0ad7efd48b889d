"""When a peer is pinged, and when it is given up: on a clock that the test turns by hand."""

from __future__ import annotations

import math

import pytest

from asgiserve.config import WebSockets
from asgiserve.connection.deadlines import TICK, Deadlines, Reason, Watcher
from asgiserve.connection.heartbeat import Heartbeat

pytestmark = pytest.mark.anyio


class Clocked:
    """A heartbeat that pings every 20 s and waits 10."""

    def __init__(self, *, interval: float = 20.0, timeout: float = 10.0) -> None:
        self.now = 100.0
        self.deadlines = Deadlines(Watcher([], self.time))
        settings = WebSockets(ws_ping_interval=interval, ws_ping_timeout=timeout)
        self.heartbeat = Heartbeat(settings, self.deadlines, self.time)
        self.heartbeat.start()

    def time(self) -> float:
        return self.now

    @property
    def armed(self) -> tuple[float, float]:
        """When the next ping is due, and when the peer is looked at."""
        return self.deadlines._when[Reason.PING], self.deadlines._when[Reason.PONG]

    def ping(self, at: float, *, sent: bool = True) -> None:
        self.now = at
        self.heartbeat.pinged(sent=sent)

    def overdue(self, at: float, *, reading: bool = True) -> bool:
        self.now = at
        self.deadlines.disarm(Reason.PONG)
        return self.heartbeat.overdue(reading=reading)


async def test_a_peer_that_says_nothing_is_given_up_at_its_time() -> None:
    clocked = Clocked()
    assert clocked.armed == (120.0, math.inf)
    clocked.ping(120.0)
    assert clocked.armed == (140.0, 130.0)
    assert clocked.overdue(130.0 + TICK)


async def test_a_sign_of_life_ends_the_wait() -> None:
    clocked = Clocked()
    clocked.ping(120.0)
    clocked.heartbeat.heard = True
    assert not clocked.overdue(130.0)
    assert clocked.armed == (140.0, math.inf)
    clocked.ping(140.0)
    assert clocked.overdue(150.0)


async def test_a_second_ping_gives_a_silent_peer_no_more_time() -> None:
    clocked = Clocked(interval=4.0)
    clocked.ping(104.0)
    clocked.ping(108.0)
    assert clocked.armed == (112.0, 114.0)


async def test_a_ping_that_is_due_together_with_the_look_at_the_one_before_counts_from_now_on() -> None:
    clocked = Clocked(timeout=20.0)
    clocked.ping(120.0)
    clocked.heartbeat.heard = True
    clocked.ping(140.0)
    assert not clocked.heartbeat.overdue(reading=True)
    assert clocked.armed == (160.0, 160.0)


async def test_a_loop_that_was_held_up_gets_a_turn_before_a_peer_is_given_up() -> None:
    clocked = Clocked()
    clocked.ping(120.0)
    assert not clocked.overdue(137.0)
    assert clocked.armed[1] == 137.0 + TICK
    assert clocked.overdue(137.0 + TICK)


async def test_nobody_is_given_up_while_nobody_reads() -> None:
    clocked = Clocked()
    clocked.ping(120.0)
    for number in range(5):
        assert not clocked.overdue(130.0 + number * TICK, reading=False)
    assert clocked.overdue(130.0 + 5 * TICK)


async def test_a_ping_that_could_not_be_sent_is_not_waited_for() -> None:
    clocked = Clocked()
    clocked.ping(120.0, sent=False)
    assert clocked.armed == (140.0, math.inf)


async def test_a_start_forgets_what_was_waited_for() -> None:
    clocked = Clocked()
    clocked.ping(120.0)
    clocked.heartbeat.stop()
    assert clocked.armed == (math.inf, math.inf)
    clocked.now = 500.0
    clocked.heartbeat.start()
    assert clocked.armed == (520.0, math.inf)
    assert not clocked.overdue(501.0)


async def test_pings_are_numbered() -> None:
    clocked = Clocked()
    assert [clocked.heartbeat.payload() for _ in range(2)] == [b"\0\0\0\1", b"\0\0\0\2"]
