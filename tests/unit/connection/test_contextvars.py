"""Context variables: from the lifespan into each request, and from no request into another."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.support.serving import serving
from tests.unit.connection.applications import get, reply, serving_http

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

var: ContextVar[str] = ContextVar("var", default="nothing")


@pytest.fixture(params=[False, True], ids=["inline", "task per request"])
def settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"task_per_request": request.param}


async def with_lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """Set the variable in the lifespan, and show it, then change it, in each request."""
    if scope["type"] == "lifespan":
        await receive()
        var.set("lifespan")
        await send({"type": "lifespan.startup.complete"})
        var.set("too late")
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    seen = var.get()
    var.set(scope["path"])
    await anyio.sleep(1)
    await reply(send, seen.encode())


async def test_what_lifespan_has_set_is_seen_by_every_request(settings: dict[str, Any]) -> None:
    async with serving(with_lifespan, **settings) as served:
        for client in (served.connect(), served.connect()):
            for _ in range(2):
                assert (await client.get("/request")).body == b"lifespan"


async def test_what_a_request_has_set_is_not_seen_by_a_pipelined_one(settings: dict[str, Any]) -> None:
    async with serving(with_lifespan, **settings) as served:
        client = served.connect()
        await client.send(get("/1") + get("/2") + get("/3"))
        assert [(await client.response()).body for _ in range(3)] == [b"lifespan"] * 3


async def test_without_a_lifespan_requests_see_the_context_of_the_server(settings: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen = var.get()
        var.set("request")
        await reply(send, seen.encode())

    var.set("whoever serves")
    async with serving_http(app, **settings) as served:
        client = served.connect()
        for _ in range(2):
            assert (await client.get()).body == b"whoever serves"
    assert var.get() == "whoever serves"


async def test_what_the_call_itself_sets_is_seen_by_the_coroutine_and_by_no_other(
    settings: dict[str, Any],
) -> None:
    def app(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        before = var.get()
        var.set("call")
        return show(before, send)

    async def show(before: str, send: Send) -> None:
        await reply(send, f"{before} {var.get()}".encode())

    async with serving_http(app, **settings) as served:
        client = served.connect()
        for _ in range(2):
            assert (await client.get()).body == b"nothing call"


async def test_a_lingering_application_keeps_its_context_and_the_next_request_does_not_get_it(
    settings: dict[str, Any],
) -> None:
    late = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        before = var.get()
        var.set(scope["path"])
        await reply(send, before.encode())
        await anyio.sleep(5)
        late.append(var.get())

    async with serving_http(app, **settings) as served:
        client = served.connect()
        for target in ("/1", "/2", "/3"):
            assert (await client.get(target)).body == b"nothing"
        await anyio.sleep(10)
        assert sorted(late) == ["/1", "/2", "/3"]


async def test_children_of_a_request_inherit_its_context() -> None:
    seen = []

    async def child() -> None:
        await anyio.sleep(1)
        seen.append(var.get())

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        var.set(scope["path"])
        async with anyio.create_task_group() as group:
            group.start_soon(child)
        await reply(send)

    async with serving_http(app) as served:
        client = served.connect()
        await client.send(get("/1") + get("/2"))
        for _ in range(2):
            await client.response()
    assert seen == ["/1", "/2"]


async def test_log_records_of_a_request_are_written_in_its_context(caplog: pytest.LogCaptureFixture) -> None:
    """The access line and the error of an application: a logging filter can show the request's own id."""
    caplog.set_level("INFO")
    seen = []

    def note(record: Any) -> bool:
        if record.name.startswith("asgiserve"):
            seen.append((record.name, var.get()))
        return True

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        var.set(scope["path"])
        if scope["path"] == "/fail":
            raise ValueError
        await reply(send)

    caplog.handler.addFilter(note)
    try:
        async with serving_http(app) as served:
            seen.clear()
            await served.connect().get("/fine")
            await served.connect().get("/fail")
            records = list(seen)
    finally:
        caplog.handler.removeFilter(note)
    assert records == [
        ("asgiserve.access", "/fine"),
        ("asgiserve.error", "/fail"),
        ("asgiserve.access", "/fail"),
    ]


async def test_each_request_has_a_copy_of_the_lifespans_state_of_its_own(settings: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            scope["state"].update(shared=[], number=1)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        state = scope["state"]
        state["shared"].append(state["number"])
        state["number"] += 1
        await reply(send, repr(state).encode())

    async with serving(app, **settings) as served:
        client = served.connect()
        await client.get()
        assert (await client.get()).body == b"{'shared': [1, 1], 'number': 2}"
