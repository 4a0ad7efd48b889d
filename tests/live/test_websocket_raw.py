"""Frames that no ordinary client sends, or not in such packets: cut, joined, broken, hostile, or none at all."""

from __future__ import annotations

import struct
import threading
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
import pytest
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from tests.live.applications import report
from tests.live.backends import one_loop_per_library
from tests.live.raw import RawClient, request
from tests.live.servers import PATIENCE
from tests.live.websocket_raw import RawWebSocket, upgrade
from tests.live.websocket_site import Ended, accepted, echo

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send
    from tests.live.conftest import LiveServers

pytestmark = pytest.mark.live

ECHO = "tests.live.websocket_site:echo"
MASK: Final = b"\x00\x00\x00\x00"


def frame(first: int, payload: bytes, *, size: int | None = None) -> bytes:
    """A masked frame, with the first byte as it is given and a size that need not be the payload's."""
    size = len(payload) if size is None else size
    if size < 126:
        return struct.pack("!BB", first, 0x80 | size) + MASK + payload
    if size < 65536:
        return struct.pack("!BBH", first, 0x80 | 126, size) + MASK + payload
    return struct.pack("!BBQ", first, 0x80 | 127, size) + MASK + payload


# --- packets ----------------------------------------------------------------------------------


def test_frames_in_the_handshakes_packet_are_delivered(live_server: LiveServers) -> None:
    with RawWebSocket(live_server(echo).port) as client:
        client.open(
            behind=frame(0x81, b"early") + frame(0x89, b"ping") + frame(0x82, b"\xff" * 300) + frame(0x81, b"")[:3]
        )

        assert client.expect(TextMessage).data == "early"
        assert client.expect(Pong).payload == b"ping"
        assert client.expect(BytesMessage).data == b"\xff" * 300
        client.send(frame(0x81, b"")[3:])
        assert client.expect(TextMessage).data == ""


def test_frames_may_come_while_the_application_thinks_about_the_handshake(live_server: LiveServers) -> None:
    thinking, release = threading.Event(), threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            raise NotImplementedError
        thinking.set()
        await anyio.to_thread.run_sync(release.wait)
        await echo(scope, receive, send)

    head = upgrade()
    with RawWebSocket(live_server(app).port) as client:
        client.send(head)
        assert thinking.wait(PATIENCE)
        client.send(frame(0x81, b"eager") + frame(0x88, struct.pack("!H", 1001)))
        release.set()
        client.read_accept(head)

        assert client.expect(TextMessage).data == "eager"
        assert client.expect(CloseConnection).code == 1001
        assert client.read_all() == b""


def test_bytes_that_come_one_by_one(live_server: LiveServers) -> None:
    frames = frame(0x81, "grün".encode()) + frame(0x02, b"a" * 130) + frame(0x89, b"") + frame(0x80, b"b")
    head = upgrade()
    with RawWebSocket(live_server(echo).port) as client:
        for byte in head:
            client.send(bytes([byte]))
        client.read_accept(head)
        for byte in frames:
            client.send(bytes([byte]))

        assert client.expect(TextMessage).data == "grün"
        assert client.expect(Pong).payload == b""
        assert client.expect(BytesMessage).data == b"a" * 130 + b"b"


def test_requests_may_come_before_the_handshake_on_its_connection(live_server: LiveServers) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (echo if scope["type"] == "websocket" else report)(scope, receive, send)

    head = upgrade()
    with RawWebSocket(live_server(app).port) as client:
        assert client.get("/first").status == 200
        client.send(request("/second") + head + frame(0x81, b"third"))
        assert client.answer().status == 200
        client.read_accept(head)

        assert client.expect(TextMessage).data == "third"


# --- handshakes -------------------------------------------------------------------------------

KEY: Final = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
ASKED: Final = ("Connection: Upgrade", "Upgrade: websocket")

BAD_HANDSHAKES = {
    "no version": (request("/", *ASKED, KEY), 400),
    "version 8": (request("/", *ASKED, KEY, "Sec-WebSocket-Version: 8"), 426),
    "no key": (request("/", *ASKED, "Sec-WebSocket-Version: 13"), 400),
    "short key": (request("/", *ASKED, "Sec-WebSocket-Key: c2hvcnQ=", "Sec-WebSocket-Version: 13"), 400),
    "two keys": (request("/", *ASKED, KEY, KEY, "Sec-WebSocket-Version: 13"), 400),
    "POST": (request("/", *ASKED, KEY, "Sec-WebSocket-Version: 13", "Content-Length: 0", method="POST"), 405),
    "not ASCII": (request("/", *ASKED, KEY, "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: ä"), 400),
}


@pytest.mark.parametrize("case", BAD_HANDSHAKES)
def test_a_bad_handshake_is_refused_without_the_application(live_server: LiveServers, case: str) -> None:
    called = False

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal called
        called |= scope["type"] != "lifespan"
        raise NotImplementedError

    sent, status = BAD_HANDSHAKES[case]
    with RawClient(live_server(app).port) as client:
        client.send(sent)
        answer = client.answer("POST" if case == "POST" else "GET")

    assert answer.status == status
    assert ("13" in answer.headers.get("sec-websocket-version", "")) is (status == 426)
    assert not called


# --- errors -----------------------------------------------------------------------------------

