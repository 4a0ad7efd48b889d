"""Steps that the tests of streams have in common: bounded tests, calls that block, reading to the end."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import checkpoint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import TaskGroup, TaskStatus

    from asgiserve.streams import Stream

# More than any kind of stream holds between its two ends; 251 is prime, so no shift of it looks the same.
PATTERN = bytes(range(251)) * (8 * 1024 * 1024 // 251)


def bounded(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """The test fails rather than hangs."""

    @functools.wraps(test)
    async def run(*args: Any, **kwargs: Any) -> None:
        with anyio.fail_after(20):
            await test(*args, **kwargs)

    return run


class Call:
    """A call that runs in a task of its own, and what came of it."""

    def __init__(self) -> None:
        self.value: bytes | None = None
        self.error: Exception | None = None
        self.cancel_scope = anyio.CancelScope()
        self._ended = anyio.Event()

    async def run(self, call: Callable[[], Awaitable[bytes | None]], *, task_status: TaskStatus[None]) -> None:
        with self.cancel_scope:
            # The caller goes on only after this step of the task, which ends where `call` blocks.
            task_status.started()
            try:
                self.value = await call()
            except Exception as exc:
                self.error = exc
        self._ended.set()

    @property
    def blocked(self) -> bool:
        return not self._ended.is_set()

    async def wait(self) -> Call:
        await self._ended.wait()
        return self


async def start(tasks: TaskGroup, call: Callable[[], Awaitable[bytes | None]]) -> Call:
    """Run `call` in a task of its own up to where it blocks, or ends."""
    started = Call()
    await tasks.start(started.run, call)
    return started


async def interrupted_receive(stream: Stream) -> None:
    """Wait in `receive` for nothing."""
    async with anyio.create_task_group() as tasks:
        receiving = await start(tasks, stream.receive)
        await anyio.wait_all_tasks_blocked()
        stream.interrupt()
        assert (await receiving.wait()).value == b""


async def receive_exactly(stream: Stream, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        received += await stream.receive(min(65536, count - len(received)))
    return bytes(received)


async def receive_to_end(stream: Stream) -> bytes:
    received = bytearray()
    while True:
        try:
            received += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return bytes(received)


async def send_until_blocked(stream: Stream, piece: bytes, count: list[int]) -> None:
    """Send `piece` again and again, and count in `count[0]` how many sends have returned."""
    while True:
        await stream.send(piece)
        count[0] += 1


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that the event loop or the kernel is about to do."""
    for _ in range(10_000):
        if condition():
            return
        await checkpoint()
    raise AssertionError("it did not come about")
