"""`asgiserve.testing`: servers for tests, in a thread and in the test's own loop, on real sockets."""

from __future__ import annotations

import os
import socket
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from websockets.sync.client import connect

from asgiserve import BindError, ConfigError, ShutdownError, StartupError
from asgiserve.config import LAUNCH_NAMES, OPTIONS
from asgiserve.testing import ServerHangs, async_live_server, live_server
from asgiserve.testing.loops import tasks_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asgiserve.types import Receive, Scope, Send
    from tests.live.backends import Backend

pytestmark = pytest.mark.live

SECONDS = 10.0


@pytest.fixture
def loop(anyio_backend: Backend) -> dict[str, str]:
    """Which event loop, as settings of `live_server`."""
    name, options = anyio_backend
    return {"backend": name, "loop": "uvloop"} if options.get("use_uvloop") else {"backend": name}


@pytest.fixture
def ask() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=SECONDS) as client:
        yield client


def answering(text: str, log: list[str] | None = None) -> Any:
    """An application that answers with a text, and writes its lifespan down."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for _ in range(2):
                event = (await receive())["type"]
                if log is not None:
                    log.append(f"{text} {event.partition('.')[2]}")
                await send({"type": f"{event}.complete"})
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": text})
            await send({"type": "websocket.close"})
            return
        headers = [(b"content-length", b"%d" % len(text))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": text.encode()})

    return app


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        raise KeyError(scope["path"])
    raise NotImplementedError


async def refusing_to_start(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


async def failing_at_the_end(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "lifespan"
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    raise LookupError("pool")


class Stubborn:
    """An application whose requests ignore their cancellation, or block the event loop, until the test ends."""

    def __init__(self, *, blocks: bool) -> None:
        self.blocks = blocks
        self.entered = threading.Event()
        self.over = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        self.entered.set()
        if self.blocks:
            self.over.wait(SECONDS)
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.over.wait, SECONDS)


# --- in a thread ------------------------------------------------------------------------------


def test_a_server_listens_when_the_block_begins_and_is_gone_when_it_ends(
    loop: dict[str, str], ask: httpx.Client
) -> None:
    log: list[str] = []
    before = threading.active_count()

    with live_server(answering("hello", log), **loop) as server:
        assert ask.get(server.url).text == "hello"
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert log == ["hello startup"]

    assert log == ["hello startup", "hello shutdown"]
    assert threading.active_count() == before
    with pytest.raises(httpx.ConnectError):
        ask.get(server.url)


def test_its_websockets_have_a_url_as_well(loop: dict[str, str]) -> None:
    with live_server(answering("hello"), **loop) as server, connect(server.ws_url, proxy=None) as client:
        assert client.recv(SECONDS) == "hello"


def hello_wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("content-length", "5")])
    return [b"hello"]


def test_the_interface_of_an_application_may_be_named(loop: dict[str, str], ask: httpx.Client) -> None:
    log: list[str] = []
    asgi3 = answering("hello", log)

    def asgi2(scope: Scope) -> Any:
        return partial(asgi3, scope)

    for app, interface in ((hello_wsgi, "wsgi"), (asgi2, "asgi2"), (asgi3, "asgi3")):
        with live_server(app, interface=interface, raise_app_exceptions=True, **loop) as server:
            assert ask.get(server.url).text == "hello"
    assert log == ["hello startup", "hello shutdown"] * 2


@pytest.mark.parametrize("name", sorted(LAUNCH_NAMES - {"backend", "loop"}))
def test_a_setting_of_who_starts_a_process_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}: is for run"):
        live_server(answering("hello"), **{name: OPTIONS[name].default}).__enter__()


def test_a_failed_startup_is_raised_in_the_caller(loop: dict[str, str]) -> None:
    with pytest.raises(StartupError, match="no database"), live_server(refusing_to_start, **loop):
        pass


def test_an_address_that_is_taken_is_raised_in_the_caller(loop: dict[str, str]) -> None:
    with live_server(answering("first"), **loop) as server:
        second = live_server(answering("second"), port=server.port, **loop)
        with pytest.raises(BindError):
            second.__enter__()


def test_a_failed_shutdown_is_raised_at_the_end(loop: dict[str, str]) -> None:
    with pytest.raises(ShutdownError, match="pool"), live_server(failing_at_the_end, **loop):
        pass


def test_the_blocks_own_error_wins_and_carries_the_others_as_a_note(loop: dict[str, str]) -> None:
    with pytest.raises(ZeroDivisionError) as raised, live_server(failing_at_the_end, **loop):
        raise ZeroDivisionError

    assert "ShutdownError" in raised.value.__notes__[0]


def test_what_the_application_raises_is_recorded(loop: dict[str, str], ask: httpx.Client) -> None:
    with live_server(failing, **loop) as server:
        assert ask.get(f"{server.url}/missing").status_code == 500
        (error,) = server.app_exceptions

    assert isinstance(error, KeyError)
    assert error.args == ("/missing",)


def test_what_the_application_raises_is_raised_at_the_end_if_asked_for(loop: dict[str, str], ask: httpx.Client) -> None:
    with pytest.raises(KeyError, match="/one"), live_server(failing, raise_app_exceptions=True, **loop) as server:
        ask.get(f"{server.url}/one")

    def ask_twice() -> None:
        with live_server(failing, raise_app_exceptions=True, **loop) as server:
            ask.get(f"{server.url}/one")
            ask.get(f"{server.url}/two")

    with pytest.raises(BaseExceptionGroup) as raised:
        ask_twice()

    assert [error.args for error in raised.value.exceptions] == [("/one",), ("/two",)]


def test_an_expected_exception_can_be_removed(loop: dict[str, str], ask: httpx.Client) -> None:
    with live_server(failing, raise_app_exceptions=True, **loop) as server:
        ask.get(server.url)
        server.app_exceptions.clear()


def test_another_application_can_follow_on_the_same_address(loop: dict[str, str], ask: httpx.Client) -> None:
    log: list[str] = []

    with live_server(answering("first", log), **loop) as server:
        url = server.url
        assert ask.get(url).text == "first"
        server.swap(answering("second", log))
        assert log == ["first startup", "first shutdown", "second startup"]
        assert server.url == url
        assert ask.get(url).text == "second"


def test_after_a_swap_that_failed_another_one_works(loop: dict[str, str], ask: httpx.Client) -> None:
    with live_server(answering("first"), **loop) as server:
        with pytest.raises(StartupError):
            server.swap(refusing_to_start)
        server.swap(answering("second"))
        assert ask.get(server.url).text == "second"


def test_tls_comes_with_an_authority_that_clients_can_trust(loop: dict[str, str]) -> None:
    with live_server(answering("secret"), tls=True, host="localhost", **loop) as server:
        assert server.url == f"https://localhost:{server.port}"
        assert server.ws_url == f"wss://localhost:{server.port}"
        context = server.client_context()
        assert httpx.get(server.url, verify=context, trust_env=False).text == "secret"
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(server.url, trust_env=False)


def test_a_place_with_tls_off_is_plain_beside_one_that_speaks_tls(loop: dict[str, str]) -> None:
    for places in (["127.0.0.1:0,tls=off", "127.0.0.1:0"], ["127.0.0.1:0", "127.0.0.1:0,tls=off"]):
        with live_server(answering("hello"), tls=True, bind=places, **loop) as server:
            for place, (host, port) in zip(places, server.addresses, strict=True):
                scheme = "http" if place.endswith("off") else "https"
                url = f"{scheme}://{host}:{port}"
                assert httpx.get(url, verify=server.client_context(), trust_env=False).text == "hello"
                assert (server.url == url) is (place == places[0])


def test_tls_of_its_own_and_a_context_are_not_for_the_same_server() -> None:
    with pytest.raises(ConfigError, match="tls"), live_server(failing, tls=True, ssl_context=object()):  # type: ignore[arg-type]
        pass


def test_a_unix_socket_has_a_short_path_of_its_own_or_the_given_one(loop: dict[str, str], tmp_path: Path) -> None:
    for wanted in (True, os.path.relpath(tmp_path / "s")):
        with live_server(answering("unix"), uds=wanted, **loop) as server:
            path = server.uds
            assert path is not None
            with httpx.Client(transport=httpx.HTTPTransport(uds=path)) as client:
                assert client.get(server.url).text == "unix"
            with pytest.raises(AttributeError):
                _ = server.port
        assert not os.path.exists(path)


def test_all_addresses_of_a_name_are_on_one_free_port(loop: dict[str, str]) -> None:
    with live_server(answering("hello"), host="localhost", **loop) as server:
        found = {info[4][0] for info in socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)}
        assert {port for _, port in server.addresses} == {server.port}
        assert {host for host, _ in server.addresses} <= found
        assert "127.0.0.1" in {host for host, _ in server.addresses}


def test_a_client_that_stays_connected_does_not_hold_up_the_end(loop: dict[str, str], ask: httpx.Client) -> None:
    with live_server(answering("hello"), patience=5, timeout_graceful_shutdown=60, **loop) as server:
        ask.get(server.url)


@pytest.mark.parametrize("blocks", [False, True], ids=["ignores cancellation", "blocks the loop"])
def test_an_application_that_does_not_end_is_raised_in_the_caller_with_what_goes_on(
    loop: dict[str, str], blocks: bool
) -> None:
    app = Stubborn(blocks=blocks)
    before = set(threading.enumerate())

    def get_stuck() -> None:
        with (
            live_server(app, patience=1, timeout_graceful_shutdown=0, **loop) as server,
            socket.create_connection((server.host, server.port)) as client,
        ):
            client.sendall(b"GET /stuck HTTP/1.1\r\nHost: test\r\n\r\n")
            assert app.entered.wait(SECONDS)
            assert server.overview()

    try:
        with pytest.raises(ServerHangs) as raised:
            get_stuck()
    finally:
        app.over.set()
        for thread in set(threading.enumerate()) - before:
            thread.join(SECONDS)

    text = str(raised.value)
    assert "does not end within 1 s" in text
    assert "GET /stuck" in text
    assert "Stubborn" in text or "__call__" in text


def test_a_startup_that_does_not_end_is_raised_in_the_caller(loop: dict[str, str]) -> None:
    async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await anyio.sleep_forever()

    before = threading.active_count()
    with pytest.raises(ServerHangs, match="has not started") as raised, live_server(waiting, patience=0.3, **loop):
        pass

    assert "waiting" in str(raised.value)
    assert threading.active_count() == before


def test_servers_run_side_by_side_on_different_backends(ask: httpx.Client) -> None:
    with (
        live_server(answering("one"), backend="asyncio") as one,
        live_server(answering("two"), backend="trio") as two,
    ):
        assert [ask.get(one.url).text, ask.get(two.url).text] == ["one", "two"]


def test_starts_and_stops_leave_no_thread_and_no_descriptor(loop: dict[str, str]) -> None:
    with live_server(answering("warm"), **loop):
        pass
    threads, descriptors = threading.active_count(), len(os.listdir("/dev/fd"))

    for _ in range(20):
        with live_server(answering("again"), **loop):
            pass

    assert (threading.active_count(), len(os.listdir("/dev/fd"))) == (threads, descriptors)


# --- in the test's own loop -------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_server_in_the_tests_own_loop_serves_for_the_block() -> None:
    log: list[str] = []

    async with async_live_server(answering("hello", log)) as server, httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(server.url)).text == "hello"
        await server.swap(answering("second", log))
        assert (await client.get(server.url)).text == "second"

    assert log == ["hello startup", "hello shutdown", "second startup", "second shutdown"]


@pytest.mark.anyio
async def test_in_the_tests_own_loop_failures_are_raised_bare() -> None:
    with pytest.raises(StartupError, match="no database"):
        async with async_live_server(refusing_to_start):
            pass
    with pytest.raises(ShutdownError, match="pool"):
        async with async_live_server(failing_at_the_end):
            pass
    with pytest.raises(KeyError):
        async with async_live_server(failing, raise_app_exceptions=True) as server, httpx.AsyncClient() as client:
            await client.get(server.url)


@pytest.mark.anyio
async def test_a_cancelled_block_cancels_its_server_and_lets_lifespan_shut_down() -> None:
    log: list[str] = []

    with anyio.move_on_after(0.1) as scope:
        async with async_live_server(answering("hello", log)):
            await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert log == ["hello startup", "hello shutdown"]


@pytest.mark.anyio
async def test_a_block_that_is_cancelled_before_its_server_has_begun_leaves_none() -> None:
    for _ in range(10):  # on trio it is chance which of the two tasks runs first
        with anyio.CancelScope() as scope:
            scope.cancel()
            async with async_live_server(answering("never")):
                raise AssertionError("the block has begun")
        assert "asgiserve server for tests" not in tasks_text()


@pytest.mark.anyio
async def test_it_may_be_entered_in_one_task_and_left_in_another() -> None:
    block = async_live_server(answering("hello"))
    kept = []

    async def enter() -> None:
        kept.append(await block.__aenter__())

    async def leave() -> None:
        await block.__aexit__(None, None, None)

    async with anyio.create_task_group() as group:
        group.start_soon(enter)
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(kept[0].url)).text == "hello"
    async with anyio.create_task_group() as group:
        group.start_soon(leave)


@pytest.mark.anyio
async def test_in_the_tests_own_loop_what_hangs_is_raised_as_well() -> None:
    app, servers = Stubborn(blocks=False), []

    async def get_stuck() -> None:
        async with async_live_server(app, patience=1, timeout_graceful_shutdown=0) as server:
            servers.append(server)
            async with await anyio.connect_tcp(server.host, server.port) as client:
                await client.send(b"GET /stuck HTTP/1.1\r\nHost: test\r\n\r\n")
                await anyio.to_thread.run_sync(app.entered.wait, SECONDS)

    try:
        with pytest.raises(ServerHangs, match="GET /stuck") as raised:
            await get_stuck()
    finally:
        app.over.set()

    assert "does not end" in str(raised.value)
    assert servers[0].overview() == "stopped"
