"""What stops the event loop of the command line: SystemExit or KeyboardInterrupt in a task that the application made.

On asyncio that is so, whatever a server does; what it still can do is in `tests/unit/server/test_loop_end.py`, and here
for the whole process. On trio it is an error of the request like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.live.backends import on_asyncio_only
from tests.live.leak_site import EXIT_CODE
from tests.live.leaks import SITE
from tests.live.raw import RawClient, request

if TYPE_CHECKING:
    from tests.live.conftest import LiveServers

pytestmark = pytest.mark.live


@on_asyncio_only
@pytest.mark.parametrize(
    ("target", "name", "code"),
    [("/exit-in-a-task", "SystemExit", EXIT_CODE), ("/interrupt-in-a-task", "KeyboardInterrupt", 130)],
)
def test_what_stops_the_loop_is_logged_and_the_lifespan_shuts_down(
    live_server: LiveServers, target: str, name: str, code: int
) -> None:
    server = live_server(SITE)
    server.expected_code = code
    server.expect_traceback()

    with RawClient(server.port) as waiting, RawClient(server.port) as client:
        waiting.get("/")
        waiting.send(request("/wait"))
        client.send(request(target))
        server.wait_exit()
    said = server.stderr.text
    assert f"{name} came out of a task of the event loop, which stops it." in said
    assert said.count("lifespan: stopped\n") == 1
    assert "ASGI application (GET /wait)" not in said


@pytest.mark.parametrize("anyio_backend", [pytest.param(("trio", {}), id="trio")])
@pytest.mark.parametrize("target", ["/exit-in-a-task", "/interrupt-in-a-task"])
def test_on_trio_it_is_a_500_and_the_next_request_is_answered(live_server: LiveServers, target: str) -> None:
    server = live_server(SITE)
    server.expect_traceback()

    with RawClient(server.port) as client:
        assert client.get(target).status == 500
    with RawClient(server.port) as client:
        assert client.get("/").body == b"hello"
