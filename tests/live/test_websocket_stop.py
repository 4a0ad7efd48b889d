"""Ends from outside: signals while WebSockets are open, clients that are killed or break off at every point."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from websockets.exceptions import ConnectionClosed
from wsproto.events import TextMessage

from tests.live.backends import one_loop_per_library
from tests.live.servers import PATIENCE
from tests.live.websocket_raw import RawWebSocket, connected, upgrade
from tests.live.websocket_site import Ended

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

    from tests.live.conftest import LiveServers
    from tests.live.servers import ProcessServer

pytestmark = pytest.mark.live

BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])

ECHO = "tests.live.websocket_site:reporting_echo"
STUBBORN = "tests.live.websocket_site:stubborn"
DEAF = "tests.live.websocket_site:deaf"
ENDLESS = "tests.live.websocket_site:endless"
OPEN = "websocket: open"


def close_code(client: ClientConnection) -> int | None:
    """What the connection is closed with, behind whatever comes before it; None if it was lost without a Close."""
    try:
        while True:
            client.recv(PATIENCE)
    except ConnectionClosed as closed:
        return None if closed.rcvd is None else closed.rcvd.code


def assert_lifespan_ran(server: ProcessServer) -> None:
    assert server.stderr.text.count("lifespan: stopped\n") == 1


# --- the server's end -------------------------------------------------------------------------


@BOTH
def test_open_websockets_are_closed_with_1012_and_the_server_ends_at_once(
    live_server: LiveServers, number: signal.Signals
) -> None:
    server = live_server(ECHO, timeout_graceful_shutdown=60, timeout_shutdown_notice=20)
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(server)) for _ in range(20)]
        server.stderr.wait_for(OPEN, 20)
        began = time.monotonic()

        server.send_signal(number)

        assert {close_code(client) for client in clients} == {1012}
        assert server.wait_exit() == 0
        assert time.monotonic() - began < 3
    assert server.stderr.text.count("websocket: 1012 ''\n") == 20
    assert_lifespan_ran(server)


@BOTH
@pytest.mark.parametrize("app", [STUBBORN, DEAF])
def test_an_application_that_goes_on_is_cancelled_when_the_grace_period_ends(
    live_server: LiveServers, app: str, number: signal.Signals
) -> None:
    """Its client was told at once all the same."""
    server = live_server(app, timeout_graceful_shutdown=2)
    with connected(server) as client:
        server.stderr.wait_for(OPEN)
        began = time.monotonic()

        server.send_signal(number)

        assert close_code(client) == 1012
        assert time.monotonic() - began < 1.9
        server.stderr.wait_for("websocket: cancelled")
        assert server.wait_exit() == 0
    assert_lifespan_ran(server)


def test_one_that_only_speaks_hears_of_the_stop_in_send(live_server: LiveServers) -> None:
    server = live_server(ENDLESS, timeout_graceful_shutdown=60)
    with connected(server) as client:
        assert client.recv(PATIENCE) == "0"

        server.send_signal(signal.SIGTERM)

        assert close_code(client) == 1012
        assert server.wait_exit() == 0
    assert "websocket: ClientDisconnected\n" in server.stderr.text


def test_a_client_that_does_not_answer_the_close_delays_the_end_by_its_deadline(live_server: LiveServers) -> None:
    server = live_server(ECHO, timeout_ws_close=0.3, timeout_graceful_shutdown=60)
    with RawWebSocket(server.port) as client:
        client.open()
        server.stderr.wait_for(OPEN)
        began = time.monotonic()

        server.send_signal(signal.SIGTERM)

        assert client.hear_close().code == 1012
        assert server.wait_exit() == 0
        assert 0.2 < time.monotonic() - began < 3


# --- the client's end -------------------------------------------------------------------------

CLIENT: Final = """
import sys
from websockets.sync.client import connect
with connect(sys.argv[1], proxy=None) as client:
    client.send("here")
    print(client.recv(), flush=True)
    sys.stdin.read()
"""


def test_a_client_that_is_killed_is_a_1006(live_server: LiveServers) -> None:
    app = Ended()
    url = live_server(app).url.replace("http", "ws")
    words = [sys.executable, "-c", CLIENT, url]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "here\n"
        assert not app.done.is_set()
        client.kill()

        assert app.wait() == {"type": "websocket.disconnect", "code": 1006, "reason": ""}


ROUNDS: Final = 250
"""Of each way to break off: a thousand connections in all."""


def break_off(port: int, way: int) -> None:
    client = RawWebSocket(port)
    match way:
        case 0:  # in the handshake
            client.send(upgrade()[:-20])
            client.reset()
        case 1:  # right behind it, its answer unread
            client.send(upgrade())
            client.reset()
        case 2:  # inside a frame, politely
            client.open()
            client.send(b"\x81\x85")
            client.socket.close()
        case _:  # with a message that nobody will read on its way back
            client.open()
            client.say(TextMessage("a" * 100))
            client.reset()


@one_loop_per_library
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted in Linux's /proc")
def test_a_thousand_connections_that_break_off_leave_nothing_open(live_server: LiveServers) -> None:
    server = live_server(ECHO)
    folder = f"/proc/{server.process.pid}/fd"
    with connected(server) as client:
        client.send("before")
        assert client.recv(PATIENCE) == "before"
        before = len(os.listdir(folder))

        for _ in range(ROUNDS):
            for way in range(4):
                break_off(server.port, way)

        client.send("after")
        assert client.recv(PATIENCE) == "after"
        began = time.monotonic()
        while len(os.listdir(folder)) > before:
            assert time.monotonic() - began < PATIENCE, f"{len(os.listdir(folder))} descriptors, {before} before"


def test_many_at_once_get_what_is_theirs(live_server: LiveServers) -> None:
    """Forty clients in threads of their own, each with messages of its own, at the same time."""
    server = live_server(Ended())
    failed: list[BaseException] = []

    def talk(number: int) -> None:
        try:
            with connected(server) as client:
                for turn in range(50):
                    text = f"{number}:{turn}" * (turn + 1)
                    client.send(text)
                    assert client.recv(PATIENCE) == text
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=talk, args=[number]) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(3 * PATIENCE)
    assert not failed
