"""Access lines that are not the ordinary ones: a format with named fields, and paths that are left out."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from uvicorn.logging import AccessFormatter

from asgiserve.config import Settings
from asgiserve.errors import ConfigError
from tests.support.websocket import serving_websockets
from tests.unit.connection.applications import body, get, reply, serving_http, start

if TYPE_CHECKING:
    from asgiserve.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

HEADERS = [(b"X-Kind", b"one"), (b"x-kind", b"two"), (b"x-evil", b'"\xff')]


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "asgiserve.access"]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await reply(send, b"twelve bytes", headers=HEADERS)


async def one_line(caplog: pytest.LogCaptureFixture, text: str, request: bytes, **settings: Any) -> str:
    async with serving_http(app, access_log_format=text, **settings) as served:
        client = served.connect()
        await client.send(request)
        await client.response()
    (line,) = lines_of(caplog)
    return line


@pytest.mark.parametrize(
    ("field", "shown"),
    [
        ("client", "127.0.0.1:50000"),
        ("method", "GET"),
        ("target", r"/a%20b\?c=%22"),
        ("path", "/a%20b"),
        ("query", "c=%22"),
        ("http_version", "1.1"),
        ("scheme", "http"),
        ("status", "200"),
        ("phrase", "OK"),
        ("bytes", "12"),
        ("duration", r"\d+\.\d"),
        ("time", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"),
        ("request[host]", "test"),
        ("request[x-two]", "1, 2"),
        ("request[x-missing]", "-"),
        ("request[X-Quoted]", r"a\\x22b\\x5c"),
        ("request[x-empty]", "-"),
        ("response[x-kind]", "one, two"),
        ("response[X-Evil]", r"\\x22\\xff"),
        ("response[x-missing]", "-"),
    ],
)
async def test_each_field_says_what_it_names(caplog: pytest.LogCaptureFixture, field: str, shown: str) -> None:
    request = get("/a%20b?c=%22", "X-Two: 1", "X-Two: 2", 'X-Quoted: a"b\\', "X-Empty:")

    line = await one_line(caplog, f"<{{{field}}}>", request)

    assert re.fullmatch(f"<{shown}>", line), line


async def test_a_quotation_mark_in_a_target_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    line = await one_line(caplog, '"{method} {target}" {status}', get('/a"%20200?"\\'))

    assert line == '"GET /a\\x22%20200?\\x22\\x5c" 200'


async def test_the_default_can_be_written_as_a_format(caplog: pytest.LogCaptureFixture) -> None:
    text = '{client} - "{method} {target} HTTP/{http_version}" {status} {phrase} {bytes}B {duration}ms'
    told = await one_line(caplog, text, get("/a?b"))
    caplog.clear()

    async with serving_http(app) as served:
        await served.connect().get("/a?b")

    assert [re.sub(r"\d+\.\dms", "", told)] == [re.sub(r"\d+\.\dms", "", line) for line in lines_of(caplog)]


async def test_a_client_that_left_is_told_by_a_format_too(caplog: pytest.LogCaptureFixture) -> None:
    async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, headers=HEADERS)
        await body(send, b"1234", more=True)
        await anyio.sleep(2)
        await body(send, b"5678")

    async with serving_http(waiting, access_log_format="{status} {phrase} {bytes} {response[x-kind]}") as served:
        client = served.connect()
        await client.send(get())
        await anyio.sleep(1)
        client.stream.abort()
        await anyio.sleep(2)
    assert lines_of(caplog) == ["499 Client Closed Request 4 one, two"]


async def test_the_servers_own_answer_has_none_of_the_applications_headers(caplog: pytest.LogCaptureFixture) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, length=5, headers=HEADERS)
        raise ValueError

    async with serving_http(failing, access_log_format="{status} {response[x-kind]}") as served:
        assert (await served.connect().get()).status == 500
    assert lines_of(caplog) == ["500 -"]


# --- formatters of others ---------------------------------------------------------------------

EVERYWHERE = pytest.mark.parametrize(
    "settings", [{}, {"access_log_format": "{bytes}% {request[x]}"}, {"request_id_header": "x-request-id"}]
)


async def one_record(caplog: pytest.LogCaptureFixture, settings: dict[str, Any]) -> logging.LogRecord:
    async with serving_http(app, **settings) as served:
        await served.connect().get("/a%20b?c=%22")
    (record,) = [each for each in caplog.records if each.name == "asgiserve.access"]
    return record


@EVERYWHERE
async def test_uvicorns_own_formatter_shows_a_request(
    caplog: pytest.LogCaptureFixture, settings: dict[str, Any]
) -> None:
    record = await one_record(caplog, settings)

    formatter = AccessFormatter("%(client_addr)s - %(request_line)s %(status_code)s", use_colors=False)
    assert formatter.format(record) == "127.0.0.1:50000 - GET /a%20b?c=%22 HTTP/1.1 200 OK"


@EVERYWHERE
async def test_a_record_has_bytes_duration_and_id_as_attributes(
    caplog: pytest.LogCaptureFixture, settings: dict[str, Any]
) -> None:
    record = await one_record(caplog, settings)

    assert re.fullmatch(r"12 \d+\.\d", logging.Formatter("%(bytes)d %(duration_ms).1f").format(record))
    assert hasattr(record, "request_id") is ("request_id_header" in settings)
    if "request_id_header" in settings:
        assert record.getMessage().endswith(logging.Formatter(" %(request_id)s").format(record))


# --- paths that are left out ------------------------------------------------------------------


@pytest.mark.parametrize("format_", [None, "{target}"])
async def test_excluded_paths_have_no_line(caplog: pytest.LogCaptureFixture, format_: str | None) -> None:
    settings = {"access_log_format": format_, "access_log_exclude": ["/health", "/static/*"]}
    async with serving_http(app, **settings) as served:
        client = served.connect()
        for target in ("/health", "/health?deep", "/static/a/b.css", "/healthy", "/"):
            assert (await client.get(target)).status == 200
    told = lines_of(caplog)
    assert len(told) == 2
    assert "/healthy" in told[0]


async def test_websockets_on_excluded_paths_have_no_line(caplog: pytest.LogCaptureFixture) -> None:
    async def accepting(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})

    with caplog.at_level("INFO", "asgiserve.error"):
        async with serving_websockets(accepting, access_log_exclude=["/live/*"]) as served:
            for target in ("/live/a", "/other"):
                await served.open(target)
    told = [text for text in caplog.messages if "WebSocket" in text]
    assert len(told) == 1
    assert '"WebSocket /other"' in told[0]


async def test_an_error_on_an_excluded_path_is_still_an_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError

    async with serving_http(failing, access_log_exclude=["/health"]) as served:
        assert (await served.connect().get("/health")).status == 500
    assert lines_of(caplog) == []
    assert "Exception in ASGI application (GET /health)" in caplog.messages


@pytest.mark.parametrize("paths", ["health", ["/a", "b"]])
def test_a_pattern_that_no_path_can_match_is_refused(paths: Any) -> None:

    with pytest.raises(ConfigError, match=r'^access_log_exclude: expected paths that begin with "/" or "\*"'):
        Settings.of({"access_log_exclude": paths})


@pytest.mark.parametrize("text", ["", "{client} {status}"])
async def test_a_client_on_a_unix_socket_is_a_dash(caplog: pytest.LogCaptureFixture, text: str) -> None:
    settings = {"access_log_format": text} if text else {}
    async with serving_http(app, **settings) as served:
        client = served.connect(local_address="/run/app.sock", remote_address="")
        await client.send(get())
        await client.response()
    (line,) = lines_of(caplog)
    assert line.startswith("- 200" if text else '- - "GET / HTTP/1.1" 200 OK')


async def test_so_is_one_of_a_websocket(caplog: pytest.LogCaptureFixture) -> None:
    async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.close"})

    async with serving_websockets(refusing) as served:
        client = served.connect(local_address="/run/app.sock", remote_address="")
        await client.refused()
    assert [one.getMessage() for one in caplog.records if "WebSocket" in one.getMessage()] == ['- - "WebSocket /" 403']
