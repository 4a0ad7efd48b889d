"""Every stop under one bound where each request has a task of its own. Without, it is the stop matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.unit.server.apps import Deaf, Journal, Large, Lingering, Listening, Slow, hello
from tests.unit.server.running import running

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asgiserve.types import Receive, Scope, Send
    from tests.unit.server.running import Run

pytestmark = pytest.mark.anyio

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def idle(run: Run) -> None:
    await run.connect().get()


async def half_a_head(run: Run) -> None:
    await run.connect().send(REQUEST[:20])


async def half_a_body(run: Run) -> None:
    await run.connect().send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1234")


async def one_request(run: Run) -> None:
    await run.connect().send(REQUEST)


async def never_reading(run: Run) -> None:
    await run.connect(capacity=1024).send(REQUEST)


async def flooding(run: Run) -> None:
    client = run.connect()
    with anyio.move_on_after(0.1):
        await client.send(REQUEST * 10_000)


async def reads_the_body(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await hello(scope, receive, send)


SITUATIONS: dict[str, tuple[Callable[[], Any], Callable[[Run], Awaitable[None]]]] = {
    "an idle connection": (lambda: hello, idle),
    "half a head": (lambda: hello, half_a_head),
    "half a body": (lambda: reads_the_body, half_a_body),
    "a slow app": (lambda: Slow(3600), one_request),
    "a stream that listens": (Listening, one_request),
    "a stream that does not": (Deaf, one_request),
    "a client that never reads": (Large, never_reading),
    "a background task": (lambda: Lingering(3600), one_request),
    "pipelined requests without end": (lambda: hello, flooding),
}


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("how", ["stop", "quick stop", "abort", "cancel"])
async def test_no_stop_takes_longer_than_its_limits_and_a_second(situation: str, how: str) -> None:
    make_app, begin = SITUATIONS[situation]

    class App(Journal):
        async def shut_down(self) -> None:
            await anyio.sleep(3600)

    app = App(make_app())
    async with running(app, task_per_request=True) as run:
        await begin(run)
        await anyio.sleep(0.5)
        ask = {
            "stop": run.server.stop,
            "quick stop": lambda: run.server.stop_quickly(5),
            "abort": run.server.abort,
            "cancel": run.scope.cancel,
        }[how]
        ask()
        took = await run.end()
    grace = {"stop": 25, "quick stop": 5}.get(how, 0)
    assert 3 <= took <= grace + 3 + 1
    assert app.was_shut_down
