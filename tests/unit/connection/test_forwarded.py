"""Behind a proxy: whose fields are believed, and what becomes of them in scopes and log lines."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.websocket import serving_websockets
from tests.unit.connection.applications import access_lines, reply, serving_http
from tests.unit.connection.websocket_applications import echo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asgiserve.types import Receive, Scope, Send
    from tests.support.serving import Client

pytestmark = pytest.mark.anyio

EVERYTHING = "for,proto,host,port,prefix"
NGINX = ("X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https")
PEER = ("127.0.0.1", 50000)


class Noting:
    """Answers every request, and keeps its scope."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if scope["type"] == "websocket":
            await echo(scope, receive, send)
        else:
            await reply(send, b"seen")


@asynccontextmanager
async def client_of(app: Noting, settings: dict[str, Any], **addresses: Any) -> AsyncIterator[Client]:
    async with serving_http(app, **settings) as served:
        yield served.connect(**addresses)


async def scope_of(*fields: str, settings: dict[str, Any] | None = None, target: str = "/", **addresses: Any) -> Any:
    """The scope of a request with these fields."""
    app = Noting()
    async with client_of(app, settings or {}, **addresses) as client:
        await client.get(target, "".join(f"{field}\r\n" for field in fields))
    return app.scopes[0]


async def ends_of(*fields: str, **options: Any) -> tuple[Any, str]:
    scope = await scope_of(*fields, **options)
    return scope["client"], scope["scheme"]


# --- whom to believe --------------------------------------------------------------------------


async def test_client_and_scheme_are_the_proxys_word_without_any_setting() -> None:
    assert await ends_of(*NGINX) == (("203.0.113.7", 0), "https")


@pytest.mark.parametrize(
    ("settings", "remote", "believed"),
    [
        ({}, ("127.0.0.1", 1), True),
        ({}, ("::1", 1), True),
        ({}, ("10.0.0.5", 1), False),
        ({}, "", False),
        ({"forwarded_allow_ips": "10.0.0.0/8"}, ("10.0.0.5", 1), True),
        ({"forwarded_allow_ips": "10.0.0.0/8"}, ("127.0.0.1", 1), False),
        ({"forwarded_allow_ips": ["10.0.0.5"]}, ("::ffff:10.0.0.5", 1), True),
        ({"forwarded_allow_ips": "unix"}, "", True),
        ({"forwarded_allow_ips": "unix"}, ("127.0.0.1", 1), False),
        ({"forwarded_allow_ips": "*"}, ("10.0.0.5", 1), True),
        ({"forwarded_allow_ips": "*"}, "", True),
        ({"forwarded_allow_ips": ""}, ("127.0.0.1", 1), False),
        ({"proxy_headers": False}, ("127.0.0.1", 1), False),
    ],
)
async def test_only_trusted_peers_are_believed(settings: dict[str, Any], remote: Any, believed: bool) -> None:
    local = "/run/app.sock" if remote == "" else ("127.0.0.1", 80)
    everything = {"forwarded_fields": EVERYTHING, **settings}
    fields = (*NGINX, "X-Forwarded-Host: a.example", "X-Forwarded-Prefix: /p", "X-Forwarded-Port: 8443")
    scope = await scope_of(*fields, settings=everything, remote_address=remote, local_address=local)
    itself = remote or None
    assert scope["client"] == (("203.0.113.7", 0) if believed else itself)
    assert scope["scheme"] == ("https" if believed else "http")
    assert scope["root_path"] == ("/p" if believed else "")
    assert dict(scope["headers"])[b"host"] == (b"a.example:8443" if believed else b"test")
    assert (scope["server"] == ("a.example", 8443)) is believed


async def test_each_request_of_a_connection_is_read_by_itself() -> None:
    app = Noting()
    async with client_of(app, {}) as client:
        for number in (1, 2):
            await client.get("/", f"X-Forwarded-For: 203.0.113.{number}\r\nX-Forwarded-Proto: https\r\n")
            await client.get("/")
    seen = [(scope["client"], scope["scheme"]) for scope in app.scopes]
    assert seen == [(("203.0.113.1", 0), "https"), (PEER, "http"), (("203.0.113.2", 0), "https"), (PEER, "http")]


