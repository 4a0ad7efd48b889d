"""Answers that come before the end of an upload, to clients that read nothing before they have sent everything."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING

import pytest

from tests.live.applications import report, too_large
from tests.live.servers import PATIENCE
from tests.unit.streams.conftest import CONTEXTS

if TYPE_CHECKING:
    from tests.live.conftest import LiveServers

pytestmark = pytest.mark.live

SIZE = 100_000_000


@pytest.mark.parametrize("by", ["application", "server"])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_a_client_that_sends_100_mb_before_it_reads_gets_to_read_its_413(
    live_server: LiveServers, by: str, secure: bool
) -> None:
    limits = {"limit_request_body": 1000} if by == "server" else {}
    app = report if by == "server" else too_large
    if secure:
        server = live_server(app, ssl_context=CONTEXTS.server, **limits)
        client = http.client.HTTPSConnection("localhost", server.port, timeout=PATIENCE, context=CONTEXTS.client)
    else:
        server = live_server(app, **limits)
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)

    client.request("POST", "/", (bytes(1_000_000) for _ in range(SIZE // 1_000_000)), {"Content-Length": str(SIZE)})
    response = client.getresponse()

    assert (response.status, response.getheader("connection")) == (413, "close")
    response.read()
    client.close()
