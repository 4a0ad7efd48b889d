"""What every stream promises about files that it sends."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import tempfile
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import BrokenResourceError, ClosedResourceError

from tests.unit.streams.steps import PATTERN, bounded, receive_exactly, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asgiserve.streams import Stream
    from tests.unit.streams.conftest import Kind, Pair

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def fd() -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        file.write(PATTERN)
        file.flush()
        yield file.fileno()


async def send_whole(stream: Stream, fd: int) -> bytes:
    offset = 0
    while sent := await stream.send_file(fd, offset, len(PATTERN)):
        offset += sent
    return b"%d" % offset


@bounded
async def test_a_file_arrives_unchanged_however_slowly_it_is_read(pair: Pair, fd: int) -> None:
    ours, peer = pair
    async with anyio.create_task_group() as tasks:
        sending = await start(tasks, lambda: send_whole(ours, fd))
        assert sending.blocked
        assert await receive_exactly(peer, len(PATTERN)) == PATTERN
        assert (await sending.wait()).value == b"%d" % len(PATTERN)
    assert os.lseek(fd, 0, os.SEEK_CUR) == len(PATTERN), "the file's own position is not touched"


@contextlib.contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Those that are open go on working."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@bounded
async def test_a_file_that_has_to_wait_needs_no_descriptor(pair: Pair, fd: int) -> None:
    ours, peer = pair
    with no_descriptor_left():
        with pytest.raises(OSError, match="Too many open files"):
            os.dup(fd)
        async with anyio.create_task_group() as tasks:
            sending = await start(tasks, lambda: send_whole(ours, fd))
            assert sending.blocked
            assert await receive_exactly(peer, len(PATTERN)) == PATTERN
            assert (await sending.wait()).error is None


@bounded
async def test_a_part_of_a_file_is_sent_from_its_offset_on(pair: Pair, fd: int) -> None:
    ours, peer = pair
    assert await ours.send_file(fd, 1000, 10) == 10
    await ours.send(b"behind")
    assert await receive_exactly(peer, 16) == PATTERN[1000:1010] + b"behind"


@bounded
async def test_the_end_of_a_file_is_nothing_sent(pair: Pair, fd: int) -> None:
    ours, _ = pair
    assert await ours.send_file(fd, len(PATTERN), 10) == 0
    assert await ours.send_file(fd, len(PATTERN) + 5, 10) == 0


@bounded
async def test_a_file_that_cannot_be_read_breaks_nothing(pair: Pair, tmp_path: Any) -> None:
    ours, peer = pair
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="directory") as caught:
            await ours.send_file(folder, 0, 10)
        assert caught.value.errno == errno.EISDIR
    finally:
        os.close(folder)
    await ours.send(b"goes on")
    assert await receive_exactly(peer, 7) == b"goes on"


@bounded
async def test_a_cancelled_file_ends_the_sending_half(pair: Pair, fd: int) -> None:
    ours, peer = pair
    async with anyio.create_task_group() as tasks:
        sending = await start(tasks, lambda: send_whole(ours, fd))
        assert sending.blocked
        sending.cancel_scope.cancel()
        await sending.wait()
    with pytest.raises(BrokenResourceError):
        await ours.send_file(fd, 0, 10)
    await peer.send(b"still read")
    assert await receive_exactly(ours, 10) == b"still read"


@bounded
async def test_a_file_that_waits_ends_when_the_stream_is_closed(pair: Pair, fd: int) -> None:
    ours, _ = pair
    async with anyio.create_task_group() as tasks:
        sending = await start(tasks, lambda: send_whole(ours, fd))
        await ours.aclose()
        await sending.wait()
    assert isinstance(sending.error, ClosedResourceError)


@bounded
async def test_a_file_for_a_peer_that_resets_is_a_broken_connection(kind: Kind, pair: Pair, fd: int) -> None:
    ours, peer = pair
    async with anyio.create_task_group() as tasks:
        sending = await start(tasks, lambda: send_whole(ours, fd))
        peer.abort()
        await sending.wait()
    assert isinstance(sending.error, BrokenResourceError)


@bounded
async def test_sockets_send_files_without_reading_them(
    kind: Kind, pair: Pair, fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pread(*_: int) -> bytes:
        raise AssertionError("the file was read")

    ours, peer = pair
    if kind.name not in ("tcp", "unix"):
        pytest.skip("its bytes do not leave as they are")
    monkeypatch.setattr(os, "pread", pread)
    assert await ours.send_file(fd, 0, 10) == 10
    assert await receive_exactly(peer, 10) == PATTERN[:10]


@bounded
async def test_where_the_system_cannot_send_the_file_is_read(
    pair: Pair, fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sendfile(*_: int) -> int:
        raise OSError(errno.EINVAL, "not from here")

    monkeypatch.setattr(os, "sendfile", sendfile)
    ours, peer = pair
    assert await ours.send_file(fd, 0, 10) == 10
    assert await receive_exactly(peer, 10) == PATTERN[:10]
