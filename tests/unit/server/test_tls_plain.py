"""Plain HTTP on a port that speaks TLS: an answer that says so, and no harm done."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio
import pytest

from asgiserve.protocols.http1 import begins_like_request
from tests.unit.connection.applications import errors_in, get, post
from tests.unit.server.apps import hello
from tests.unit.server.running import running
from tests.unit.server.test_tls import HANDSHAKE, TICK, client_hello, secured
from tests.unit.streams.conftest import CONTEXTS

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

HINT = b"This port speaks TLS, and the request came without it: use https://\n"


async def never(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("no application is to be called")


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "get", "M-SEARCH", "UPDATEREDIRECTREF", "PRI"])
async def test_a_request_without_tls_is_answered_400_with_what_to_do(method: str) -> None:
    async with running(never, ssl_context=CONTEXTS.server) as run:
        client = run.connect()
        await client.send(f"{method} / HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        response = await client.response()
        assert (response.status, response.body) == (400, HINT)
        assert response.headers["connection"] == "close"
        assert await client.is_closed()


async def test_a_request_without_tls_may_come_byte_by_byte() -> None:
    async with running(never, ssl_context=CONTEXTS.server) as run:
        client = run.connect()
        for byte in b"GET ":
            await client.send(bytes([byte]))
            await anyio.sleep(1)
        assert (await client.response()).body == HINT


async def test_the_answer_to_a_head_request_without_tls_has_no_body() -> None:
    async with running(never, ssl_context=CONTEXTS.server) as run:
        client = run.connect()
        await client.send(b"HEAD / HTTP/1.1\r\nHost: test\r\n\r\n")
        response = await client.response("HEAD")
        assert (response.status, response.headers["content-length"]) == (400, str(len(HINT)))
        assert await client.is_closed()


async def test_the_answer_can_be_read_by_who_still_sends() -> None:
    async with running(never, ssl_context=CONTEXTS.server) as run, anyio.create_task_group() as group:
        client = run.connect()
        group.start_soon(client.send, post(bytes(1_000_000)))
        assert (await client.response()).body == HINT
        assert await client.is_closed()


async def test_a_word_that_never_ends_is_given_up_at_the_limit_of_the_handshake() -> None:
    async with running(never, ssl_context=CONTEXTS.server) as run:
        client = run.connect()
        await client.send(b"GET")
        began = anyio.current_time()
        with pytest.raises(anyio.BrokenResourceError):
            await client.read()
        assert anyio.current_time() - began == pytest.approx(HANDSHAKE)


async def test_a_peer_that_never_reads_the_answer_is_cut_in_time() -> None:
    async with running(hello, ssl_context=CONTEXTS.server, limit_connections=1) as run:
        noise = run.connect(capacity=100)
        await noise.send(get())
        began = anyio.current_time()
        assert (await (await secured(run.connect().stream)).get()).status == 200
        assert anyio.current_time() - began <= HANDSHAKE + TICK


async def test_a_request_without_tls_is_logged_as_what_it_is_and_the_next_client_is_served(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "asgiserve")
    async with running(hello, ssl_context=CONTEXTS.server) as run:
        await run.connect(remote_address=("10.0.0.9", 1234)).get()
        assert (await (await secured(run.connect().stream)).get()).status == 200
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning == "Invalid HTTP request from 10.0.0.9:1234: 400, plain HTTP on a port that speaks TLS"
    assert errors_in(caplog) == []


async def test_tls_on_a_port_without_it_is_answered_400() -> None:
    async with running(never) as run:
        client = run.connect()
        await client.send(client_hello())
        response = await client.response()
        assert (response.status, response.headers["connection"]) == (400, "close")
        assert await client.is_closed()


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (b"G", None),
        (b"GET", None),
        (b"GET ", True),
        (b"GET / HTTP/1.1\r\n", True),
        (b"x" * 24, None),
        (b"x" * 24 + b" ", True),
        (b"x" * 25, False),
        (b"x" * 25 + b" ", False),
        (b" ", False),
        (b"GE\r", False),
        (b"\x16", False),
        (b"\x16\x03\x01 ", False),
        (b"SSH-2.0-x\r\n", False),
    ],
)
def test_a_request_is_told_from_tls_by_its_first_bytes(data: bytes, verdict: bool | None) -> None:
    assert begins_like_request(data) is verdict
