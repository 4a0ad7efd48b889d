"""Ten thousand connections that end in every way there is: no task, no descriptor and no memory is left of them.

A reduced part runs unless --stress is given. What needs no kernel is in `tests/unit/connection/test_leaks.py`.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack
from functools import partial
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import pytest

from tests.live import endings
from tests.live.backends import one_loop_per_library
from tests.live.endings import TlsClient, read_to_the_end
from tests.live.leaks import SITE, assert_nothing_is_left, assert_spare_guards_go, held, held_at_rest, settled
from tests.live.raw import RawClient
from tests.support.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.live.conftest import LiveServers
    from tests.live.endings import Connect, Ending

    Many = Callable[[int, int], int]

pytestmark = [pytest.mark.live, pytest.mark.stress]

WAYS = [
    pytest.param(endings.FINISHED, id="finished"),
    pytest.param(endings.ABORTED, id="aborted"),
    pytest.param(endings.UPGRADED, id="upgraded"),
]

SHORT: dict[str, Any] = {
    f"timeout_{name}": 1 for name in ("keep_alive", "head", "body", "write", "handshake", "ws_close")
}
SOON: dict[str, Any] = {"timeout_handshake": 2}
"""trio keeps up to a thousand deadlines of what has ended until they would have come."""
AT_ONCE = 500
"""Connections that time out at the same time."""


def in_turn(ways: Sequence[Ending], connect: Connect) -> Callable[[int], None]:
    """What makes and ends so many connections, each in another way than the one before."""
    endless = cycle(ways)

    def some(step: int) -> None:
        for end in islice(endless, step):
            end(connect)

    return some


def at_once(begins: Sequence[Callable[[RawClient], None]], connect: Connect) -> Callable[[int], None]:
    """What makes so many connections and waits until the server has ended them."""

    def some(step: int) -> None:
        with ExitStack() as stack:
            clients = []
            for begin in islice(cycle(begins), step):
                client = stack.enter_context(connect())
                begin(client)
                clients.append(client)
            for client in clients:
                read_to_the_end(client)

    return some


@pytest.mark.parametrize("ways", WAYS)
def test_nothing_is_left_of_connections_that_have_ended(
    live_server: LiveServers, ways: Sequence[Ending], many: Many
) -> None:
    connect = partial(RawClient, live_server(SITE).port)
    assert_nothing_is_left(connect, in_turn(ways, connect), many(10_000, 100))


def test_nothing_is_left_of_connections_whose_application_has_failed(live_server: LiveServers, many: Many) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        number = bound.fileno()
        # Without the tracebacks: nobody reads ten thousand of them.
        live_server(SITE, fd=number, pass_fds=[number], log_level="critical", ready="lifespan: started")
        connect = partial(RawClient, bound.getsockname()[1])
        assert_nothing_is_left(connect, in_turn(endings.ERRORS, connect), many(10_000, 100))


def test_nothing_is_left_of_guards_that_no_connection_needs(live_server: LiveServers) -> None:
    connect = partial(RawClient, live_server(SITE).port)
    before = held_at_rest(connect)
    with ExitStack() as stack:
        for client in [stack.enter_context(connect()) for _ in range(20)]:
            assert client.get("/").status == 200
        assert held(connect).tasks >= before.tasks + 2 * 20
    assert_spare_guards_go(connect)
    settled(connect, before)


@one_loop_per_library
@pytest.mark.parametrize("ways", WAYS)
def test_nothing_is_left_of_connections_over_tls(
    live_server: LiveServers, ways: Sequence[Ending], many: Many, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    server = live_server(SITE, **authority.pair().settings, **SOON)
    connect = partial(TlsClient, server.port, authority.client())
    assert_nothing_is_left(connect, in_turn(ways, connect), many(2_000, 40))


@one_loop_per_library
def test_nothing_is_left_of_handshakes_that_fail(live_server: LiveServers, many: Many, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = live_server(SITE, **authority.pair().settings, **SOON)
    connect = partial(TlsClient, server.port, authority.client())
    fail = in_turn(endings.HANDSHAKES, partial(RawClient, server.port))
    assert_nothing_is_left(connect, fail, many(2_000, 40))


def test_nothing_is_left_of_connections_that_time_out(live_server: LiveServers, many: Many) -> None:
    connect = partial(RawClient, live_server(SITE, **SHORT).port)
    wait = at_once(endings.TIMED_OUT, connect)
    assert_nothing_is_left(connect, wait, many(10_000, 60), step=AT_ONCE)


@one_loop_per_library
def test_nothing_is_left_of_handshakes_that_time_out(live_server: LiveServers, many: Many, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = live_server(SITE, **authority.pair().settings, **SHORT)
    connect = partial(TlsClient, server.port, authority.client())
    wait = at_once([endings.slow_client_hello], partial(RawClient, server.port))
    assert_nothing_is_left(connect, wait, many(10_000, 60), step=AT_ONCE)
