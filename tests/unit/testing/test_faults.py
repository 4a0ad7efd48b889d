"""What happens to bytes in memory on their way, when a test asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream, WouldBlock

from asgiserve.testing import Faults, memory_stream_pair
from tests.support.serving import serving

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message.get("body", b""), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def test_bytes_can_come_one_by_one() -> None:
    server, client = memory_stream_pair(to_server=Faults(piece=1))
    await client.send(b"abc")
    await server.send(b"abc")

    assert [await server.receive() for _ in range(3)] == [b"a", b"b", b"c"]
    assert await client.receive() == b"abc"


async def test_a_delay_holds_back_bytes_and_their_end_and_keeps_their_order() -> None:
    server, client = memory_stream_pair(to_client=Faults(delay=3))
    began = anyio.current_time()
    await server.send(b"one")
    await anyio.sleep(1)
    await server.send(b"two")
    await server.send_eof()

    with pytest.raises(WouldBlock):
        client.receive_nowait()
    assert not client.peer_closed()
    assert (await client.receive(), anyio.current_time() - began) == (b"one", 3)
    assert (await client.receive(), anyio.current_time() - began) == (b"two", 4)
    with pytest.raises(EndOfStream):
        await client.receive()
    assert anyio.current_time() - began == 4


async def test_a_receiver_that_waits_already_hears_of_delayed_bytes() -> None:
    server, client = memory_stream_pair(to_client=Faults(delay=3))
    async with anyio.create_task_group() as group:

        async def receive() -> None:
            assert await client.receive() == b"late"
            assert anyio.current_time() - began == 3

        began = anyio.current_time()
        group.start_soon(receive)
        await anyio.wait_all_tasks_blocked()
        await server.send(b"late")


async def test_bytes_on_the_way_count_for_the_capacity() -> None:
    server, client = memory_stream_pair(4, to_client=Faults(delay=3))

    assert not server.send_nowait(b"abcdef")
    began = anyio.current_time()
    async with anyio.create_task_group() as group:

        async def receive() -> None:
            assert await client.receive() + await client.receive() == b"abcdef"

        group.start_soon(receive)
        assert await server.flush()
    assert anyio.current_time() - began == 6


async def test_closing_behind_delayed_bytes_loses_none_of_them() -> None:
    server, client = memory_stream_pair(to_client=Faults(delay=3))
    await server.send(b"last words")
    await server.aclose()

    await client.send(b"not known yet")
    assert await client.receive() == b"last words"
    with pytest.raises(EndOfStream):
        await client.receive()
    with pytest.raises(BrokenResourceError):
        await client.send(b"now it is")


@pytest.mark.parametrize("delay", [0, 1])
async def test_a_reset_comes_after_so_many_bytes_for_both_ends(delay: float) -> None:
    server, client = memory_stream_pair(to_server=Faults(reset_after=4, delay=delay))
    began = anyio.current_time()
    await client.send(b"abcdef")

    assert await server.receive() == b"abcd"
    with pytest.raises(BrokenResourceError) as raised:
        await server.receive()
    assert isinstance(raised.value.__cause__, ConnectionResetError)
    with pytest.raises(BrokenResourceError):
        await client.receive()
    assert anyio.current_time() - began == delay


async def test_a_reset_reaches_the_sender_by_the_other_direction() -> None:
    server, client = memory_stream_pair(to_server=Faults(reset_after=4, delay=1), to_client=Faults(delay=2))
    began = anyio.current_time()
    await client.send(b"abcdef")

    assert await server.receive() == b"abcd"
    with pytest.raises(BrokenResourceError):
        await server.receive()
    assert anyio.current_time() - began == 1
    with pytest.raises(BrokenResourceError):
        await client.receive()
    assert anyio.current_time() - began == 3


@pytest.mark.parametrize("delay", [0, 1])
async def test_an_end_comes_after_so_many_bytes_and_the_other_direction_goes_on(delay: float) -> None:
    server, client = memory_stream_pair(to_server=Faults(end_after=4, delay=delay))
    await client.send(b"abc")
    await client.send(b"def")
    await client.send(b"lost")

    assert await server.receive() == b"abcd"
    with pytest.raises(EndOfStream):
        await server.receive()
    await server.send(b"still")
    assert await client.receive() == b"still"


async def test_what_is_lost_behind_an_end_keeps_no_sender_waiting_however_much_it_is() -> None:
    server, client = memory_stream_pair(100, to_server=Faults(end_after=1))
    with anyio.fail_after(1):
        await client.send(b"x" * 1000)
        await client.send(b"x" * 1000)
    assert await server.receive() == b"x"


async def test_faults_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="piece"):
        Faults(piece=0)
    with pytest.raises(ValueError, match="only one"):
        Faults(end_after=1, reset_after=1)


async def test_a_server_reads_a_request_however_it_is_split_and_late() -> None:
    async with serving(echo) as served:
        client = served.connect(to_server=Faults(piece=1, delay=0.5), to_client=Faults(piece=1, delay=0.5))
        began = anyio.current_time()
        await client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello")
        assert (await client.response("POST")).body == b"hello"
        assert anyio.current_time() - began == 1


@pytest.mark.parametrize("cut", range(60))
async def test_a_request_that_is_cut_off_anywhere_ends_its_connection_and_nothing_else(cut: int) -> None:
    request = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\nhello"  # never complete
    async with serving(echo) as served:
        for faults in (Faults(reset_after=cut), Faults(end_after=cut)):
            client = served.connect(to_server=faults)
            await client.send(request)
            try:
                await client.read_all()
            except BrokenResourceError:
                pass
        assert (await served.connect().get("/")).status == 200


@pytest.mark.parametrize("way", ["aclose", "abort"])
async def test_who_has_closed_hears_nothing_of_what_is_sent_before_the_other_end_knows(way: str) -> None:
    server, client = memory_stream_pair(to_server=Faults(delay=3))
    if way == "abort":
        client.abort()
    else:
        await client.aclose()
    await server.send(b"late")

    with pytest.raises(ClosedResourceError):
        await client.receive()
    with pytest.raises(ClosedResourceError):
        client.receive_nowait()
