"""Heads of responses: whose fields go out, and what becomes of illegal ones and of broken lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asgiserve.errors import LocalProtocolError
from tests.unit.connection.applications import (
    body,
    errors_in,
    get,
    reply,
    serving_http,
    start,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio


HELLO = b"hello, world"


# --- fields ---


async def test_fields_of_the_connection_are_the_servers_own() -> None:
    fields = [
        (b"connection", b"keep-alive, x"),
        (b"keep-alive", b"timeout=5"),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"h2c"),
        (b"x-own", b"kept"),
    ]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, HELLO, headers=fields)

    async with serving_http(app) as served:
        client = served.connect()
        response = await client.get()
        assert response.body == HELLO
        assert response.headers["x-own"] == "kept"
        assert not response.headers.keys() & {"connection", "keep-alive", "transfer-encoding", "upgrade"}
        assert (await client.get()).body == HELLO


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda value: memoryview(bytearray(value))])
async def test_names_and_values_may_be_any_kind_of_bytes(kind: Callable[[bytes], Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, HELLO, headers=[(kind(b"x-own"), kind(b"kept"))])

    async with serving_http(app) as served:
        client = served.connect()
        for _ in range(2):
            assert (await client.get()).headers["x-own"] == "kept"


async def test_date_and_server_are_added_unless_the_application_has_its_own() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        own = [(b"Date", b"yesterday"), (b"Server", b"mine")] if scope["path"] == "/own" else []
        await reply(send, headers=own)

    async with serving_http(app) as served:
        client = served.connect()
        added = await client.get("/")
        assert added.headers["server"] == "asgiserve"
        assert added.headers["date"].endswith(" GMT")
        own = await client.get("/own")
    names = [name.lower() for name, _ in own.fields]
    assert (own.headers["date"], own.headers["server"]) == ("yesterday", "mine")
    assert names.count(b"date") == names.count(b"server") == 1


@pytest.mark.parametrize("field", [(b"x-a", b"b\r\nSet-Cookie: evil=1"), (b"x-a: b\r\nevil", b"1"), (b"x-a", b"b\x00")])
async def test_a_field_that_would_split_the_response_is_a_500_and_never_on_the_wire(
    field: tuple[bytes, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, HELLO, headers=[field, (b"x-fine", b"1")])

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        with anyio.fail_after(1):
            wire = await client.read_all()
    assert wire.startswith(b"HTTP/1.1 500 ")
    assert b"evil" not in wire
    assert b"x-fine" not in wire
    assert len(errors_in(caplog)) == 1


@pytest.mark.parametrize("fault", [{"status": 99}, {"status": 1000}, {"headers": [(b"content-length", b"-1")]}])
async def test_after_a_refused_start_an_error_middleware_may_start_another(fault: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with pytest.raises(LocalProtocolError):
            await send({"type": "http.response.start", "status": 200, **fault})
        await reply(send, b"sorry", status=500)

    async with serving_http(app) as served:
        client = served.connect()
        for _ in range(2):
            response = await client.get()
            assert (response.status, response.body) == (500, b"sorry")


# --- broken lengths ---


async def test_a_first_body_that_does_not_fit_its_length_is_a_clean_500(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=3)
        await body(send, HELLO if scope["path"] == "/long" else b"")

    async with serving_http(app) as served:
        for target in ("/long", "/short"):
            client = served.connect()
            response = await client.get(target)
            assert (response.status, response.headers["connection"]) == (500, "close")
            assert HELLO not in response.body
            assert await client.is_closed()
    assert len(errors_in(caplog)) == 2


async def test_an_application_that_swallows_its_broken_length_still_gives_a_clean_500(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=3)
        with pytest.raises(LocalProtocolError, match="longer than its Content-Length"):
            await body(send, HELLO)
        await anyio.sleep(5)

    async with serving_http(app) as served:
        client = served.connect()
        assert (await client.get()).status == 500
    assert not any("Unexpected error" in line for line in errors_in(caplog))


@pytest.mark.parametrize("second", [b"", HELLO])
async def test_a_later_body_that_does_not_fit_its_length_cuts_the_response(second: bytes) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=10)
        await body(send, b"hello", more=True)
        await body(send, second)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        with anyio.fail_after(1):
            wire = await client.read_all()
    assert b"content-length: 10\r\n" in wire
    assert wire.endswith(b"\r\n\r\nhello")


async def test_the_same_fields_in_any_shape_are_the_same_head() -> None:
    """A head that repeats is found by its value; what cannot be found so is read as ever."""
    pair = (b"vary", b"accept")
    shapes = [[pair], [pair], (pair,), [list(pair)], [pair], iter([pair]), iter([list(pair)])]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        fields: Any = shapes[int(scope["path"][1:])]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await body(send, HELLO)

    async with serving_http(app) as served:
        client = served.connect()
        heads = [(await client.get(f"/{number}")).fields for number in range(len(shapes))]
    vary = [[field for field in head if field[0] != b"date"] for head in heads]
    assert all(head == vary[0] for head in vary)
    assert pair in vary[0]


async def test_a_head_that_is_refused_leaves_nothing_behind_for_the_next() -> None:
    refused: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"vary", b"known")]})
        await body(send, HELLO)

    async def twice(scope: Scope, receive: Receive, send: Send) -> None:
        for fields in ([(b"vary", "a str")], [(b"vary", b"a\nb")], [[b"vary", 5]]):
            try:
                await send({"type": "http.response.start", "status": 200, "headers": fields})
            except LocalProtocolError as error:
                refused.append(str(error))
        await app(scope, receive, send)

    async with serving_http(twice) as served:
        client = served.connect()
        for _ in range(2):
            response = await client.get()
            assert (response.body, response.headers["vary"]) == (HELLO, "known")
    assert len(refused) == 6
    assert refused[:3] == refused[3:]
