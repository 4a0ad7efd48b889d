"""The line between the supervisor and a worker: what comes over it is not trusted."""

from __future__ import annotations

import json
import os
import socket
import threading
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from asgiserve.supervise.channel import MAX_LINE, Channel, read_plan, write_plan
from tests.live.backends import EVERY_LOOP

if TYPE_CHECKING:
    from tests.live.backends import Backend

pytestmark = pytest.mark.anyio


@pytest.fixture(params=EVERY_LOOP)
def anyio_backend(request: pytest.FixtureRequest) -> Backend:
    """Real time: a thread is at the other end, as blocking as a worker before its loop runs."""
    backend: Backend = request.param
    return backend


async def test_what_one_side_says_the_other_receives_in_order(pair: tuple[socket.socket, socket.socket]) -> None:
    one, other = map(Channel, pair)

    assert one.send_nowait("stop", last=True)
    assert one.send_nowait("ping")

    assert await other.receive() == {"word": "stop", "last": True}
    assert await other.receive() == {"word": "ping"}


async def test_a_line_may_come_in_pieces(pair: tuple[socket.socket, socket.socket]) -> None:
    channel = Channel(pair[0])
    heard: list[object] = []

    async def listen() -> None:
        heard.append(await channel.receive())

    async with anyio.create_task_group() as group:
        group.start_soon(listen)
        for byte in b'{"word": "ready"}\n':
            pair[1].send(bytes([byte]))
            await anyio.lowlevel.checkpoint()

    assert heard == [{"word": "ready"}]


@pytest.mark.parametrize(
    "line",
    [b"hello", b"[]", b"{}", b'{"word": 1}', b"\xff\xfe", b"{" * 100_000, b"", b"null"],
    ids=lambda line: repr(line[:12]),
)
async def test_what_is_no_object_with_a_word_is_the_end_of_it(
    pair: tuple[socket.socket, socket.socket], line: bytes
) -> None:
    sender = threading.Thread(target=pair[1].sendall, args=(line + b"\n",))
    sender.start()
    assert await Channel(pair[0]).receive() is None
    sender.join()


async def test_a_line_without_an_end_is_the_end_of_it(pair: tuple[socket.socket, socket.socket]) -> None:
    sent = json.dumps({"word": "x" * (MAX_LINE + 100_000)}).encode()

    def send() -> None:
        try:
            pair[1].sendall(sent)
        except OSError:
            pass  # nobody reads the rest

    sender = threading.Thread(target=send)
    sender.start()
    channel = Channel(pair[0])
    assert await channel.receive() is None
    channel.close()
    sender.join()


async def test_when_the_other_end_is_closed_nothing_more_comes_or_goes(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    pair[1].close()
    channel = Channel(pair[0])

    assert await channel.receive() is None
    assert not channel.send_nowait("stop")


async def test_who_waits_hears_that_its_own_end_is_closed_and_the_next_one_may_have_the_number() -> None:
    """The other end stays open: a process that the worker has forked holds it too."""
    ours, theirs = socket.socketpair()
    number = ours.fileno()
    heard: list[object] = []

    async def listen(channel: Channel) -> None:
        heard.append(await channel.receive())

    with theirs, anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            channel = Channel(ours)
            group.start_soon(listen, channel)
            await anyio.wait_all_tasks_blocked()
            channel.close()
        assert heard == [None]
        assert ours.fileno() == -1
        assert not channel.send_nowait("stop")

        one, other = _pair_with(number)
        with one, other:
            async with anyio.create_task_group() as group:
                group.start_soon(listen, Channel(one))
                await anyio.wait_all_tasks_blocked()
                other.send(b'{"word": "ready"}\n')
    assert heard == [None, {"word": "ready"}]


def _pair_with(number: int) -> tuple[socket.socket, socket.socket]:
    """A pair whose first socket has this number, which nobody has."""
    one, other = socket.socketpair()
    if one.fileno() == number:
        return one, other
    with one:
        assert other.fileno() != number
        os.dup2(one.fileno(), number, inheritable=False)
    return socket.socket(fileno=number), other


async def test_what_was_closed_hears_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    channel = Channel(pair[0])
    channel.close()

    assert await channel.receive() is None


async def test_a_line_that_nobody_reads_fills_up_and_says_so(pair: tuple[socket.socket, socket.socket]) -> None:
    channel = Channel(pair[0])

    assert not all(channel.send_nowait("x" * 1000) for _ in range(10_000))


async def test_a_plan_of_any_size_arrives_whole(pair: tuple[socket.socket, socket.socket]) -> None:
    read: list[tuple[list[str], list[str], bytes]] = []
    reader = threading.Thread(target=lambda: read.append(read_plan(pair[1])))
    reader.start()

    await Channel(pair[0]).send_plan(write_plan({"header": "x" * 1_000_000}))
    reader.join()

    assert b"x" * 1_000_000 in read[0][2]


def test_a_plan_that_never_comes_is_an_error(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[0].close()

    with pytest.raises(EOFError):
        read_plan(pair[1])
