"""How many bytes an access line says: those of the response's body that went out, and nothing else."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.unit.connection.applications import access_lines, body, errors_in, get, reply, serving_http, start

if TYPE_CHECKING:
    from pathlib import Path

    from asgiserve.types import ASGIApplication, Receive, Scope, Send

pytestmark = pytest.mark.anyio

PIECE = 100_000


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, int, int]]:
    """Method, status and bytes of each line."""
    return [(line[1], line[4], line[5]) for line in access_lines(caplog)]


async def counted(scope: Scope, receive: Receive, send: Send) -> None:
    await reply(send, b"twelve bytes")


async def streamed(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send)
    await body(send, b"twelve ", more=True)
    await body(send, b"bytes")


async def unsent(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send, status=304)
    await body(send, b"twelve bytes")


@pytest.mark.parametrize("app", [counted, streamed])
async def test_framing_and_heads_are_not_counted(app: ASGIApplication, caplog: pytest.LogCaptureFixture) -> None:
    async with serving_http(app) as served:
        await served.connect().get()
    assert told(caplog) == [("GET", 200, 12)]


@pytest.mark.parametrize("app", [counted, streamed])
async def test_the_line_of_a_head_request_says_0_bytes(app: ASGIApplication, caplog: pytest.LogCaptureFixture) -> None:
    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get().replace(b"GET", b"HEAD"))
        assert (await client.response("HEAD")).status == 200
    assert told(caplog) == [("HEAD", 200, 0)]


async def test_a_client_that_leaves_behind_the_head_that_it_has_asked_for_has_not_left_early(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        while (await receive())["type"] != "http.disconnect":
            pass

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get().replace(b"GET", b"HEAD"))
        assert (await client.response("HEAD")).status == 200
        await client.stream.aclose()
        await anyio.sleep(1)
    assert told(caplog) == [("HEAD", 200, 0)]


async def test_the_line_of_a_status_without_body_says_0_bytes(caplog: pytest.LogCaptureFixture) -> None:
    async with serving_http(unsent) as served:
        assert (await served.connect().get()).body == b""
    assert told(caplog) == [("GET", 304, 0)]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_body_of_an_answer_in_the_applications_place_counts(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get().replace(b"GET", method.encode()))
        answer = await client.response(method)
    assert told(caplog) == [(method, 500, len(answer.body))]
    assert bool(answer.body) == (method == "GET")


async def test_an_answer_that_found_nobody_counts_0_bytes(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(2)
        raise RuntimeError

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        await anyio.sleep(1)
        client.stream.abort()
        await anyio.sleep(2)
    assert told(caplog) == [("GET", 500, 0)]


# --- peers that leave in the middle -----------------------------------------------------------


async def test_the_line_of_a_lost_peer_counts_what_was_written_before(caplog: pytest.LogCaptureFixture) -> None:
    goes_on = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for _ in range(3):
            await body(send, bytes(1000), more=True)
        await goes_on.wait()
        for _ in range(3):
            await body(send, bytes(1000), more=True)
        await body(send)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        await anyio.sleep(1)
        client.stream.abort()
        goes_on.set()
        await anyio.sleep(1)
    assert told(caplog) == [("GET", 499, 3000)]


async def test_a_message_of_which_the_peer_took_only_a_part_is_not_counted(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for _ in range(5):
            await body(send, bytes(PIECE), more=True)
        await body(send)

    async with serving_http(app) as served:
        client = served.connect(capacity=PIECE // 2)
        await client.send(get())
        data = b""
        while len(data) < PIECE * 2.2:
            data += await client.read()
        client.stream.abort()
        await anyio.sleep(1)
    ((method, status, size),) = told(caplog)
    assert (method, status) == ("GET", 499)
    assert size == PIECE * 2
    assert size <= len(data)


async def test_a_peer_that_was_lost_before_its_response_got_0_bytes(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(2)
        await counted(scope, receive, send)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        await anyio.sleep(1)
        client.stream.abort()
        await anyio.sleep(2)
    assert told(caplog) == [("GET", 499, 0)]


async def test_what_was_written_of_a_file_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(10 * PIECE))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=10 * PIECE)
        await send({"type": "http.response.pathsend", "path": str(file)})

    async with serving_http(app) as served:
        client = served.connect(capacity=PIECE // 10)
        await client.send(get())
        data = b""
        while len(data) < PIECE * 5:
            data += await client.read()
        client.stream.abort()
        await anyio.sleep(1)
    ((method, status, size),) = told(caplog)
    assert (method, status) == ("GET", 499)
    assert PIECE * 4 < size <= len(data)


@pytest.mark.parametrize("fails", [True, False])
async def test_a_peer_that_is_found_lost_by_responses_that_were_kept_has_left(
    fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/last":
            await anyio.sleep(1)  # what is kept leaves, and finds nobody
            if fails:
                raise ValueError("mine")
            return
        if scope["path"] == "/kept":
            client.stream.abort()
        await counted(scope, receive, send)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get("/first") + get("/kept") + get("/last"))
        await anyio.sleep(2)
    assert told(caplog)[-1] == ("GET", 499, 0)
    assert len(errors_in(caplog)) == fails


async def test_a_write_that_the_application_cancels_and_then_fails_is_told_as_500(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.move_on_after(1):
            await send({"type": "http.response.early_hint", "links": [b"x" * PIECE]})
        raise ValueError("mine")

    async with serving_http(app) as served:
        await served.connect(capacity=1000).send(get())
        await anyio.sleep(2)
    assert told(caplog) == [("GET", 500, 0)]


@pytest.mark.parametrize("then", ["returns", "ends the response", "goes on"])
async def test_a_response_that_the_application_cuts_itself_has_its_own_status(
    then: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It was not its client that has left: 499 would send the operator looking in the wrong place."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await body(send, bytes(1000), more=True)
        with anyio.move_on_after(1):
            await body(send, bytes(10 * PIECE), more=True)
        if then == "goes on":
            await body(send, b"more", more=True)
        if then != "returns":
            await body(send)

    async with serving_http(app) as served:
        client = served.connect(capacity=PIECE)
        await client.send(get())
        await anyio.sleep(2)
        with pytest.raises(anyio.BrokenResourceError):
            await client.read_all()
    assert told(caplog) == [("GET", 200, 1000)]
    assert len(errors_in(caplog)) == (then == "returns")


async def test_so_has_one_that_several_of_its_tasks_cut_together(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        with anyio.move_on_after(1):
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(partial(body, send, bytes(10 * PIECE), more=True))
        await body(send)

    async with serving_http(app) as served:
        await served.connect(capacity=PIECE).send(get())
        await anyio.sleep(2)
    assert told(caplog) == [("GET", 200, 0)]


async def test_a_response_that_is_cut_at_its_timeout_counts_what_was_written(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await body(send, bytes(1000), more=True)
        await anyio.sleep(3600)

    async with serving_http(app, timeout_request=5) as served:
        client = served.connect()
        await client.send(get())
        await anyio.sleep(6)
    assert told(caplog) == [("GET", 504, 1000)]
