"""A program of asyncio's that has trio as its guest: which of the two a server is on."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
import trio

from asgiserve.server import serve
from tests.live.applications import report
from tests.live.backends import on_asyncio_only
from tests.live.servers import PATIENCE

if TYPE_CHECKING:
    from tests.live.backends import Backend

pytestmark = [pytest.mark.live, on_asyncio_only]


class Guest:
    """A trio run on the loop that is running, until it is let go."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._done: asyncio.Future[Any] = loop.create_future()
        self._let_go = trio.Event()
        trio.lowlevel.start_guest_run(
            self._let_go.wait,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=self._done.set_result,
            host_uses_signal_set_wakeup_fd=True,
        )

    async def end(self) -> None:
        self._let_go.set()
        await self._done


@pytest.mark.parametrize("first", ["server", "guest"])
def test_a_server_on_the_hosts_side_is_on_asyncio(anyio_backend: Backend, first: str) -> None:
    async def main() -> None:
        guest = Guest() if first == "guest" else None
        async with anyio.create_task_group() as group:
            server = await group.start(partial(serve, report, port=0))
            ask = partial(httpx.get, server.urls[0], timeout=PATIENCE, trust_env=False)
            if guest is None:
                assert (await anyio.to_thread.run_sync(ask)).status_code == 200
                guest = Guest()
            assert (await anyio.to_thread.run_sync(ask)).status_code == 200
            await guest.end()
            assert (await anyio.to_thread.run_sync(ask)).status_code == 200
            server.stop()

    backend, options = anyio_backend
    anyio.run(main, backend=backend, backend_options=options)