async def test_the_fields_stay_in_the_headers() -> None:
    headers = (await scope_of(*NGINX))["headers"]
    assert headers[1:] == [(b"x-forwarded-for", b"203.0.113.7"), (b"x-forwarded-proto", b"https")]


@pytest.mark.parametrize("field", ["X-Forwarded-For: unknown", "X-Forwarded-For: 203.0.113.7, _x", "X-Forwarded-For:"])
async def test_a_client_that_is_not_named_is_the_peer(field: str) -> None:
    assert await ends_of(field) == (PEER, "http")


async def test_the_walk_ends_at_the_first_that_is_not_trusted() -> None:
    settings = {"forwarded_allow_ips": "127.0.0.1,10.0.0.0/8"}
    field = "X-Forwarded-For: 198.51.100.1, 203.0.113.7, 10.0.0.2, 10.0.0.1"
    assert await ends_of(field, settings=settings) == (("203.0.113.7", 0), "http")
    assert await ends_of(field, settings={"forwarded_allow_ips": "*"}) == (("10.0.0.1", 0), "http")


@pytest.mark.parametrize("name", ["X_Forwarded_For", "X-Forwarded_For", "X_Real_IP", "x_forwarded_host"])
async def test_look_alikes_never_reach_the_application(name: str) -> None:
    scope = await scope_of(f"{name}: 203.0.113.7", settings={"forwarded_fields": EVERYTHING})
    assert (scope["client"], scope["headers"]) == (PEER, [(b"host", b"test")])


# --- host, port and prefix --------------------------------------------------------------------


@pytest.mark.parametrize(
    "field",
    ["X-Forwarded-Host: evil.example", "X-Forwarded-Port: 666", "X-Forwarded-Prefix: /evil", "Forwarded: for=::1"],
)
async def test_what_was_not_named_in_the_setting_is_the_clients_word(field: str) -> None:
    scope = await scope_of(field)
    assert (scope["client"], scope["server"], scope["root_path"]) == (PEER, ("127.0.0.1", 80), "")
    assert dict(scope["headers"])[b"host"] == b"test"


@pytest.mark.parametrize(
    ("fields", "host", "server"),
    [
        (["Host: a.example"], "a.example", ("a.example", 80)),
        (["Host: a.example", "Proto: https"], "a.example", ("a.example", 443)),
        (["Host: a.example:8443", "Proto: https"], "a.example:8443", ("a.example", 8443)),
        (["Host: a.example:8443", "Port: 9"], "a.example:8443", ("a.example", 8443)),
        (["Host: a.example", "Port: 8443", "Proto: https"], "a.example:8443", ("a.example", 8443)),
        (["Host: a.example", "Port: 443", "Proto: https"], "a.example", ("a.example", 443)),
        (["Host: a.example", "Port: 443"], "a.example:443", ("a.example", 443)),
        (["Host: [2001:db8::1]", "Port: 8080"], "[2001:db8::1]:8080", ("2001:db8::1", 8080)),
        (["Port: 8443"], "test:8443", ("test", 8443)),
        (["Port: 80"], "test", ("test", 80)),
        (["Host: a/b", "Port: x"], "test", ("127.0.0.1", 80)),
        (["Host: evil.example, a.example"], "a.example", ("a.example", 80)),
    ],
)
async def test_host_and_port_are_put_where_applications_make_links_of_them(
    fields: list[str], host: str, server: tuple[str, int]
) -> None:
    told = [f"X-Forwarded-{field}" for field in fields]
    scope = await scope_of(*told, settings={"forwarded_fields": EVERYTHING})
    assert [value for name, value in scope["headers"] if name == b"host"] == [host.encode()]
    assert scope["server"] == server


async def test_a_host_is_added_to_a_request_that_has_none() -> None:
    app = Noting()
    async with client_of(app, {"forwarded_fields": EVERYTHING}) as client:
        await client.send(b"GET / HTTP/1.0\r\nX-Forwarded-Host: a.example\r\n\r\n")
        assert (await client.response()).status == 200
        other = app.scopes[0]
    assert (other["headers"][0], other["server"]) == ((b"host", b"a.example"), ("a.example", 80))


