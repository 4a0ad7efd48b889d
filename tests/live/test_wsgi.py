"""WSGI applications without a framework: in threads, with back-pressure, on every loop."""

from __future__ import annotations

import asyncio
import hashlib
import io
import itertools
import logging
import queue
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from logging.handlers import QueueHandler
from typing import TYPE_CHECKING, Any
from wsgiref.validate import validator

import pytest
import trio

from asgiserve.errors import LocalProtocolError
from tests.live.applications import BLOCK
from tests.live.backends import one_loop_per_library
from tests.live.raw import RawClient, request
from tests.live.servers import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

    from tests.live.backends import Backend
    from tests.live.conftest import LiveServers
    from tests.live.servers import ThreadServer

    Clients = Callable[[ThreadServer], httpx.Client]
    Environ = dict[str, Any]
    Start = Callable[..., Any]

pytestmark = pytest.mark.live

LARGE = BLOCK * 160
"""10 MiB."""

SECONDS_OF_SILENCE = 0.5
"""How long nothing must move before it counts as standing still."""

variable: ContextVar[str] = ContextVar("variable", default="unset")


def start_plain(start_response: Start) -> Any:
    return start_response("200 OK", [("Content-Type", "text/plain")])


class Watched:
    """An iterable of parts, of which it is known what was asked for and when it was closed."""

    def __init__(self, parts: Iterator[bytes], closing: Callable[[], object] = lambda: None) -> None:
        self.parts = parts
        self.asked: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.closing = closing
        self.closed = threading.Event()

    def __iter__(self) -> Watched:
        return self

    def __next__(self) -> bytes:
        self.asked.put(None)
        return next(self.parts)

    def close(self) -> None:
        self.closing()
        self.closed.set()

    def asked_until_silence(self, at_least: int) -> int:
        for _ in range(at_least):
            self.asked.get(timeout=PATIENCE)
        count = at_least
        while True:
            try:
                self.asked.get(timeout=SECONDS_OF_SILENCE)
            except queue.Empty:
                return count
            count += 1


# --- responses --------------------------------------------------------------------------------


def test_an_application_that_keeps_the_rules_finds_them_kept(live_server: LiveServers, http: Clients) -> None:
    @validator
    def app(environ: Environ, start_response: Start) -> list[bytes]:
        body = environ["wsgi.input"]
        read = [body.read(2), body.readline(), *body.readlines(1), *body]
        start_plain(start_response)
        environ["wsgi.errors"].flush()
        return [b"|".join(read)]

    client = http(live_server(app, interface="wsgi"))

    assert client.post("/", content=b"first\nsecond\nthird\n").content == b"fi|rst\n|second\n|third\n"
    assert client.get("/a?b=c").content == b"|"


def test_a_whole_response_has_its_length_and_keeps_the_connection(live_server: LiveServers) -> None:
    def app(environ: Environ, start_response: Start) -> list[bytes]:
        start_plain(start_response)
        return [environ["PATH_INFO"].encode()]

    with RawClient(live_server(app).port) as client:
        for path in ("/one", "/three"):
            answer = client.get(path)
            assert (answer.status, answer.body) == (200, path.encode())
            assert answer.headers["content-length"] == str(len(path))


def test_a_head_request_gets_no_body(live_server: LiveServers) -> None:
    def app(environ: Environ, start_response: Start) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "5")])
        return [b"hello"]

    with RawClient(live_server(app).port) as client:
        client.send(request("/", method="HEAD"))
        assert client.read_until(b"\r\n\r\n").count(b"content-length: 5\r\n") == 1
        assert client.get("/").body == b"hello"


def test_for_a_head_request_no_part_behind_the_first_is_asked_for(live_server: LiveServers) -> None:
    parts = Watched(itertools.chain([b""], itertools.repeat(BLOCK)))

    def app(environ: Environ, start_response: Start) -> Watched:
        start_plain(start_response)
        return parts

    with RawClient(live_server(app).port) as client:
        client.send(request("/", method="HEAD"))
        head = client.read_until(b"\r\n\r\n")
        assert parts.closed.wait(PATIENCE)
    assert b"content-type: text/plain\r\n" in head
    assert parts.asked_until_silence(2) == 2


