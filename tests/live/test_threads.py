"""Handlers that are plain functions: they run in threads, call back into the event loop, and use ContextVars.

No `from __future__ import annotations` here: FastAPI evaluates the annotations of the routes below.
"""

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Annotated, Any

import anyio
import anyio.from_thread
import anyio.to_thread
import httpx
import pytest
from fastapi import Depends, FastAPI

from tests.live.conftest import LiveServers
from tests.live.raw import RawClient
from tests.live.servers import ThreadServer

pytestmark = pytest.mark.live

Clients = Callable[[ThreadServer], httpx.Client]

from_lifespan: ContextVar[str] = ContextVar("from_lifespan", default="unset")
from_request: ContextVar[str] = ContextVar("from_request", default="unset")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    from_lifespan.set("lifespan")
    yield


def seen() -> list[str]:
    return [from_lifespan.get(), from_request.get()]


async def seen_async() -> list[str]:
    await anyio.lowlevel.checkpoint()
    return seen()


@pytest.fixture
def app() -> FastAPI:
    made = FastAPI(lifespan=lifespan)

    @made.get("/seen")
    async def what_is_seen() -> list[str]:
        return seen()

    return made


def test_a_handler_in_a_thread_sees_lifespan_and_its_dependencies(
    live_server: LiveServers, http: Clients, app: FastAPI
) -> None:
    async def user() -> None:
        from_request.set("dependency")

    @app.get("/", dependencies=[Depends(user)])
    def handler() -> list[Any]:
        return [seen(), threading.current_thread().name]

    values, thread = http(live_server(app)).get("/").json()

    assert values == ["lifespan", "dependency"]
    assert thread != "live server"


def test_calls_back_from_a_thread_run_in_the_context_of_the_thread(
    live_server: LiveServers, http: Clients, app: FastAPI
) -> None:
    @app.get("/")
    def handler() -> dict[str, Any]:
        from_request.set("thread")
        return {
            "run_sync": anyio.from_thread.run_sync(seen),
            "run": anyio.from_thread.run(seen_async),
            "after": seen(),
        }

    answer = http(live_server(app)).get("/").json()

    assert answer == {name: ["lifespan", "thread"] for name in ("run_sync", "run", "after")}


def test_what_a_call_back_sets_does_not_leak_into_the_request(
    live_server: LiveServers, http: Clients, app: FastAPI
) -> None:
    """The handler awaits the thread that calls back: its own steps stay in its own context."""

    async def set_in_loop() -> list[str]:
        from_request.set("call back")
        await anyio.lowlevel.checkpoint()
        return seen()

    def in_thread() -> list[str]:
        inside = anyio.from_thread.run(set_in_loop)
        anyio.from_thread.run_sync(from_request.set, "sync call back")
        return inside

    @app.get("/")
    async def handler() -> list[list[str]]:
        from_request.set("handler")
        in_call_back = await anyio.to_thread.run_sync(in_thread)
        await anyio.lowlevel.checkpoint()
        return [in_call_back, seen()]

    assert http(live_server(app)).get("/").json() == [["lifespan", "call back"], ["lifespan", "handler"]]


def test_threads_that_call_back_at_once_keep_their_contexts(
    live_server: LiveServers, http: Clients, app: FastAPI
) -> None:
    def in_thread(name: str) -> list[str]:
        from_request.set(name)
        anyio.from_thread.run(anyio.lowlevel.checkpoint)
        return [anyio.from_thread.run(seen_async)[1], anyio.from_thread.run_sync(seen)[1], seen()[1]]

    @app.get("/")
    async def handler() -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}

        async def one(name: str) -> None:
            found[name] = await anyio.to_thread.run_sync(in_thread, name)

        async with anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(one, f"thread {number}")
        return {**found, "handler": seen()}

    answer = http(live_server(app)).get("/").json()

    assert answer.pop("handler") == ["lifespan", "unset"]
    assert answer == {f"thread {n}": [f"thread {n}"] * 3 for n in range(8)}


@pytest.mark.parametrize("kind", ["async", "sync", "dependency"])
def test_what_a_request_sets_is_not_seen_by_the_next_of_its_connection(
    live_server: LiveServers, app: FastAPI, kind: str
) -> None:
    async def dependency() -> None:
        if kind == "dependency":
            from_request.set("leaked")

    @app.get("/async")
    async def in_loop() -> list[str]:
        from_request.set("leaked")
        return seen()

    @app.get("/sync")
    def in_thread() -> list[str]:
        from_request.set("leaked")
        return seen()

    @app.get("/dependency")
    async def with_dependency(_: Annotated[None, Depends(dependency)]) -> list[str]:
        return seen()

    with RawClient(live_server(app).port) as client:
        assert client.get(f"/{kind}").body == b'["lifespan","leaked"]'
        assert client.get("/seen").body == b'["lifespan","unset"]'
