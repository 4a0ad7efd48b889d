"""Behind proxies: curl, requests as nginx writes them, haproxy's header, and the links that frameworks make."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute

from tests.live import django_site
from tests.live.applications import report
from tests.live.backends import on_asyncio_only, one_loop_per_library
from tests.live.curl import curl, needs_curl
from tests.live.raw import RawClient
from tests.live.test_tls import CONTEXTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx
    from starlette.requests import Request
    from starlette.websockets import WebSocket

    from tests.live.conftest import LiveServers
    from tests.live.servers import ThreadServer

    Clients = Callable[[ThreadServer], httpx.Client]

pytestmark = pytest.mark.live

REPORT = "tests.live.applications:report"
NGINX = {"X-Forwarded-For": "198.51.100.66, 203.0.113.7", "X-Forwarded-Proto": "https"}
TRAEFIK = {**NGINX, "X-Forwarded-Host": "a.example", "X-Forwarded-Port": "443", "X-Forwarded-Prefix": "/api"}
PROXY_V1 = b"PROXY TCP4 203.0.113.7 198.51.100.1 5678 443\r\n"
EVERYTHING = "for,proto,host,port,prefix"


def told_by_curl(*arguments: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(curl(*arguments)[0])
    return told


# --- over sockets -----------------------------------------------------------------------------


@needs_curl
def test_a_proxy_on_this_machine_is_believed_and_nobody_else(live_server: LiveServers) -> None:
    server = live_server(report)
    field = ("--header", "X-Forwarded-For: 203.0.113.7")
    assert told_by_curl(*field, server.url)["client"] == ["203.0.113.7", 0]
    other = ("--interface", "127.0.0.2")
    assert told_by_curl(*field, *other, server.url)["client"][0] == "127.0.0.2"


@needs_curl
@one_loop_per_library
def test_the_peers_of_a_unix_socket_are_believed_if_it_is_named(live_server: LiveServers, tmp_path: Path) -> None:
    for setting, client in (("unix", ["203.0.113.7", 0]), ("127.0.0.1", None)):
        path = str(tmp_path / f"{setting}.sock")
        live_server(REPORT, uds=path, forwarded_allow_ips=setting)
        told = told_by_curl("--unix-socket", path, "--header", "X-Forwarded-For: 203.0.113.7", "http://app/")
        assert told["client"] == client


@needs_curl
@one_loop_per_library
def test_the_environment_names_the_trusted_proxies(live_server: LiveServers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "127.0.0.2/32")
    server = live_server(REPORT)
    field = ("--header", "X-Forwarded-For: 203.0.113.7")
    assert told_by_curl(*field, server.url)["client"][0] == "127.0.0.1"
    assert told_by_curl(*field, "--interface", "127.0.0.2", server.url)["client"] == ["203.0.113.7", 0]


def test_requests_as_nginx_writes_them(live_server: LiveServers) -> None:
    server = live_server(report)
    for version, connection in (("1.0", "close"), ("1.1", "")):
        with RawClient(server.port) as client:
            client.send(
                f"GET /a HTTP/{version}\r\nX-Forwarded-For: 198.51.100.66, 203.0.113.7\r\nX-Real-IP: 203.0.113.7\r\n"
                f"X-Forwarded-Proto: https\r\nHost: a.example\r\nConnection: {connection}\r\n"
                "User-Agent: curl/8\r\nX_Forwarded_For: 6.6.6.6\r\n\r\n".encode()
            )
            told = json.loads(client.answer().body)
        assert told["client"] == ["203.0.113.7", 0]
        assert "6.6.6.6" not in str(told)


@needs_curl
def test_haproxys_header_as_curl_writes_it(live_server: LiveServers) -> None:
    server = live_server(report, proxy_protocol=True)
    told = told_by_curl("--haproxy-protocol", server.url)
    assert told["client"][0] == "127.0.0.1"
    with RawClient(server.port) as client:
        client.send(PROXY_V1)
        assert json.loads(client.get().body)["client"] == ["203.0.113.7", 5678]
        assert json.loads(client.get().body)["client"] == ["203.0.113.7", 5678]
    with RawClient(server.port) as client, pytest.raises(ConnectionResetError):
        client.get()


def test_haproxys_header_before_tls(live_server: LiveServers) -> None:
    server = live_server(report, proxy_protocol=True, ssl_context=CONTEXTS.server)
    with RawClient(server.port) as client:
        client.send(PROXY_V1)
        client.socket = CONTEXTS.client.wrap_socket(client.socket, server_hostname="localhost")
        assert json.loads(client.get().body)["client"] == ["203.0.113.7", 5678]


@one_loop_per_library
def test_a_process_reads_haproxys_header(live_server: LiveServers) -> None:
    server = live_server(REPORT, proxy_protocol=True)
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(PROXY_V1 + b"GET / HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b'"client": ["203.0.113.7", 5678]' in answer


# --- frameworks -------------------------------------------------------------------------------


async def _links(request: Request) -> JSONResponse:
    url = request.url
    return JSONResponse(
        {
            "item": str(request.url_for("item", number=7)),
            "nested": str(request.url_for("sub:deep:leaf", name="x")),
            "websocket": str(request.url_for("socket")),
            "url": str(url),
            "base": str(request.base_url),
            "client": request.client.host if request.client else None,
        }
    )


async def _socket(websocket: WebSocket) -> None: ...


def starlette() -> Starlette:
    deep = Mount("/deep", name="deep", routes=[Route("/leaf/{name}", _links, name="leaf")])
    return Starlette(
        routes=[
            Route("/items/{number:int}", _links, name="item"),
            WebSocketRoute("/ws", _socket, name="socket"),
            Mount("/sub", name="sub", routes=[deep]),
        ]
    )


@pytest.mark.parametrize("target", ["/items/7", "/sub/deep/leaf/x"])
@pytest.mark.parametrize("stripped", [True, False])
@pytest.mark.parametrize(
    ("settings", "fields"),
    [
        ({"root_path": "/api"}, {**NGINX, "Host": "a.example"}),
        ({"forwarded_fields": EVERYTHING}, TRAEFIK),
        (
            {"forwarded_fields": "forwarded", "root_path": "/api"},
            {"Forwarded": "for=203.0.113.7;proto=https;host=a.example"},
        ),
    ],
    ids=["root path", "X-Forwarded", "Forwarded"],
)
def test_starlettes_links_lead_back_through_the_proxy(
    live_server: LiveServers, http: Clients, settings: Any, fields: Any, stripped: bool, target: str
) -> None:
    client = http(live_server(starlette(), root_path_kept=not stripped, **settings))
    told = client.get(target if stripped else f"/api{target}", headers=fields).json()
    assert told == {
        "item": "https://a.example/api/items/7",
        "nested": "https://a.example/api/sub/deep/leaf/x",
        "websocket": "wss://a.example/api/ws",
        "url": f"https://a.example/api{target}",
        "base": told["base"],
        "client": "203.0.113.7",
    }
    assert told["base"].startswith("https://a.example/api/")


@on_asyncio_only
@pytest.mark.parametrize("stripped", [True, False])
@pytest.mark.parametrize(
    ("settings", "fields"),
    [({"root_path": "/api"}, {**NGINX, "Host": "a.example"}), ({"forwarded_fields": EVERYTHING}, TRAEFIK)],
    ids=["root path", "X-Forwarded"],
)
def test_djangos_links_lead_back_through_the_proxy(
    live_server: LiveServers, http: Clients, settings: Any, fields: Any, stripped: bool
) -> None:
    client = http(live_server(django_site.application, root_path_kept=not stripped, **settings))
    assert client.get("/link" if stripped else "/api/link", headers=fields).json() == {
        "link": "https://a.example/api/greet/you",
        "client": "203.0.113.7",
        "path": "/api/link",
    }
