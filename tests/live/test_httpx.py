"""httpx against the server: a pool of connections, streams in both directions, requests at the same time."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.live.applications import BLOCK, blocks, report, respond, too_large

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

    from asgiserve.types import Receive, Scope, Send
    from tests.live.conftest import LiveServers
    from tests.live.servers import ThreadServer

    Clients = Callable[[ThreadServer], httpx.Client]

pytestmark = pytest.mark.live

AT_ONCE = 32


def ten_mebibytes() -> Iterator[bytes]:
    for _ in range(160):
        yield BLOCK


def sha256(parts: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def test_a_pool_keeps_one_connection_for_requests_in_a_row(live_server: LiveServers, http: Clients) -> None:
    client = http(live_server(report))

    ports = {client.post("/", content=b"x" * n).json()["client"][1] for n in range(20)}

    assert len(ports) == 1


def test_a_streamed_upload_arrives_exactly(live_server: LiveServers, http: Clients) -> None:
    told = http(live_server(report)).put("/", content=ten_mebibytes()).json()

    assert told["headers"]["transfer-encoding"] == "chunked"
    assert told["size"] == 10 * 1024 * 1024
    assert told["sha256"] == sha256(ten_mebibytes())


@pytest.mark.parametrize(("path", "framing"), [("/", "transfer-encoding"), ("/whole", "content-length")])
def test_a_download_arrives_exactly(live_server: LiveServers, http: Clients, path: str, framing: str) -> None:
    with http(live_server(blocks)).stream("GET", path) as response:
        assert framing in response.headers
        assert sha256(response.iter_raw()) == sha256(ten_mebibytes())


def test_a_refusal_reaches_a_client_that_sends_all_before_it_reads(live_server: LiveServers, http: Clients) -> None:
    client = http(live_server(too_large))

    assert client.post("/", content=(BLOCK for _ in range(1600))).status_code == 413
    assert client.get("/").status_code == 413


def test_requests_of_many_connections_run_at_the_same_time(live_server: LiveServers, http: Clients) -> None:
    """The application answers none of them before all have come."""
    all_here = anyio.Event()
    here = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal here
        if scope["type"] != "http":
            raise NotImplementedError
        here += 1
        if here == AT_ONCE:
            all_here.set()
        await all_here.wait()
        await respond(send, 200, scope["path"].encode())

    client = http(live_server(app))
    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = list(threads.map(lambda n: client.get(f"/{n}").text, range(AT_ONCE)))

    assert answers == [f"/{n}" for n in range(AT_ONCE)]
