"""Handlers and filters of the user's own that raise: no peer notices, and the server goes on."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from tests.unit.connection.applications import errors_in, reply, serving_http

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio


class Alert(logging.Handler):
    """Posts what is logged to a chat, which is down."""

    def emit(self, record: logging.LogRecord) -> None:
        raise ConnectionError("the chat is down")


class Redact(logging.Filter):
    """Its author has seen only text in `args`."""

    def filter(self, record: logging.LogRecord) -> bool:
        raise TypeError("expected string or bytes-like object")


@pytest.fixture(autouse=True, params=["asgiserve.error", "asgiserve.access"])
def logger(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[logging.Logger]:
    caplog.set_level("INFO")
    found = logging.getLogger(request.param)
    filters, handlers = found.filters[:], found.handlers[:]
    yield found
    found.filters[:], found.handlers[:] = filters, handlers


@pytest.fixture(autouse=True, params=["handler", "filter"])
def _broken(request: pytest.FixtureRequest, logger: logging.Logger) -> None:
    if request.param == "handler":
        logger.addHandler(Alert())
    else:
        logger.addFilter(Redact())


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/raise":
        raise ValueError
    await reply(send, b"hello")


@pytest.mark.parametrize("task_per_request", [False, True])
async def test_a_handler_or_a_filter_that_raises_changes_no_answer_and_ends_nothing(
    caplog: pytest.LogCaptureFixture, logger: logging.Logger, task_per_request: bool
) -> None:
    async with serving_http(app, task_per_request=task_per_request) as served:
        kept, failing, wrong = served.connect(), served.connect(), served.connect()
        assert (await kept.get()).body == b"hello"
        assert (await failing.get("/raise")).status == 500
        await wrong.send(b"GET / HTTP/1.1\r\n\r\n")
        assert (await wrong.response()).status == 400
        assert (await kept.get()).body == b"hello"
        assert (await served.connect().get()).body == b"hello"
    if logger.name == "asgiserve.access":  # no application is said to have failed for it
        assert errors_in(caplog) == ["Exception in ASGI application (GET /raise)"]
