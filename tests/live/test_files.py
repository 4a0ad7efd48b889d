"""Files as people serve them: Starlette's FileResponse and StaticFiles, which send paths where the server offers that.

No `from __future__ import annotations` here: FastAPI evaluates the annotations of the routes below.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse
from starlette.middleware.base import RequestResponseEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from tests.live.conftest import LiveServers
from tests.live.servers import ThreadServer

pytestmark = pytest.mark.live

Clients = Callable[[ThreadServer], httpx.Client]

CONTENT = bytes(range(251)) * 40_000  # about 10 MB: more than any kernel keeps


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "large.bin").write_bytes(CONTENT)
    (tmp_path / "small.txt").write_text("small")
    return tmp_path


def application(folder: Path, sent: list[str]) -> Any:
    """Files from a route and from a folder; `sent` notes the messages that Starlette chose."""
    made = FastAPI()

    @made.get("/route")
    async def route() -> FileResponse:
        return FileResponse(folder / "large.bin")

    @made.get("/relative")
    async def relative() -> FileResponse:
        return FileResponse("large.bin")

    made.mount("/", StaticFiles(directory=folder))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def noting(message: Message) -> None:
            sent.append(message["type"])
            await send(message)

        await made(scope, receive, noting if scope["type"] == "http" else send)

    return app


@pytest.mark.parametrize("sendfile", [True, False])
def test_files_of_starlette_are_sent_by_their_paths_where_that_is_offered(
    live_server: LiveServers, http: Clients, folder: Path, monkeypatch: pytest.MonkeyPatch, sendfile: bool
) -> None:
    monkeypatch.chdir(folder)
    sent: list[str] = []
    client = http(live_server(application(folder, sent), sendfile=sendfile))
    for target in ("/route", "/relative", "/large.bin"):
        answer = client.get(target)
        assert (answer.headers["content-length"], len(answer.content)) == (str(len(CONTENT)), len(CONTENT))
        assert hashlib.sha256(answer.content).digest() == hashlib.sha256(CONTENT).digest()
    assert client.get("/small.txt").text == "small"
    assert sent.count("http.response.pathsend") == (4 if sendfile else 0)
    assert client.get("/large.bin", headers={"range": "bytes=5-9"}).content == CONTENT[5:10]
    assert client.head("/large.bin").headers["content-length"] == str(len(CONTENT))
    assert client.get("/missing").status_code == 404


def test_a_client_that_leaves_in_the_middle_costs_nobody_else(
    live_server: LiveServers, http: Clients, folder: Path
) -> None:
    server = live_server(application(folder, []), sendfile=True)
    with http(server).stream("GET", "/large.bin") as answer:
        next(answer.iter_raw())
    assert http(server).get("/small.txt").text == "small"


def test_files_pass_starlettes_compression(live_server: LiveServers, http: Clients, folder: Path) -> None:
    app = GZipMiddleware(application(folder, []))
    for sendfile, coding in ((True, None), (False, "gzip")):
        answer = http(live_server(app, sendfile=sendfile)).get("/large.bin")
        assert answer.content == CONTENT
        assert answer.headers.get("content-encoding") == coding


def test_middleware_may_read_the_body_of_a_file(live_server: LiveServers, http: Clients, folder: Path) -> None:
    made = FastAPI()
    made.mount("/", StaticFiles(directory=folder))

    @made.middleware("http")
    async def shout(request: Request, call_next: RequestResponseEndpoint) -> Response:
        answer: Any = await call_next(request)
        return Response(b"".join([part async for part in answer.body_iterator]).upper())

    assert http(live_server(made)).get("/small.txt").text == "SMALL"