def test_what_write_has_completed_asks_for_no_part(live_server: LiveServers) -> None:
    parts = Watched(itertools.repeat(BLOCK))

    def app(environ: Environ, start_response: Start) -> Watched:
        write = start_plain(start_response)
        write(b"one")
        return parts

    with RawClient(live_server(app).port) as client:
        client.send(request("/", method="HEAD"))
        assert parts.closed.wait(PATIENCE)
    assert parts.asked_until_silence(0) == 0


def test_write_and_the_iterable_come_in_order(live_server: LiveServers, http: Clients) -> None:
    def app(environ: Environ, start_response: Start) -> list[bytes]:
        write = start_plain(start_response)
        write(b"one ")
        write(b"two ")
        return [b"three"]

    assert http(live_server(app)).get("/").content == b"one two three"


def test_a_part_is_sent_before_the_next_one_is_asked_for(live_server: LiveServers) -> None:
    got_it = threading.Event()

    def app(environ: Environ, start_response: Start) -> Iterator[bytes]:
        start_plain(start_response)
        yield b"first\n"
        assert got_it.wait(PATIENCE)
        yield b"second\n"

    with RawClient(live_server(app).port) as client:
        client.send(request("/"))
        client.read_until(b"first\n")
        got_it.set()
        client.read_until(b"second\n")


def test_a_client_that_does_not_read_stops_the_application(live_server: LiveServers) -> None:
    parts = Watched(iter([BLOCK] * 400))

    def app(environ: Environ, start_response: Start) -> Watched:
        start_response("200 OK", [("Connection", "close")])
        return parts

    with RawClient(live_server(app).port) as client:
        client.send(request("/"))
        assert parts.asked_until_silence(1) < 300  # the rest is in the kernel's buffers
        assert len(client.read_all()) > len(BLOCK) * 400
    assert parts.closed.wait(PATIENCE)


def test_a_file_is_sent_by_the_wrapper_and_closed(live_server: LiveServers, http: Clients) -> None:
    file = io.BytesIO(LARGE)
    closed = threading.Event()

    class File:
        read = file.read
        close = closed.set

    def app(environ: Environ, start_response: Start) -> Any:
        start_plain(start_response)
        return environ["wsgi.file_wrapper"](File, 100_000)

    assert http(live_server(app)).get("/").content == LARGE
    assert closed.wait(PATIENCE)


def test_the_client_has_its_response_before_the_iterable_is_closed(live_server: LiveServers) -> None:
    go_on = threading.Event()
    watched = [Watched(iter([b"done"]), lambda: go_on.wait(PATIENCE)), Watched(iter([b"done"]))]
    left = iter(watched)

    def app(environ: Environ, start_response: Start) -> Watched:
        start_plain(start_response)
        return next(left)

    with RawClient(live_server(app).port) as client:
        assert client.get("/").body == b"done"
        assert client.get("/").body == b"done"
        assert not watched[0].closed.is_set()
        go_on.set()
        assert watched[0].closed.wait(PATIENCE)


# --- requests ---------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_large_upload_arrives_exactly(live_server: LiveServers, http: Clients, framing: str) -> None:
    def app(environ: Environ, start_response: Start) -> list[bytes]:
        digest = hashlib.sha256()
        while data := environ["wsgi.input"].read(50_000):
            digest.update(data)
        start_plain(start_response)
        return [digest.hexdigest().encode()]

    content: Any = LARGE if framing == "length" else (BLOCK for _ in range(160))

    assert http(live_server(app)).post("/", content=content).text == hashlib.sha256(LARGE).hexdigest()


