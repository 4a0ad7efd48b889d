"""Streams of sse-starlette's at a stop: it looks for a server that it can ask, and finds ours."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.live.backends import on_asyncio_only, on_trio_only, one_loop_per_library
from tests.live.raw import RawClient, request

if TYPE_CHECKING:
    from tests.live.conftest import LiveServers
    from tests.live.servers import ProcessServer

pytestmark = pytest.mark.live

SITE = "tests.live.event_site:app"

BEYOND_PATIENCE = {"timeout_shutdown_notice": 30, "timeout_graceful_shutdown": 60}
"""A stop that waits for the notice takes longer than any test waits."""

ONE_OR_SEVERAL = pytest.mark.parametrize("workers", [1, 2])


def serving(live_server: LiveServers, workers: int, **settings: float) -> ProcessServer:
    """The server, whose workers are all ready: the supervisor knows it too."""
    server = live_server(SITE, workers=workers, **settings)
    if workers > 1:
        server.wait_workers(workers)
    return server


@on_asyncio_only
@ONE_OR_SEVERAL
def test_a_stop_ends_the_streams_before_the_notice(live_server: LiveServers, workers: int) -> None:
    server = serving(live_server, workers, **BEYOND_PATIENCE)
    with RawClient(server.port) as client:
        client.send(request())
        client.read_until(b"data: first\r\n")

        server.send_signal(signal.SIGTERM)

        assert server.wait_exit() == 0
    assert server.stderr.text.count("events: ended\n") == 1
    assert server.stderr.text.count("lifespan: stopped\n") == workers
    assert "ERROR" not in server.stderr.text


@on_asyncio_only
def test_so_do_workers_whose_supervisor_is_gone(live_server: LiveServers) -> None:
    server = serving(live_server, 2, **BEYOND_PATIENCE)
    server.expected_code = -signal.SIGKILL
    with RawClient(server.port) as client:
        client.send(request())
        client.read_until(b"data: first\r\n")

        server.send_signal(signal.SIGKILL)

        server.wait_exit()  # the pipe of stderr ends with the last of them
    assert server.stderr.text.count("events: ended\n") == 1
    assert server.stderr.text.count("lifespan: stopped\n") == 2


@on_trio_only
@ONE_OR_SEVERAL
def test_on_trio_where_it_does_not_look_they_end_at_the_notice(live_server: LiveServers, workers: int) -> None:
    server = serving(live_server, workers, timeout_shutdown_notice=0.2, timeout_graceful_shutdown=60)
    with RawClient(server.port) as client:
        client.send(request())
        client.read_until(b"data: first\r\n")
        began = time.monotonic()

        server.send_signal(signal.SIGTERM)

        assert server.wait_exit() == 0
        assert time.monotonic() - began >= 0.2
    assert server.stderr.text.count("events: ended\n") == 1
    assert server.stderr.text.count("lifespan: stopped\n") == workers


@one_loop_per_library
@ONE_OR_SEVERAL
def test_in_the_delay_of_a_stop_streams_go_on(live_server: LiveServers, workers: int) -> None:
    """What they look for says so; the delay is longer than any test waits, and a second signal ends it."""
    server = serving(live_server, workers, shutdown_delay=20)
    with RawClient(server.port) as client:
        before = client.get("/found").body
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Serving on for 20 s", workers)
        meanwhile = client.get("/found").body
        server.send_signal(signal.SIGTERM)
        assert server.wait_exit() == 0
    assert (before, meanwhile) == (b"false", b"false")


@one_loop_per_library
@ONE_OR_SEVERAL
def test_behind_the_delay_they_are_to_end(live_server: LiveServers, workers: int) -> None:
    server = serving(live_server, workers, shutdown_delay=0.3, timeout_graceful_shutdown=60)
    with RawClient(server.port) as client:
        client.send(request("/found", "Content-Length: 2", method="POST") + b"a")
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Waiting for at most 60 s")

        client.send(b"b")

        assert client.answer("POST").body == b"true"
        assert server.wait_exit() == 0
