"""The PROXY protocol in front of a connection: whom it comes from, and what becomes of connections without it."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.support.websocket import serving_websockets
from tests.unit.connection.applications import access_lines, get, reply, serving_http
from tests.unit.connection.websocket_applications import echo

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send
    from tests.support.serving import Client

pytestmark = pytest.mark.anyio

V1 = b"PROXY TCP4 203.0.113.7 198.51.100.1 5678 443\r\n"
V2 = (
    b"\r\n\r\n\x00\r\nQUIT\n"
    + struct.pack("!BBH", 0x21, 0x21, 36 + 8)
    + ip_address("2001:db8::7").packed
    + ip_address("2001:db8::1").packed
    + struct.pack("!HH", 5678, 443)
    + b"\xee\x00\x05hello"
)
LOCAL = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
UNIX = b"\r\n\r\n\x00\r\nQUIT\n\x21\x31\x00\xd8" + b"/run/c".ljust(108, b"\0") + b"/run/s".ljust(108, b"\0")
PEER, SELF = ("127.0.0.1", 50000), ("127.0.0.1", 80)
HANDSHAKE = 10.0


class Noting:
    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await (echo(scope, receive, send) if scope["type"] == "websocket" else reply(send, b"seen"))


async def ends_behind(header: bytes, *fields: bytes, **settings: Any) -> tuple[Any, Any]:
    app = Noting()
    async with serving_http(app, proxy_protocol=True, **settings) as served:
        client = served.connect()
        await client.send(header + get().replace(b"\r\n\r\n", b"\r\n" + b"".join(fields) + b"\r\n"))
        assert (await client.response()).body == b"seen"
        await client.get()
    first, second = app.scopes
    assert second["client"] == first["client"] or fields
    return first["client"], first["server"]


async def cut(client: Client) -> float:
    """After how many seconds the connection is cut, without a byte."""
    began = anyio.current_time()
    with pytest.raises((anyio.BrokenResourceError, anyio.EndOfStream)):
        await client.read()
    return anyio.current_time() - began


@pytest.mark.parametrize(
    ("header", "ends"),
    [
        (V1, (("203.0.113.7", 5678), ("198.51.100.1", 443))),
        (V2, (("2001:db8::7", 5678), ("2001:db8::1", 443))),
        (b"PROXY UNKNOWN\r\n", (PEER, SELF)),
        (LOCAL, (PEER, SELF)),
        (UNIX, (None, ("/run/s", None))),
    ],
    ids=["v1", "v2", "unknown", "local", "unix"],
)
async def test_every_request_of_the_connection_comes_from_where_the_header_says(header: bytes, ends: Any) -> None:
    assert await ends_behind(header) == ends


@pytest.mark.parametrize("header", [V1, V2])
async def test_a_header_may_come_byte_by_byte(header: bytes) -> None:
    app = Noting()
    async with serving_http(app, proxy_protocol=True) as served:
        client = served.connect()
        wire = header + get()
        for position in range(len(wire)):
            await client.send(wire[position : position + 1])
            await anyio.sleep(0.001)
        assert (await client.response()).status == 200
    assert app.scopes[0]["client"][1] == 5678


async def test_nothing_behind_a_header_is_lost() -> None:
    app = Noting()
    async with serving_http(app, proxy_protocol=True) as served:
        client = served.connect()
        await client.send(V1 + b"".join(get(f"/{number}") for number in range(200)))
        for _ in range(200):
            assert (await client.response()).status == 200
    assert [scope["path"] for scope in app.scopes] == [f"/{number}" for number in range(200)]


async def test_the_header_is_read_once() -> None:
    app = Noting()
    async with serving_http(app, proxy_protocol=True) as served:
        client = served.connect()
        await client.send(V1 + b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n" + get())
        assert (await client.response()).status == 400
    assert app.scopes == []


@pytest.mark.parametrize(
    "wire",
    [
        get(),
        b"PROXY TCP4 nonsense\r\n" + get(),
        b"PROXY TCP4 203.0.113.7 198.51.100.1 99999 443\r\n" + get(),
        b"PROXY " + b"x" * 200,
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff",
        b"\x16\x03\x01\x02\x00",
    ],
)
async def test_a_connection_without_a_whole_header_is_cut_in_silence(
    wire: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    app = Noting()
    async with serving_http(app, proxy_protocol=True) as served:
        client = served.connect()
        await client.send(wire)
        assert await cut(client) == 0
        # The server goes on.
        client = served.connect()
        await client.send(V1 + get())
        assert (await client.response()).status == 200
    assert len(app.scopes) == 1
    told = [record for record in caplog.records if "RemoteProtocolError" in record.getMessage()]
    assert [record.levelname for record in told] == ["DEBUG"]


@pytest.mark.parametrize("begun", [b"", V1[:20], V2[:20]])
async def test_a_header_that_does_not_come_is_not_waited_for_beyond_the_handshakes_deadline(begun: bytes) -> None:
    async with serving_http(Noting(), proxy_protocol=True) as served:
        client = served.connect()
        if begun:
            await client.send(begun)
        assert await cut(client) == HANDSHAKE


async def test_a_peer_that_leaves_before_its_header_is_complete_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with serving_http(Noting(), proxy_protocol=True, limit_connections=1) as served:
        for _ in range(3):  # each gives its place back
            client = served.connect()
            await client.send(V1[:9])
            await client.stream.aclose()
            await anyio.sleep(1)
    assert [record for record in caplog.records if record.levelname != "INFO"] == []


async def test_strangers_are_cut_whatever_they_send_and_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    app = Noting()
    async with serving_http(app, proxy_protocol=True, forwarded_allow_ips="10.0.0.0/8") as served:
        for wire in (V1 + get(), get(), b""):
            client = served.connect()
            await client.stream.send(wire)
            assert await cut(client) == 0
        client = served.connect(remote_address=("10.1.1.1", 1))
        await client.send(V1 + get())
        assert (await client.response()).status == 200
    assert [scope["client"] for scope in app.scopes] == [("203.0.113.7", 5678)]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == ["127.0.0.1 is not in forwarded_allow_ips: with proxy_protocol, its connections are closed."]


async def test_without_the_setting_a_header_is_a_bad_request() -> None:
    app = Noting()
    async with serving_http(app) as served:
        client = served.connect()
        await client.send(V1 + get())
        assert (await client.response()).status == 400
    assert app.scopes == []


async def test_fields_are_believed_of_the_client_that_the_header_names() -> None:
    field = b"X-Forwarded-For: 192.0.2.99\r\n"
    trusted = {"forwarded_allow_ips": "127.0.0.1,203.0.113.0/24"}
    assert (await ends_behind(V1, field))[0] == ("203.0.113.7", 5678)
    assert (await ends_behind(V1, field, **trusted))[0] == ("192.0.2.99", 0)
    assert (await ends_behind(LOCAL, field))[0] == ("192.0.2.99", 0)
    assert (await ends_behind(UNIX, field))[0] is None
    assert (await ends_behind(UNIX, field, forwarded_allow_ips="127.0.0.1,unix"))[0] == ("192.0.2.99", 0)


async def test_a_header_is_read_also_where_fields_are_not() -> None:
    ends = await ends_behind(V1, b"X-Forwarded-For: 192.0.2.99\r\n", proxy_headers=False)
    assert ends[0] == ("203.0.113.7", 5678)


async def test_log_lines_name_the_client_of_the_header(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with serving_http(Noting(), proxy_protocol=True) as served:
        client = served.connect()
        await client.send(V1 + get() + b"nonsense\r\n\r\n")
        await client.response()
        assert (await client.response()).status == 400
    assert access_lines(caplog)[0][0] == "203.0.113.7:5678"
    assert any("Invalid HTTP request from 203.0.113.7:5678" in record.getMessage() for record in caplog.records)


async def test_a_websocket_comes_from_where_the_header_says() -> None:
    app = Noting()
    async with serving_websockets(app, proxy_protocol=True) as served:
        client = served.connect()
        await client.stream.send(V1)
        await client.open("/")
    assert app.scopes[0]["client"] == ("203.0.113.7", 5678)


async def test_a_stop_waits_for_no_header() -> None:
    async with serving_http(Noting(), proxy_protocol=True) as served:
        client = served.connect()
        await client.send(V1[:9])
        await anyio.sleep(0.1)
        served.server.stop()
        assert await cut(client) <= 1.25