def test_an_application_that_does_not_read_stops_the_client(live_server: LiveServers) -> None:
    read_it = threading.Event()

    def app(environ: Environ, start_response: Start) -> list[bytes]:
        assert read_it.wait(PATIENCE)
        size = sum(len(part) for part in iter(lambda: environ["wsgi.input"].read(65536), b""))
        start_plain(start_response)
        return [str(size).encode()]

    body = memoryview(BLOCK * 1000)
    with RawClient(live_server(app).port) as client:
        client.send(request("/", f"Content-Length: {len(body)}", method="POST"))
        client.socket.settimeout(SECONDS_OF_SILENCE)
        sent = 0
        try:
            while sent < len(body):
                sent += client.socket.send(body[sent : sent + 65536])
        except TimeoutError:
            pass
        assert sent < len(body)
        client.socket.settimeout(PATIENCE)
        read_it.set()
        client.send(body[sent:])
        assert client.answer("POST").body == str(len(body)).encode()


def test_a_client_that_asks_to_go_on_is_told_so_when_the_application_reads(live_server: LiveServers) -> None:
    def app(environ: Environ, start_response: Start) -> list[bytes]:
        body = environ["wsgi.input"].read() if environ["PATH_INFO"] == "/read" else b"refused"
        start_plain(start_response)
        return [body]

    port = live_server(app).port
    with RawClient(port) as client:
        client.send(request("/refuse", "Content-Length: 5", "Expect: 100-continue", method="POST"))
        assert client.read_until(b"\r\n").startswith(b"HTTP/1.1 200")
    with RawClient(port) as client:
        client.send(request("/read", "Content-Length: 5", "Expect: 100-continue", method="POST"))
        assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        client.send(b"hello")
        assert client.answer("POST").body == b"hello"


# --- clients that leave -----------------------------------------------------------------------


def test_a_client_that_leaves_ends_a_stream_and_closes_it(live_server: LiveServers) -> None:
    parts = Watched(iter(lambda: BLOCK, b""))

    def app(environ: Environ, start_response: Start) -> Watched:
        start_plain(start_response)
        return parts

    with RawClient(live_server(app).port) as client:
        client.send(request("/"))
        client.read()
    assert parts.closed.wait(PATIENCE)


def test_a_client_that_leaves_makes_write_raise(live_server: LiveServers) -> None:
    raised: queue.SimpleQueue[BaseException] = queue.SimpleQueue()

    def app(environ: Environ, start_response: Start) -> list[bytes]:
        write = start_plain(start_response)
        try:
            while True:
                write(BLOCK)
        except BaseException as error:
            raised.put(error)
            raise

    with RawClient(live_server(app).port) as client:
        client.send(request("/"))
        client.read()
    assert isinstance(raised.get(timeout=PATIENCE), OSError)


def test_a_client_that_leaves_in_its_upload_makes_read_raise(live_server: LiveServers) -> None:
    raised: queue.SimpleQueue[BaseException] = queue.SimpleQueue()

    def app(environ: Environ, start_response: Start) -> list[bytes]:
        try:
            environ["wsgi.input"].read()
        except BaseException as error:
            raised.put(error)
            raise
        return []

    with RawClient(live_server(app).port) as client:
        client.send(request("/", "Content-Length: 1000000", method="POST") + BLOCK)
    assert isinstance(raised.get(timeout=PATIENCE), OSError)


def test_a_client_that_has_only_ended_its_side_gets_the_whole_stream(live_server: LiveServers) -> None:
    def app(environ: Environ, start_response: Start) -> Iterator[bytes]:
        start_plain(start_response)
        return iter([BLOCK] * 32)

    with RawClient(live_server(app).port) as client:
        client.send(request("/"))
        client.socket.shutdown(socket.SHUT_WR)
        assert client.answer().body == BLOCK * 32


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, SystemExit, StopIteration, KeyboardInterrupt])
def test_an_error_is_a_500_that_is_logged_once(live_server: LiveServers, error: type[BaseException]) -> None:
    def app(environ: Environ, start_response: Start) -> list[bytes]:
        raise error("mine")

    server = live_server(app)
    with RawClient(server.port) as client:
        assert client.get("/").status == 500
    with RawClient(server.port) as client:
        assert client.get("/").status == 500
    errors = server.take_errors()
    assert len(errors) == 2
    assert all("mine" in text and "in app" in text for text in errors)


