"""Early hints and trailers: when they go out, and to whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from tests.unit.connection.applications import (
    body,
    errors_in,
    get,
    serving_http,
    start,
)

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio


HELLO = b"hello, world"


# --- early hints and trailers ---


async def test_early_hints_go_out_before_the_response() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload", b"</b.js>; rel=preload"]})
        await anyio.sleep(1)
        await start(send, length=12)
        await send({"type": "http.response.early_hint", "links": [b"</c.js>; rel=preload"]})
        await body(send, HELLO)

    async with serving_http(app) as served:
        response = await served.connect().get()
    assert [hint.status_code for hint in response.informational] == [103, 103]
    assert list(response.informational[0].headers) == [
        (b"link", b"</a.css>; rel=preload"),
        (b"link", b"</b.js>; rel=preload"),
    ]
    assert response.body == HELLO


async def test_early_hints_behind_the_head_are_not_sent() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]})
        await body(send, HELLO)

    async with serving_http(app) as served:
        response = await served.connect().get()
    assert (response.body, response.informational) == (HELLO, [])


async def with_trailers(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
    await body(send, HELLO)
    await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")], "more_trailers": True})
    await send({"type": "http.response.trailers", "headers": [(b"x-count", b"2")]})


@pytest.mark.parametrize(
    ("te", "expected"),
    [
        ("TE: trailers", [(b"x-sum", b"1"), (b"x-count", b"2")]),
        ("TE: gzip;q=0.5, Trailers", [(b"x-sum", b"1"), (b"x-count", b"2")]),
        ("TE: x-trailers", []),
        ("A: b", []),
    ],
)
async def test_trailers_are_sent_to_whom_takes_them(te: str, expected: list[tuple[bytes, bytes]]) -> None:
    async with serving_http(with_trailers) as served:
        client = served.connect()
        for _ in range(2):
            response = await client.get(headers=f"{te}\r\nConnection: TE\r\n" if te.startswith("TE") else "")
            assert (response.body, response.trailers) == (HELLO, expected)


async def test_trailers_have_no_place_behind_a_body_of_known_length() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        fields = [(b"content-length", b"12")]
        await send({"type": "http.response.start", "status": 200, "headers": fields, "trailers": True})
        await body(send, HELLO)
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]})

    async with serving_http(app) as served:
        client = served.connect()
        for _ in range(2):
            response = await client.get(headers="TE: trailers\r\n")
            assert (response.body, response.trailers) == (HELLO, [])


@pytest.mark.parametrize("sends_them", [True, False])
async def test_http_10_is_offered_no_trailers_and_does_not_wait_for_them(
    sends_them: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert not {"http.response.early_hint", "http.response.trailers"} & scope["extensions"].keys()
        if sends_them:
            await with_trailers(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
        await body(send, HELLO)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(b"GET / HTTP/1.0\r\nTE: trailers\r\n\r\n")
        with anyio.fail_after(1):
            wire = await client.read_all()
    assert wire.endswith(b"\r\n\r\n" + HELLO)
    assert errors_in(caplog) == []


async def test_trailers_announced_and_never_sent_cut_the_response(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
        await body(send, HELLO)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        with anyio.fail_after(1):
            assert not (await client.read_all()).endswith(b"0\r\n\r\n")
    assert errors_in(caplog) == ["ASGI application returned without completing its response (GET /)"]
