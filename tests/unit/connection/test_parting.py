"""What applications raise when they have been told that their peer has left: a line in the log, or an error."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio
import pytest

from asgiserve import ClientDisconnected
from tests.support.serving import serving
from tests.support.websocket import serving_websockets
from tests.unit.connection.applications import errors_in

if TYPE_CHECKING:
    from asgiserve.types import ASGIApplication, Receive, Scope, Send

pytestmark = pytest.mark.anyio


class Gone(Exception):
    """As frameworks make one of the disconnect message."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class RequestDisconnected(Exception):
    """As frameworks make one of `http.disconnect`, which has no code."""


def websocket(raised: BaseException, *, listen: bool = True) -> ASGIApplication:
    """Raises this when its peer has left; what it does not hear it learns by sending."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        if listen:
            while (await receive())["type"] != "websocket.disconnect":
                pass
            raise raised
        try:
            while True:
                await send({"type": "websocket.send", "text": "x"})
                await anyio.sleep(0.1)
        except ClientDisconnected:
            raise raised  # noqa: B904 - as frameworks do, by accident or not

    return app


async def ended_with(app: ASGIApplication, caplog: pytest.LogCaptureFixture) -> tuple[list[str], list[str]]:
    """The errors, and the partings, that are logged when the client of this WebSocket leaves with 1001."""
    caplog.set_level(logging.INFO)
    async with serving_websockets(app) as served:
        client = await served.open("/there")
        await client.close(1001)
        await anyio.sleep(1)
    return errors_in(caplog), [line.getMessage() for line in caplog.records if "ended by" in line.getMessage()]


async def test_an_exception_with_the_code_of_the_disconnect_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    errors, partings = await ended_with(websocket(Gone(1001)), caplog)
    assert (errors, partings) == ([], ["ASGI application ended by Gone: 1001 (WebSocket /there)"])


async def test_a_group_of_nothing_else_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    group = BaseExceptionGroup("", [Gone(1001), BaseExceptionGroup("", [ClientDisconnected("x")])])
    errors, partings = await ended_with(websocket(group), caplog)
    assert (errors, len(partings)) == ([], 1)


async def test_a_group_with_anything_else_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    errors, partings = await ended_with(websocket(ExceptionGroup("", [Gone(1001), KeyError("x")])), caplog)
    assert (len(errors), partings) == (1, [])


@pytest.mark.parametrize("raised", [Gone(1000), KeyError("x"), RequestDisconnected(), OSError("disk")], ids=repr)
async def test_whatever_else_is_raised_after_the_disconnect_stays_an_error(
    raised: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    errors, partings = await ended_with(websocket(raised), caplog)
    assert (len(errors), partings) == (1, [])


async def test_an_exception_that_a_failing_send_is_turned_into_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    errors, partings = await ended_with(websocket(Gone(1006), listen=False), caplog)
    assert (errors, len(partings)) == ([], 1)


async def test_a_receiver_and_a_sender_that_both_hear_of_it_are_one_line(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        both: list[Exception] = []
        while not both:
            await anyio.sleep(0.1)
            try:
                await send({"type": "websocket.send", "text": "x"})
            except ClientDisconnected as error:
                both = [Gone((await receive())["code"]), Gone(1006)]
                both[1].__context__ = error
        raise ExceptionGroup("the tasks of a group", both)

    errors, partings = await ended_with(app, caplog)
    assert (errors, len(partings)) == ([], 1)


@pytest.mark.parametrize("raised", [Gone(1001), KeyError("x")], ids=repr)
async def test_whatever_else_is_raised_behind_a_failing_send_stays_an_error(
    raised: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    errors, partings = await ended_with(websocket(raised, listen=False), caplog)
    assert (len(errors), partings) == (1, [])


async def test_a_code_before_any_disconnect_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        raise Gone(1006)

    caplog.set_level(logging.INFO)
    async with serving_websockets(app) as served:
        client = await served.open()
        assert (await client.closed_with())[0] == 1011
    assert len(errors_in(caplog)) == 1


# --- HTTP -------------------------------------------------------------------------------------


def upload(raised: BaseException, *, listen: bool = True) -> ASGIApplication:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while listen and (await receive())["type"] != "http.disconnect":
            pass
        raise raised

    return app


async def errors_of_upload(app: ASGIApplication, caplog: pytest.LogCaptureFixture) -> tuple[int, int]:
    """How many errors, and partings, are logged when the client breaks off."""
    caplog.set_level(logging.INFO)
    async with serving(app, lifespan="off") as served:
        client = served.connect()
        await client.send(b"POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1234")
        await anyio.sleep(1)
        client.stream.abort()
        await anyio.sleep(1)
    return len(errors_in(caplog)), sum("ended by" in line.getMessage() for line in caplog.records)


async def test_an_exception_called_a_disconnect_is_one_line_after_http_disconnect(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert await errors_of_upload(upload(RequestDisconnected()), caplog) == (0, 1)


async def test_any_other_is_an_error_after_http_disconnect_too(caplog: pytest.LogCaptureFixture) -> None:
    assert await errors_of_upload(upload(KeyError("x")), caplog) == (1, 0)


async def test_before_it_the_name_excuses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert await errors_of_upload(upload(RequestDisconnected(), listen=False), caplog) == (1, 0)


async def test_at_the_notice_of_a_stop_it_is_answered_503(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(upload(RequestDisconnected()), lifespan="off") as served:
        client = served.connect()
        await client.send(b"POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1234")
        await anyio.sleep(1)
        served.server.stop()
        assert (await client.response()).status == 503
    assert errors_in(caplog) == []