def test_an_error_inside_a_stream_cuts_it_and_closes_it(live_server: LiveServers) -> None:
    def parts() -> Iterator[bytes]:
        yield b"first"
        raise ValueError("mine")

    watched = Watched(parts())

    def app(environ: Environ, start_response: Start) -> Watched:
        start_plain(start_response)
        return watched

    server = live_server(app)
    with RawClient(server.port) as client:
        client.send(request("/"))
        assert client.read_all().endswith(b"5\r\nfirst\r\n")
    assert watched.closed.wait(PATIENCE)
    (text,) = server.take_errors()
    assert "ValueError: mine" in text


# --- threads ----------------------------------------------------------------------------------


def test_as_many_requests_run_at_a_time_as_there_are_threads(live_server: LiveServers) -> None:
    entered: queue.SimpleQueue[None] = queue.SimpleQueue()
    go_on = threading.Semaphore(0)

    def app(environ: Environ, start_response: Start) -> list[bytes]:
        entered.put(None)
        assert go_on.acquire(timeout=PATIENCE)
        start_plain(start_response)
        return [b"done"]

    port = live_server(app, wsgi_threads=2).port
    with RawClient(port) as first, RawClient(port) as second, RawClient(port) as third:
        for client in (first, second, third):
            client.send(request("/"))
        for _ in range(2):
            entered.get(timeout=PATIENCE)
        with pytest.raises(queue.Empty):
            entered.get(timeout=SECONDS_OF_SILENCE)
        go_on.release()
        entered.get(timeout=PATIENCE)
        go_on.release(2)
        for client in (first, second, third):
            assert client.answer().body == b"done"


def test_who_sends_a_short_body_slowly_holds_no_thread(live_server: LiveServers) -> None:
    def app(environ: Environ, start_response: Start) -> list[bytes]:
        start_plain(start_response)
        return [environ["wsgi.input"].read()]

    port = live_server(app, wsgi_threads=1).port
    with RawClient(port) as slow, RawClient(port) as quick:
        slow.send(request("/", "Content-Length: 10", method="POST") + b"hello")
        assert quick.get("/").status == 200
        slow.send(b"world")
        assert slow.answer("POST").body == b"helloworld"


def test_a_context_variable_of_a_request_is_not_seen_by_the_next(live_server: LiveServers) -> None:
    def app(environ: Environ, start_response: Start) -> Iterator[bytes]:
        start_plain(start_response)
        yield variable.get().encode()
        variable.set("set")
        yield b" " + variable.get().encode()

    with RawClient(live_server(app, wsgi_threads=1).port) as client:
        assert client.get("/").body == b"unset set"
        assert client.get("/").body == b"unset set"


class Turns:
    """An application whose first request waits until the test says so; it keeps the paths that it was called with."""

    def __init__(self) -> None:
        self.entered: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.go_on = threading.Event()

    def __call__(self, environ: Environ, start_response: Start) -> list[bytes]:
        self.entered.put(environ["PATH_INFO"])
        if environ["PATH_INFO"] == "/first":
            assert self.go_on.wait(PATIENCE)
        start_plain(start_response)
        return [b"done"]

    def next(self) -> str:
        return self.entered.get(timeout=PATIENCE)


def test_a_request_that_waits_for_a_thread_too_long_is_given_up(live_server: LiveServers) -> None:
    app = Turns()
    port = live_server(app, wsgi_threads=1, timeout_request=1.5).port
    with RawClient(port) as first, RawClient(port) as second, RawClient(port) as third:
        first.send(request("/first"))
        assert app.next() == "/first"
        assert second.get("/second").status == 504
        app.go_on.set()
        assert third.get("/third").body == b"done"
    assert app.next() == "/third"