BROKEN = {
    "unmasked": (b"\x81\x01a", 1002),
    "reserved bit": (frame(0xC1, b"a"), 1002),
    "reserved opcode": (frame(0x83, b"a"), 1002),
    "continuation of nothing": (frame(0x80, b"a"), 1002),
    "fragmented ping": (frame(0x09, b"a"), 1002),
    "long ping": (frame(0x89, b"a" * 126), 1002),
    "length in too many bytes": (struct.pack("!BBH", 0x81, 0x80 | 126, 5) + MASK + b"hello", 1002),
    "a length beyond any": (frame(0x82, b"", size=1 << 62), 1009),
    "not UTF-8": (frame(0x81, b"\xff"), 1007),
    "not UTF-8, in a frame that is not complete": (frame(0x81, b"ok \xff", size=1000), 1007),
    "half a character at the end": (frame(0x81, b"\xe2\x82"), 1007),
    "close with one byte": (frame(0x88, b"\x03"), 1002),
    "close with 1005": (frame(0x88, struct.pack("!H", 1005)), 1002),
    "close with a reason that is not UTF-8": (frame(0x88, struct.pack("!H", 1000) + b"\xff"), 1007),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_frame_closes_after_what_came_before_it(live_server: LiveServers, case: str) -> None:
    app = Ended()
    sent, code = BROKEN[case]
    with RawWebSocket(live_server(app).port) as client:
        client.open()
        client.send(frame(0x81, b"before") + sent)

        assert client.expect(TextMessage).data == "before"
        assert client.expect(CloseConnection).code == code
        client.say(CloseConnection(code))
        assert client.read_all() == b""
    assert app.wait()["type"] == "websocket.disconnect"


def test_after_a_close_nothing_is_heard(live_server: LiveServers) -> None:
    app = Ended()
    with RawWebSocket(live_server(app).port) as client:
        client.open()
        client.send(frame(0x88, b"") + frame(0x81, b"ignored") + b"\xff" * 100)

        assert client.expect(CloseConnection).code == 1005
        assert client.read_all() == b""
    assert app.wait() == {"type": "websocket.disconnect", "code": 1005, "reason": ""}


@pytest.mark.parametrize("how", ["FIN", "RST"])
@pytest.mark.parametrize("rest", [b"", frame(0x82, b"a", size=1000)], ids=["at a boundary", "inside a frame"])
def test_a_connection_that_is_lost_is_a_1006(live_server: LiveServers, rest: bytes, how: str) -> None:
    app = Ended()
    client = RawWebSocket(live_server(app).port)
    client.open()
    client.send(frame(0x81, b"a") + rest)
    assert client.expect(TextMessage).data == "a"
    if how == "RST":
        client.reset()
    else:
        client.socket.close()

    assert app.wait()["code"] == 1006


def test_a_close_that_is_not_answered_ends_in_time(live_server: LiveServers) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            raise NotImplementedError
        await accepted(receive, send)
        await send({"type": "websocket.close", "code": 4000})

    with RawWebSocket(live_server(app, timeout_ws_close=0.3).port) as client:
        client.open()
        assert client.expect(CloseConnection).code == 4000
        try:
            assert client.read_all() == b""
        except ConnectionResetError:
            pass  # it is cut off: what the kernel makes of that depends on what was on the way


# --- silence ----------------------------------------------------------------------------------


async def deaf(scope: Scope, receive: Receive, send: Send) -> None:
    """Accepts, listens to nothing, and ends when it hears of the end in `send()`."""
    if scope["type"] != "websocket":
        raise NotImplementedError
    await accepted(receive, send)
    while True:
        await anyio.sleep(0.3)
        await send({"type": "websocket.send", "text": "tick"})


@pytest.mark.parametrize("app", [Ended(), deaf], ids=["listens", "does not listen"])
def test_a_client_that_answers_no_ping_is_closed_with_1011(live_server: LiveServers, app: Ended) -> None:
    """What `deaf` does not catch, ClientDisconnected, is not logged."""
    server = live_server(app, ws_ping_interval=0.3, ws_ping_timeout=0.3, timeout_ws_close=0.3)
    with RawWebSocket(server.port) as client:
        client.open()
        heard = []
        while not isinstance(event := client.hear(), CloseConnection):
            heard.append(event)

    assert event.code == 1011
    assert any(isinstance(one, Ping) for one in heard)


def test_pings_are_answered_while_the_application_is_busy(live_server: LiveServers) -> None:
    release = threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            raise NotImplementedError
        await accepted(receive, send)
        await anyio.to_thread.run_sync(release.wait)
        await send({**await receive(), "type": "websocket.send"})

    with RawWebSocket(live_server(app).port) as client:
        client.open()
        client.send(frame(0x81, b"kept") + frame(0x89, b"1"))
        assert client.expect(Pong).payload == b"1"
        client.send(frame(0x89, b"2"))
        assert client.expect(Pong).payload == b"2"
        release.set()
        assert client.expect(TextMessage).data == "kept"


# --- compression ------------------------------------------------------------------------------

OFFER: Final = "Sec-WebSocket-Extensions: permessage-deflate"


def peak_memory(pid: int) -> int:
    """The most that the process has ever had resident, in bytes."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


@one_loop_per_library
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_a_message_that_inflates_beyond_the_limit_closes_with_1009(live_server: LiveServers) -> None:
    """256 MiB of zeros in a quarter of a mebibyte, in one frame: a thousandth of that is ever inflated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(256)) + packer.flush(zlib.Z_SYNC_FLUSH)
    server = live_server(ECHO, ws_per_message_deflate=True, ws_max_size=1 << 20)

    with RawWebSocket(server.port) as client:
        client.open("/", OFFER)
        before = peak_memory(server.process.pid)
        client.send(frame(0xC2, bomb[:-4]))
        assert client.hear_close().code == 1009
    assert peak_memory(server.process.pid) - before < 32 << 20
