"""WebSockets over TLS, through the whole server, with anyio's TLS stream as a peer that is not ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.streams.tls import TLSStream

from tests.support.serving import PATIENCE
from tests.support.websocket import PING, PONG, TEXT, Frame, WebSocketClient, frame
from tests.unit.connection.websocket_applications import Journal, accept, echo, say
from tests.unit.server.running import running
from tests.unit.streams.conftest import CONTEXTS

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send
    from tests.unit.server.running import Run

pytestmark = pytest.mark.anyio


async def opened(run: Run) -> WebSocketClient:
    """A client whose WebSocket is open, behind TLS."""
    with anyio.fail_after(PATIENCE):
        tls = await TLSStream.wrap(run.connect().stream, hostname="localhost", ssl_context=CONTEXTS.client)
    client = WebSocketClient(tls)  # type: ignore[arg-type]  # of a stream it needs what both have
    await client.open()
    return client


async def test_over_tls_the_scheme_is_wss_and_messages_are_echoed() -> None:
    schemes: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        schemes.append(scope["scheme"])
        await echo(scope, receive, send)

    async with running(app, ssl_context=CONTEXTS.server) as run:
        client = await opened(run)
        for text in ("x", "y" * 20_000):
            await client.text(text)
            assert await client.message() == text
        # The end is a close_notify: this peer would take anything else for an attack.
        await client.close(4000)
        assert (await client.frame()).code == 4000
        assert await client.is_closed()
    assert schemes == ["wss"]


async def test_a_stop_wakes_an_application_that_receives_over_tls() -> None:
    app = Journal()
    async with running(app, ssl_context=CONTEXTS.server) as run:
        client = await opened(run)
        began = anyio.current_time()
        run.server.stop()
        await app.ended.wait()
        assert anyio.current_time() == began
        assert await client.closed_with() == (1012, "")
    assert app.disconnect == (1012, "")


async def test_pings_are_answered_over_tls_while_the_application_is_busy() -> None:
    async def sleeps(receive: Receive, send: Send) -> None:
        await anyio.sleep(30)

    app = Journal(sleeps)
    async with running(app, ssl_context=CONTEXTS.server) as run:
        client = await opened(run)
        await anyio.sleep(1)
        await client.send(frame(PING, b"p"))
        assert await client.frame() == Frame(PONG, b"p")
        await client.send(frame(TEXT, b"after"))
        await client.close()
        await app.ended.wait()
    assert app.contents == ["after"]


async def test_a_slow_reader_over_tls_gets_everything() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        for number in range(10):
            await say(send, b"%d" % number * 100_000)

    async with running(app, ssl_context=CONTEXTS.server) as run:
        client = await opened(run)
        for number in range(10):
            await anyio.sleep(1)
            assert await client.message() == b"%d" % number * 100_000
        assert await client.closed_with() == (1000, "")