def test_a_client_that_leaves_can_be_taken_out_of_the_queue_for_a_thread(live_server: LiveServers) -> None:
    app = Turns()
    lines = QueueHandler(queue.SimpleQueue())
    logger = logging.getLogger("asgiserve.access")
    logger.addHandler(lines)
    before = logger.level
    logger.setLevel(logging.INFO)
    try:
        port = live_server(app, wsgi_threads=1, cancel_on_disconnect=True).port
        with RawClient(port) as first, RawClient(port) as third:
            first.send(request("/first"))
            assert app.next() == "/first"
            with RawClient(port) as second:
                second.send(request("/second"))
            assert "/second" in lines.queue.get(timeout=PATIENCE).getMessage()
            app.go_on.set()
            assert third.get("/third").body == b"done"
    finally:
        logger.setLevel(before)
        logger.removeHandler(lines)
    assert app.next() == "/third"


# --- other threads ----------------------------------------------------------------------------


def in_another_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Its result, or its error."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args).result()


@pytest.mark.parametrize("expect", [False, True], ids=["large", "expected"])
def test_another_thread_reads_the_body(live_server: LiveServers, expect: bool) -> None:
    def app(environ: Environ, start_response: Start) -> list[bytes]:
        body = in_another_thread(environ["wsgi.input"].read)
        start_plain(start_response)
        return [hashlib.sha256(body).hexdigest().encode()]

    body = b"hello" if expect else LARGE
    fields = ["Expect: 100-continue"] if expect else []
    with RawClient(live_server(app).port) as client:
        client.send(request("/", f"Content-Length: {len(body)}", *fields, method="POST"))
        if expect:
            assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        client.send(body)
        assert client.answer("POST").body.decode() == hashlib.sha256(body).hexdigest()


def test_another_thread_writes(live_server: LiveServers) -> None:
    def app(environ: Environ, start_response: Start) -> list[bytes]:
        write = start_plain(start_response)
        in_another_thread(write, b"one ")
        write(b"two ")
        in_another_thread(write, b"three ")
        return [b"four"]

    with RawClient(live_server(app).port) as client:
        for _ in range(2):
            assert client.get("/").body == b"one two three four"


def test_another_thread_is_told_that_the_client_has_left(live_server: LiveServers) -> None:
    raised: queue.SimpleQueue[BaseException] = queue.SimpleQueue()

    def app(environ: Environ, start_response: Start) -> list[bytes]:
        try:
            in_another_thread(environ["wsgi.input"].read)
        except BaseException as error:
            raised.put(error)
            raise
        return []

    with RawClient(live_server(app).port) as client:
        client.send(request("/", "Content-Length: 1000000", method="POST") + BLOCK * 2)
    assert isinstance(raised.get(timeout=PATIENCE), OSError)


@pytest.mark.parametrize("doing", ["reads", "writes"])
def test_a_cancelled_request_ends_the_wait_of_another_thread(
    live_server: LiveServers, anyio_backend: Backend, doing: str
) -> None:
    raised: queue.SimpleQueue[BaseException] = queue.SimpleQueue()

    def wait(environ: Environ, write: Callable[[bytes], None]) -> None:
        try:
            if doing == "reads":
                environ["wsgi.input"].read()
            while True:
                write(BLOCK)
        except BaseException as error:
            raised.put(error)
            raise

    def app(environ: Environ, start_response: Start) -> list[bytes]:
        write = start_plain(start_response)
        if environ["PATH_INFO"] == "/wait":
            in_another_thread(wait, environ, write)
        in_another_thread(write, b"done")
        return []

    server = live_server(app, wsgi_threads=1, timeout_request=1.5)
    with RawClient(server.port) as first, RawClient(server.port) as second:
        assert first.get("/").body == b"done"
        if doing == "reads":
            first.send(request("/wait", "Content-Length: 100000", method="POST") + BLOCK)
        else:
            first.send(request("/wait"))
        error = raised.get(timeout=PATIENCE)
        assert second.get("/").body == b"done"
        if doing == "reads":
            assert first.read_until(b"\r\n").startswith(b"HTTP/1.1 504")
    expected = trio.Cancelled if anyio_backend[0] == "trio" else asyncio.CancelledError
    assert type(error) is expected
    assert server.take_errors() == []


