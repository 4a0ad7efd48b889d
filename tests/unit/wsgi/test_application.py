"""What of a WSGI application needs no thread: what it is never asked for, and requests that never reach it."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest

from asgiserve.config import Settings
from asgiserve.errors import AppLoadError, StartupError
from asgiserve.server import serve_with
from asgiserve.testing import MemoryListener
from tests.support.serving import serving
from tests.support.websocket import handshake
from tests.unit.connection.applications import errors_in, post

pytestmark = pytest.mark.anyio


def never(environ: dict[str, Any], start_response: Any) -> Any:
    raise AssertionError("the application was called")


async def test_a_websocket_is_refused_with_403() -> None:
    async with serving(never) as served:
        client = served.connect()
        await client.send(handshake())

        assert (await client.response()).status == 403


async def test_nothing_is_said_of_a_lifespan_that_a_wsgi_application_cannot_have(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "asgiserve.error")
    async with serving(never):
        assert not caplog.records


async def test_a_lifespan_that_is_insisted_on_is_a_failed_startup() -> None:
    with pytest.raises(StartupError, match="A WSGI application has no lifespan"):
        await serve_with(never, Settings.of({"lifespan": "on"}), listeners=[MemoryListener()])


async def test_a_client_that_leaves_before_its_short_body_is_there_never_reaches_the_application(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(never) as served:
        client = served.connect()
        await client.send(post(b"x" * 10, length=100))
        await client.stream.send_eof()

        assert await client.is_closed()
    assert errors_in(caplog) == []


async def test_a_body_that_breaks_a_rule_at_its_beginning_never_reaches_the_application() -> None:
    async with serving(never, limit_request_body=1000) as served:
        client = served.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")

        assert (await client.response()).status == 400


async def test_a_slow_short_body_times_out_without_the_application(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(never) as served:
        client = served.connect()
        await client.send(post(b"x" * 10, length=100))
        with pytest.raises(anyio.BrokenResourceError):
            await client.read()
    assert errors_in(caplog) == []


@pytest.mark.parametrize("interface", ["asgi2", "asgi3"])
async def test_a_wsgi_application_is_not_served_as_one_of_asgi(interface: str) -> None:
    with pytest.raises(AppLoadError, match="is a WSGI application"):
        await serve_with(never, Settings.of({"interface": interface}), listeners=[MemoryListener()])