async def test_a_port_without_any_host_is_that_of_the_server() -> None:
    app = Noting()
    async with client_of(app, {"forwarded_fields": EVERYTHING}) as client:
        await client.send(b"GET / HTTP/1.0\r\nX-Forwarded-Port: 8443\r\n\r\n")
        assert (await client.response()).status == 200
    assert (app.scopes[0]["headers"][0][0], app.scopes[0]["server"]) == (b"x-forwarded-port", ("127.0.0.1", 8443))


@pytest.mark.parametrize(
    ("root_path", "prefix", "target", "expected"),
    [
        ("", "/api", "/x", ("/api", "/api/x")),
        ("", "/api", "/api/x", ("/api", "/api/api/x")),
        ("/app", "/api", "/x", ("/api", "/api/x")),
        ("/app", "/", "/x", ("", "/x")),
        ("/app", "//evil", "/x", ("/app", "/app/x")),
        ("", "/caf%C3%A9", "/x", ("/café", "/café/x")),
    ],
)
async def test_a_prefix_takes_the_place_of_the_root_path(
    root_path: str, prefix: str, target: str, expected: tuple[str, str]
) -> None:
    settings = {"forwarded_fields": "prefix", "root_path": root_path}
    scope = await scope_of(f"X-Forwarded-Prefix: {prefix}", settings=settings, target=target)
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == (*expected, target.encode())


async def test_a_prefix_may_be_one_that_the_proxy_keeps() -> None:
    settings = {"forwarded_fields": "prefix", "root_path_kept": True}
    scope = await scope_of("X-Forwarded-Prefix: /api", settings=settings, target="/api/x")
    assert (scope["root_path"], scope["path"]) == ("/api", "/api/x")


async def test_forwarded_tells_all_in_one_field() -> None:
    settings = {"forwarded_fields": "forwarded,prefix", "forwarded_allow_ips": "127.0.0.1,10.0.0.0/8"}
    scope = await scope_of(
        "X-Forwarded-For: 198.51.100.66",
        "X-Forwarded-Host: evil.example",
        'Forwarded: for=evil;host=evil.example, for="[2001:db8::7]:5678";proto=https;host=a.example',
        "Forwarded: for=10.0.0.1;proto=http;host=internal",
        settings=settings,
    )
    assert (scope["client"], scope["scheme"]) == (("2001:db8::7", 5678), "https")
    assert (scope["server"], dict(scope["headers"])[b"host"]) == (("a.example", 443), b"a.example")


# --- WebSockets, log lines, the ways to run ---------------------------------------------------


async def test_a_websocket_comes_from_where_the_proxy_says(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    app = Noting()
    async with serving_websockets(app, forwarded_fields=EVERYTHING) as served:
        fields = (*NGINX, "X-Forwarded-Host: a.example", "X-Forwarded-Prefix: /p", "X-Forwarded-Host: b.example")
        await served.open("/room", *fields)
        await served.open("/room", *fields, remote_address=("10.0.0.5", 1))
    near, far = app.scopes
    assert (near["client"], near["scheme"], near["server"]) == (("203.0.113.7", 0), "wss", ("b.example", 443))
    assert (near["path"], near["root_path"], dict(near["headers"])[b"host"]) == ("/p/room", "/p", b"b.example")
    assert (far["client"], far["scheme"], far["path"]) == (("10.0.0.5", 1), "ws", "/room")
    lines = [record.getMessage() for record in caplog.records if '"WebSocket' in record.getMessage()]
    assert lines == ['203.0.113.7:0 - "WebSocket /room" [accepted]', '10.0.0.5:1 - "WebSocket /room" [accepted]']


async def test_the_access_line_names_the_client(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with client_of(Noting(), {}) as client:
        await client.get("/", "X-Forwarded-For: 203.0.113.7:5678\r\n")
        await client.get("/", "X-Forwarded-For: 2001:db8::7\r\n")
        await client.get("/")
    assert [line[0] for line in access_lines(caplog)] == ["203.0.113.7:5678", "2001:db8::7:0", "127.0.0.1:50000"]


@pytest.mark.parametrize(
    "settings",
    [
        {"http": "h11"},
        {"task_per_request": True},
        {"timeout_request": 5},
        {"limit_concurrency": 5},
        {"cancel_on_disconnect": True},
    ],
)
async def test_however_a_request_is_read_and_run(settings: dict[str, Any]) -> None:
    assert await ends_of(*NGINX, settings=settings) == (("203.0.113.7", 0), "https")