def test_another_thread_that_goes_on_with_a_request_that_is_over_is_told(live_server: LiveServers) -> None:
    reading = threading.Event()
    raised: queue.SimpleQueue[BaseException] = queue.SimpleQueue()
    first: list[Callable[[], object]] = []

    def tell(function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException as error:
            raised.put(error)

    def read(environ: Environ) -> None:
        assert environ["wsgi.input"].read(len(BLOCK))
        reading.set()
        tell(environ["wsgi.input"].read)

    def app(environ: Environ, start_response: Start) -> list[bytes]:
        write = start_plain(start_response)
        if not first:
            first.extend([environ["wsgi.input"].read, lambda: write(b"late")])
            threading.Thread(target=read, args=(environ,)).start()
            assert reading.wait(PATIENCE)
        else:
            for function in first:
                tell(function)  # in the thread of the first request, which is ours now
        return [b"done"]

    server = live_server(app, wsgi_threads=1)
    with RawClient(server.port) as one, RawClient(server.port) as other:
        one.send(request("/", "Content-Length: 100000", method="POST") + BLOCK)
        assert one.answer("POST").body == b"done"
        errors = [raised.get(timeout=PATIENCE)]
        assert other.get("/").body == b"done"
        errors += [raised.get(timeout=PATIENCE) for _ in first]
    assert [type(error) for error in errors] == [LocalProtocolError] * 3
    assert all("The request is over" in str(error) for error in errors)


# --- the command line -------------------------------------------------------------------------


@one_loop_per_library
def test_the_command_line_finds_a_wsgi_application_by_its_signature(live_server: LiveServers, http: Any) -> None:
    assert http(live_server("tests.live.wsgi_site:app")).get("/found").text == "/found"


@one_loop_per_library
def test_the_command_line_is_told_what_a_signature_does_not_say(live_server: LiveServers, http: Any) -> None:
    assert http(live_server("tests.live.wsgi_site:any_arguments", interface="wsgi")).get("/told").text == "/told"


@one_loop_per_library
def test_a_stream_is_ended_when_the_grace_period_is_over(live_server: LiveServers) -> None:
    server = live_server("tests.live.wsgi_site:endless", timeout_graceful_shutdown=0.3)
    with RawClient(server.port) as client:
        client.send(request("/"))
        client.read_until(b"tick\n")
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("stream: closed")
        assert server.wait_exit() == 0


@one_loop_per_library
def test_a_write_in_another_thread_is_ended_when_the_grace_period_is_over(live_server: LiveServers) -> None:
    server = live_server("tests.live.wsgi_site:writes_elsewhere", timeout_graceful_shutdown=0.3)
    with RawClient(server.port) as client:
        client.send(request("/", "Content-Length: 100000", method="POST") + BLOCK)
        server.stderr.wait_for("request: entered")
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("write: Cancelled")  # trio's class, and asyncio's CancelledError
        assert server.wait_exit() == 0


@one_loop_per_library
def test_a_thread_that_does_not_end_is_named_and_left_behind(live_server: LiveServers) -> None:
    server = live_server("tests.live.wsgi_site:stuck", timeout_graceful_shutdown=0.2)
    server.expected_code = 1
    with RawClient(server.port) as client:
        client.send(request("/report"))
        server.stderr.wait_for("request: entered")
        server.send_signal(signal.SIGTERM)
        assert server.wait_exit() == 1
    assert "goes on although it was cancelled (GET /report):\n" in server.stderr.text
