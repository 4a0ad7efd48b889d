"""FastAPI and Starlette as people use them: routes, parameters, uploads, errors, mounts, lifespan state.

No `from __future__ import annotations` here: FastAPI evaluates the annotations of the routes below, and their
names are local to the tests.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, File, Request, Response, UploadFile
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint

from tests.live.applications import BLOCK
from tests.live.conftest import LiveServers
from tests.live.servers import ThreadServer

pytestmark = pytest.mark.live

Clients = Callable[[ThreadServer], httpx.Client]


async def stamp(request: Request, call_next: RequestResponseEndpoint) -> Response:
    response = await call_next(request)
    response.headers["x-stamp"] = request.url.path
    return response


@pytest.fixture(params=["plain", "BaseHTTPMiddleware"])
def app(request: pytest.FixtureRequest) -> FastAPI:
    """An application with nothing around it, and one with Starlette's middleware for functions."""
    made = FastAPI()
    if request.param != "plain":
        made.add_middleware(BaseHTTPMiddleware, dispatch=stamp)
    return made


class Item(BaseModel):
    name: str
    price: float


def test_json_with_path_and_query_parameters(live_server: LiveServers, http: Clients, app: FastAPI) -> None:
    @app.put("/items/{number}")
    async def put(number: int, item: Item, tag: str = "none") -> dict[str, Any]:
        return {"number": number, "tag": tag, "item": item}

    client = http(live_server(app))
    answer = client.put("/items/7", params={"tag": "grün"}, json={"name": "Öl", "price": 1.5})

    assert answer.json() == {"number": 7, "tag": "grün", "item": {"name": "Öl", "price": 1.5}}
    assert client.put("/items/seven", json={"name": "", "price": 1}).status_code == 422
    assert client.put("/items/7", content=b"{").status_code == 422
    assert client.get("/missing").status_code == 404
    assert client.get("/items/7").status_code == 405


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_streaming_response_arrives_exactly(live_server: LiveServers, http: Clients, app: FastAPI, kind: str) -> None:
    async def produce() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield BLOCK

    def produce_in_threads() -> Iterator[bytes]:
        yield from [BLOCK] * 64

    @app.get("/")
    async def stream() -> StreamingResponse:
        return StreamingResponse(produce() if kind == "async" else produce_in_threads())

    assert http(live_server(app)).get("/").content == BLOCK * 64


def test_an_uploaded_file_arrives_exactly(live_server: LiveServers, http: Clients, app: FastAPI) -> None:
    @app.post("/")
    async def upload(file: Annotated[UploadFile, File()]) -> dict[str, Any]:
        content = await file.read()
        return {"name": file.filename, "size": len(content), "hash": hashlib.sha256(content).hexdigest()}

    told = http(live_server(app)).post("/", files={"file": ("blocks.bin", BLOCK * 32)}).json()

    assert told == {
        "name": "blocks.bin",
        "size": len(BLOCK) * 32,
        "hash": hashlib.sha256(BLOCK * 32).hexdigest(),
    }


def test_a_handled_exception_is_a_response(live_server: LiveServers, http: Clients, app: FastAPI) -> None:
    @app.exception_handler(LookupError)
    async def teapot(request: Request, error: LookupError) -> JSONResponse:
        return JSONResponse({"missing": str(error)}, status_code=418)

    @app.get("/")
    async def fail() -> None:
        raise LookupError("cup")

    answer = http(live_server(app)).get("/")

    assert (answer.status_code, answer.json()) == (418, {"missing": "cup"})


def test_an_unhandled_exception_is_a_500_and_the_connection_lives(
    live_server: LiveServers, http: Clients, app: FastAPI
) -> None:
    @app.get("/bad")
    async def bad() -> None:
        raise ValueError("no such luck")

    @app.get("/port")
    async def port(request: Request) -> int:
        assert request.client
        return request.client.port

    server = live_server(app)
    client = http(server)
    before = client.get("/port").json()
    answer = client.get("/bad")

    assert answer.status_code == 500
    assert client.get("/port").json() == before
    (error,) = server.take_errors()
    assert "(GET /bad)" in error.splitlines()[0]
    assert error.endswith("ValueError: no such luck")


def test_what_lifespan_yields_is_the_state_of_each_request(live_server: LiveServers, http: Clients) -> None:
    ended = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        yield {"shared": [], "own": 0}
        ended.append(True)

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def count(request: Request) -> list[int]:
        request.state.shared.append(1)
        request.state.own += 1
        return [len(request.state.shared), request.state.own]

    server = live_server(app)
    client = http(server)

    assert client.get("/").json() == [1, 1]
    assert client.get("/").json() == [2, 1]
    client.close()
    server.finish()
    assert ended == [True]


@pytest.mark.parametrize(("target", "kept"), [("/items/3", False), ("/proxy/items/3", True)])
def test_a_mounted_application_makes_urls_below_the_root_path(
    live_server: LiveServers, http: Clients, target: str, kept: bool
) -> None:
    """A proxy that strips its prefix and one that does not lead to the same route and the same link."""
    app, mounted = FastAPI(), FastAPI()
    app.mount("/items", mounted)

    @mounted.get("/{number}", name="item")
    async def item(number: int, request: Request) -> str:
        return str(request.url_for("item", number=number + 1))

    server = live_server(app, root_path="/proxy", root_path_kept=kept)

    assert http(server).get(target).json() == f"{server.url}/proxy/items/4"
