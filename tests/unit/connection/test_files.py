"""Files as response bodies: `http.response.pathsend` and `http.response.zerocopysend`."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING, Any

import anyio
import pytest

from asgiserve.errors import LocalProtocolError
from tests.unit.connection.applications import body, get, reply, serving_http, start

if TYPE_CHECKING:
    from pathlib import Path

    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

SMALL = b"small file"
LARGE = bytes(range(251)) * 4000  # about 1 MB
SIZES = pytest.mark.parametrize("content", [b"", SMALL, LARGE], ids=["empty", "small", "large"])


@pytest.fixture
def file(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "file"
    path.write_bytes(content)
    return path


async def send_path(send: Send, path: Path | str) -> None:
    await send({"type": "http.response.pathsend", "path": str(path)})


async def send_open(send: Send, file: IO[bytes], **options: Any) -> None:
    await send({"type": "http.response.zerocopysend", "file": file, **options})


@SIZES
@pytest.mark.parametrize("known", [True, False], ids=["with length", "chunked"])
async def test_a_path_is_the_whole_body(file: Path, content: bytes, known: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=len(content) if known else None)
        await send_path(send, file)
        await body(send, b"ignored")

    async with serving_http(app) as served:
        client = served.connect()
        for _ in range(2):
            response = await client.get()
            assert response.body == content
            assert ("content-length" in response.headers) == known


@pytest.mark.parametrize("content", [SMALL])
async def test_a_small_file_is_one_write_with_its_head(file: Path) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=len(SMALL))
        await send_path(send, file)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        assert (await client.read()).endswith(b"\r\n\r\n" + SMALL)


@SIZES
async def test_head_is_answered_without_the_file(file: Path, content: bytes) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=len(content))
        await send_path(send, file)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
        response = await client.response("HEAD")
        assert (response.headers["content-length"], response.body) == (str(len(content)), b"")
        assert (await client.get()).body == content


@SIZES
async def test_http_10_gets_the_file_until_the_end_of_the_connection(file: Path, content: bytes) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await send_path(send, file)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await client.read_all()).partition(b"\r\n\r\n")[2] == content


@pytest.mark.parametrize("content", [LARGE])
async def test_parts_of_an_open_file_follow_each_other_and_other_bytes(file: Path) -> None:
    positions: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        with file.open("rb", buffering=0) as opened:
            await body(send, b"before", more=True)
            await send_open(send, opened, offset=10, count=5, more_body=True)
            positions.append(opened.tell())
            await send_open(send, opened, count=100_000, more_body=True)
            positions.append(opened.tell())
            await send_open(send, opened, more_body=True)
            positions.append(opened.tell())
            await send_open(send, opened, more_body=True)  # nothing is left
            await body(send, b"behind")

    async with serving_http(app) as served:
        response = await served.connect().get()
    assert response.body == b"before" + LARGE[10:15] + LARGE + b"behind"
    assert positions == [0, 100_000, len(LARGE)]


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
async def test_a_file_ends_the_response_behind_which_trailers_follow(file: Path, content: bytes) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "trailers": True})
        await send_path(send, file)
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]})

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get("/", "TE: trailers"))
        response = await client.response()
    assert (response.body, response.trailers) == (content, [(b"x-sum", b"1")])


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
async def test_a_relative_path_is_one_from_the_current_directory(
    file: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Starlette's FileResponse gives it on."""
    monkeypatch.chdir(file.parent)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=len(content))
        await send({"type": "http.response.pathsend", "path": file.name})

    async with serving_http(app) as served:
        assert (await served.connect().get()).body == content


@pytest.mark.parametrize("content", [LARGE])
@pytest.mark.parametrize(
    ("name", "error"), [("missing", FileNotFoundError), ("null\0byte", ValueError), ("half \ud800", ValueError)]
)
async def test_a_missing_file_is_the_applications_to_answer(file: Path, name: str, error: type[Exception]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=4)
        try:
            await send_path(send, file.with_name(name))
        except error:
            await body(send, b"none")

    async with serving_http(app) as served:
        assert (await served.connect().get()).body == b"none"


@pytest.mark.parametrize("what", ["missing", ".", "pipe"])
async def test_what_is_no_file_and_is_not_caught_is_a_500(
    tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(tmp_path / "pipe")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/good":
            await reply(send, b"good")
            return
        await start(send, length=4)
        await send_path(send, tmp_path / what)

    async with serving_http(app) as served:
        assert (await served.connect().get()).status == 500
        assert (await served.connect().get("/good")).body == b"good"
    assert ("No such file" if what == "missing" else "not a regular file") in caplog.text


@pytest.mark.parametrize(("number", "why"), [(2**30, "Bad file descriptor"), (2**40, "OverflowError")])
async def test_a_number_that_is_no_open_file_is_a_500(number: int, why: str, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/good":
            await reply(send, b"good")
            return
        await start(send, length=4)
        await send({"type": "http.response.zerocopysend", "file": number})

    async with serving_http(app) as served:
        assert (await served.connect().get()).status == 500
        assert (await served.connect().get("/good")).body == b"good"
    assert why in caplog.text


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("off_by", [-1, 1])
async def test_a_file_that_does_not_fit_its_length_is_a_500(file: Path, content: bytes, off_by: int) -> None:
    errors: list[Exception] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=len(content) + off_by)
        try:
            await send_path(send, file)
        except LocalProtocolError as error:
            errors.append(error)
            raise

    async with serving_http(app) as served:
        assert (await served.connect().get()).status == 500
    assert "than its Content-Length" in str(errors[0])


@pytest.mark.parametrize("content", [LARGE])
async def test_a_file_that_becomes_shorter_cuts_the_connection(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=len(LARGE))
        await send_path(send, file)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        await client.read()
        os.truncate(file, 0)
        with pytest.raises(anyio.BrokenResourceError):
            await client.read_all()
    assert "the file has become shorter" in caplog.text


@pytest.mark.parametrize("content", [LARGE])
async def test_a_client_that_leaves_ends_the_file_quietly(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    returned = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=len(LARGE))
        await send_path(send, file)
        returned.set()

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get())
        await client.read()
        client.stream.abort()
        await returned.wait()
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("content", [LARGE])
async def test_a_client_that_reads_nothing_is_given_up_after_the_write_timeout(file: Path) -> None:
    took: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        began = anyio.current_time()
        await start(send, length=len(LARGE))
        await send_path(send, file)
        took.append(anyio.current_time() - began)

    async with serving_http(app, timeout_write=7) as served:
        client = served.connect()
        await client.send(get())
        await anyio.sleep(60)
    assert took == [pytest.approx(7, abs=0.5)]


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
async def test_the_access_line_counts_the_files_bytes(
    file: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=len(content))
        await send_path(send, file)

    with caplog.at_level("INFO", "asgiserve.access"):
        async with serving_http(app, access_log=True, access_log_format="{bytes}") as served:
            await served.connect().get()
    lines = [record.getMessage() for record in caplog.records if record.name == "asgiserve.access"]
    assert lines == [str(len(content))]
