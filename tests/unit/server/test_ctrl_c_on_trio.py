"""Ctrl+C in a trio program that embeds the server, in a moment in which one of the server's own tasks runs.

trio raises KeyboardInterrupt in whatever runs when the signal comes, or in the main task if that is protected.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import anyio

from tests.support.clock import virtual_time
from tests.unit.server.apps import Journal, Slow
from tests.unit.server.running import running

if TYPE_CHECKING:
    import logging
    from collections.abc import Awaitable, Callable

    import pytest

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def run_on_trio(main: Callable[[], Awaitable[None]]) -> None:
    """In a main task as a program has it. pytest's would be that of anyio's plugin."""
    backend, options = virtual_time("trio")
    anyio.run(main, backend=backend, backend_options=options)


async def is_interrupted() -> bool:
    """Whether Ctrl+C reaches the task that waits here."""
    try:
        await anyio.sleep(10)
    except KeyboardInterrupt:
        return True
    return False


def test_ctrl_c_while_the_server_accepts_reaches_the_main_task_and_cuts_no_request() -> None:
    async def main() -> None:
        app = Journal(slow := Slow(60))
        async with running(app, timeout_graceful_shutdown=100) as run:
            client = run.connect()
            await client.send(REQUEST)
            await slow.begun.wait()
            accept = run.listener.accept_nowait

            def accept_and_interrupt() -> object:
                signal.raise_signal(signal.SIGINT)
                run.listener.accept_nowait = accept  # type: ignore[method-assign]
                return accept()

            run.listener.accept_nowait = accept_and_interrupt  # type: ignore[assignment,method-assign]
            run.connect()
            assert await is_interrupted()
            run.server.stop()
            assert (await client.response()).status == 200
            await run.end()
        assert (app.was_shut_down, run.error) == (True, None)

    run_on_trio(main)


def test_ctrl_c_while_the_server_stops_reaches_the_main_task_and_the_stop_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class App(Journal):
        async def shut_down(self) -> None:
            await anyio.sleep(3)

    def interrupts(record: logging.LogRecord) -> bool:
        if record.getMessage() == "Waiting for application shutdown.":  # the task that ends the server says so
            signal.raise_signal(signal.SIGINT)
        return True

    async def main() -> None:
        async with running(app := App(), timeout_lifespan_shutdown=5) as run:
            run.server.stop()
            assert await is_interrupted()
            assert await run.end() <= 5
        assert (app.was_shut_down, run.error) == (True, None)

    caplog.set_level("INFO", "asgiserve")
    with caplog.filtering(interrupts):
        run_on_trio(main)
