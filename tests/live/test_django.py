"""Django's ASGI handler, with plain and with async views. It needs asyncio."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.live import django_site
from tests.live.applications import BLOCK
from tests.live.backends import on_asyncio_only
from tests.live.raw import RawClient, request
from tests.live.servers import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.live.conftest import LiveServers
    from tests.live.servers import ThreadServer

    Clients = Callable[[ThreadServer], httpx.Client]

pytestmark = [pytest.mark.live, on_asyncio_only]


@pytest.fixture
def server(live_server: LiveServers) -> ThreadServer:
    django_site.entered.clear()
    django_site.left.clear()
    return live_server(django_site.application)


def test_get_by_a_plain_view(server: ThreadServer, http: Clients) -> None:
    answer = http(server).get("/greet/J%C3%BCrgen", params={"a": "1"})

    told = answer.json()
    assert (told["name"], told["query"]) == ("Jürgen", {"a": "1"})
    assert told["thread"] != "live server"


def test_post_of_a_form(server: ThreadServer, http: Clients) -> None:
    assert http(server).post("/post", data={"a": "ä"}).json() == {"form": {"a": "ä"}, "method": "POST"}


def test_a_missing_page_is_a_404(server: ThreadServer, http: Clients) -> None:
    assert http(server).get("/missing").status_code == 404


def test_a_streaming_response_arrives_exactly(server: ThreadServer, http: Clients) -> None:
    assert http(server).get("/stream").content == BLOCK * 32


def test_a_body_that_a_view_does_not_read_leaves_the_connection_usable(server: ThreadServer) -> None:
    with RawClient(server.port) as client:
        for _ in range(3):
            client.send(request("/unread", f"Content-Length: {len(BLOCK)}", method="POST") + BLOCK)
            assert client.answer("POST").body == b"not looked at"


@pytest.mark.parametrize("path", ["/wait", "/events"])
@pytest.mark.parametrize("half", [False, True], ids=["gone", "half closed"])
def test_a_client_that_leaves_cancels_the_view(server: ThreadServer, path: str, half: bool) -> None:
    with RawClient(server.port) as client:
        client.send(request(path))
        assert django_site.entered.wait(PATIENCE)
        assert not django_site.left.is_set()
        if half:
            client.socket.shutdown(socket.SHUT_WR)
        else:
            client.socket.close()
        assert django_site.left.wait(PATIENCE)
