"""Responses to requests that came together: they leave together, in order, and wait for nobody but each other."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asgiserve.testing import MemoryStream
from tests.support.serving import serving
from tests.unit.connection.applications import (
    body,
    chunked,
    get,
    path,
    post,
    read_body,
    read_for_ever,
    reply,
    serving_http,
    start,
)

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

KINDS = ("plain", "stream", "sleep", "hint", "raise", "large", "unread", "linger", "listen")


async def every_kind(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers in the way that the path begins with."""
    name = scope["path"].encode()
    match scope["path"][1:].rpartition("/")[0]:
        case "stream":
            await start(send)
            await body(send, name, more=True)
            await body(send)
        case "sleep":
            await anyio.sleep(1)
            await reply(send, name)
        case "hint":
            await send({"type": "http.response.early_hint", "links": [name]})
            await reply(send, name)
        case "raise":
            await reply(send, name)
            raise ValueError("behind the response")
        case "large":
            await reply(send, name * 20_000)
        case "unread":
            await reply(send, name)
        case "linger":
            await reply(send, name)
            await anyio.sleep(3)
        case "listen":
            await read_body(receive)
            await reply(send, name)
            await receive()
        case _:
            await reply(send, name + await read_body(receive))


def requests(seed: int) -> list[bytes]:
    """Some of every kind, with and without bodies."""
    dice = random.Random(seed)
    made = []
    for number in range(dice.randint(2, 30)):
        target = f"/{dice.choice(KINDS)}/{number}"
        data = dice.randbytes(dice.randint(1, 3)).hex().encode()
        made.append(dice.choice([get(target), get(target), post(data, target=target)]))
    return made


def count_writes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what the server hands to its streams from here on; those of the clients are not counted."""
    sizes: list[int] = []
    send_nowait = MemoryStream.send_nowait

    def counted(stream: MemoryStream, item: bytes | memoryview) -> bool:
        if item[:5] == b"HTTP/":
            sizes.append(len(item))
        return send_nowait(stream, item)

    monkeypatch.setattr(MemoryStream, "send_nowait", counted)
    return sizes


async def test_sixteen_responses_leave_in_four_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving_http(path) as served:
        client = served.connect()
        writes = count_writes(monkeypatch)
        await client.send(b"".join(get(f"/{number}") for number in range(16)))
        bodies = [(await client.response()).body for _ in range(16)]
    assert bodies == [b"/%d" % number for number in range(16)]
    assert len(writes) <= 4


async def test_a_response_does_not_wait_for_an_application_that_waits() -> None:
    async with serving_http(every_kind) as served:
        client = served.connect()
        began = anyio.current_time()
        await client.send(get("/plain/0") + get("/plain/1") + get("/plain/2") + get("/sleep/3"))
        assert [(await client.response()).body for _ in range(3)] == [b"/plain/0", b"/plain/1", b"/plain/2"]
        assert anyio.current_time() == began
        assert (await client.response()).body == b"/sleep/3"


async def test_the_last_response_waits_for_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"")
        written.append(len(writes))

    async with serving_http(app) as served:
        client = served.connect()
        writes = count_writes(monkeypatch)
        await client.send(get("/first") + get("/last", "Connection: close") + get("/never"))
        await client.read_all()
    assert written == [1, 2]


async def test_a_response_does_not_wait_for_the_rest_of_the_next_request() -> None:
    async with serving_http(path) as served:
        client = served.connect()
        began = anyio.current_time()
        await client.send(get("/0") + get("/1") + get("/2")[:-2])
        assert [(await client.response()).body for _ in range(2)] == [b"/0", b"/1"]
        assert anyio.current_time() == began
        await client.send(get("/2")[-2:])
        assert (await client.response()).body == b"/2"


@pytest.mark.parametrize("last", ["bad", "close", "1.0", "unread body", "end"])
async def test_what_is_kept_leaves_before_the_connection_ends(last: str) -> None:
    ends = {
        "bad": b"BAD\r\n\r\n",
        "close": get("/last", "Connection: close"),
        "1.0": b"GET /last HTTP/1.0\r\n\r\n",
        "unread body": post(b"part", target="/unread/last", length=10_000_000),
        "end": b"",
    }
    async with serving_http(every_kind) as served:
        client = served.connect()
        await client.send(get("/plain/0") + get("/plain/1") + get("/plain/2") + ends[last])
        await client.stream.send_eof()
        bodies = [(await client.response()).body for _ in range(3)]
        rest = await client.read_all()
    assert bodies == [b"/plain/0", b"/plain/1", b"/plain/2"]
    assert rest.startswith({"bad": b"HTTP/1.1 400 ", "end": b""}.get(last, b"HTTP/1.1 200 "))


async def test_a_websocket_begins_behind_the_responses_before_it() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await path(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close"})

    upgrade = get(
        "/ws",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    async with serving(app, lifespan="off") as served:
        client = served.connect()
        await client.send(get("/0") + get("/1") + get("/2") + upgrade)
        assert [(await client.response()).body for _ in range(3)] == [b"/0", b"/1", b"/2"]
        assert (await client.read_until(b"\r\n")).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize("settings", [{}, {"task_per_request": True}])
@pytest.mark.parametrize("capacity", [4_000, 1 << 20])
@pytest.mark.parametrize("seed", range(20))
async def test_the_answers_are_those_that_each_would_get_alone(
    seed: int, capacity: int, settings: dict[str, Any]
) -> None:
    made = requests(seed)
    async with serving_http(every_kind, **settings) as served:
        alone = []
        for one in made:
            client = served.connect()
            await client.send(one)
            alone.append(await client.response())
            await client.stream.aclose()
        client = served.connect(capacity=capacity)
        async with anyio.create_task_group() as group:
            group.start_soon(client.send, b"".join(made))
            together = [await client.response() for _ in made]
    assert [(one.status, one.body) for one in together] == [(one.status, one.body) for one in alone]


@pytest.mark.parametrize("behind", [b"", b"GET"])
async def test_a_peer_that_takes_no_responses_is_cut_after_the_write_timeout(behind: bytes) -> None:
    async with serving_http(path, timeout_write=7) as served:
        client = served.connect(capacity=300)  # room for the first response, and not for those behind it
        await client.send(get() * 5 + behind)
        await anyio.sleep(6.9)
        assert not client.stream.peer_closed()
        await anyio.sleep(1)
        with pytest.raises(anyio.BrokenResourceError):
            await read_for_ever(client)


@pytest.mark.parametrize("ends", ["client", "idle", "stop"])
async def test_a_kept_response_that_is_being_read_arrives_before_the_end(ends: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, scope["path"].encode() + bytes(700))
        if scope["path"] == "/b":
            await anyio.sleep(1)

    async with serving_http(app, timeout_keep_alive=3) as served:
        client = served.connect(capacity=1000)
        await client.send(get("/a") + get("/b") + b"\r\n")
        if ends == "client":
            await client.stream.send_eof()
        elif ends == "stop":
            await anyio.sleep(0.1)
            served.server.stop()
        await anyio.sleep(5)
        for name in (b"/a", b"/b"):
            assert (await client.response()).body == name + bytes(700)
        assert await client.is_closed()


async def test_bodies_between_requests_change_nothing() -> None:
    wire = post(b"one") + get("/a") + chunked(b"two", b"three") + get("/b") + post(b"four") + get("/c")
    async with serving_http(every_kind) as served:
        client = served.connect()
        await client.send(wire)
        bodies = [(await client.response()).body for _ in range(6)]
    assert bodies == [b"/one", b"/a", b"/twothree", b"/b", b"/four", b"/c"]
