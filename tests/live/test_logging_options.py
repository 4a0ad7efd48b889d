"""What the command line's options of logging change in what a process writes."""

from __future__ import annotations

import json
import re
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.backends import one_loop_per_library
from tests.live.raw import RawClient, request
from tests.live.servers import command
from tests.support.processes import ran

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.backends import Backend
    from tests.live.conftest import LiveServers

pytestmark = [pytest.mark.live, one_loop_per_library]

DEMO = "asgiserve.demo:app"


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_every_line_is_a_json_object(live_server: LiveServers) -> None:
    server = live_server(DEMO, log_format="json", request_id_header="X-Request-ID")

    with RawClient(server.port) as client:
        assert client.get("/?b", "X-Request-ID: abc").headers["x-request-id"] == "abc"
        client.send(b"nonsense\r\n\r\n")
        client.read_all()
        server.stderr.wait_for("Invalid HTTP request")
    server.finish()

    (line,) = objects(server.stdout.text)
    assert (line["method"], line["target"], line["status"]) == ("GET", "/?b", 200)
    assert (line["level"], line["logger"], line["request_id"]) == ("info", "asgiserve.access", "abc")
    assert line["client"].startswith("127.0.0.1:")
    assert line["duration_ms"] >= 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    general = objects(server.stderr.text)
    assert {entry["logger"] for entry in general} == {"asgiserve.error"}
    assert "warning" in [entry["level"] for entry in general]


@pytest.mark.parametrize(("module", "cause"), [("no_such_site", None), ("broken_site", "ZeroDivisionError")])
def test_a_failed_start_is_a_json_object_too(
    anyio_backend: Backend, tmp_path: Path, module: str, cause: str | None
) -> None:
    (tmp_path / "broken_site.py").write_text("1 / 0")
    words = [*command(f"{module}:app", anyio_backend, {"port": 0, "log_format": "json"}), "--app-dir", str(tmp_path)]

    done = ran(words)

    last = objects(done.stderr)[-1]
    assert done.returncode == 3
    assert last["level"] == "critical"
    assert module in last["message"]
    assert (cause in last["exception"]) if cause else ("exception" not in last)


def test_the_level_trace_shows_every_message_and_no_body(live_server: LiveServers) -> None:
    server = live_server(DEMO, log_level="trace")

    with RawClient(server.port) as client:
        client.send(request("/echo", "Content-Length: 6", "Cookie: secret", method="POST") + b"hidden")
        assert client.answer("POST").body == b"hidden"
    server.stderr.wait_for("Connection lost")
    server.finish()

    text = server.stderr.text
    assert "Receive {'type': 'http.request', 'body': <6 bytes>" in text
    assert "Send {'type': 'http.response.body', 'body': <6 bytes>" in text
    assert "Receive {'type': 'lifespan.startup'}" in text
    assert "hidden" not in text
    assert "secret" not in text
    traced = [line for line in text.splitlines() if "ASGI [" in line or "Connection " in line]
    assert all(line.startswith("TRACE:    ") for line in traced)


def test_a_format_and_excluded_paths_shape_stdout(live_server: LiveServers) -> None:
    text = '{client} "{method} {target}" {status} {bytes} {duration} {request[user-agent]} {response[content-type]}'
    server = live_server(DEMO, access_log_format=text, access_log_exclude="/health*")

    with RawClient(server.port) as client:
        client.get("/healthz")
        answer = client.get("/?shown", "User-Agent: a b")
        port = client.socket.getsockname()[1]
        server.stdout.wait_for("shown")
    server.finish()

    kind = re.escape(answer.headers["content-type"])
    line = rf'127\.0\.0\.1:{port} "GET /\?shown" 200 {len(answer.body)} \d+\.\d a b {kind}\n'
    assert re.fullmatch(line, server.stdout.text), server.stdout.text


def test_colours_can_be_asked_for_where_no_terminal_is(live_server: LiveServers) -> None:
    server = live_server(DEMO, use_colors=True, ready="asgiserve running on ")

    with RawClient(server.port) as client:
        client.get("/")
        assert "\x1b[32m200 OK\x1b[0m" in server.stdout.wait_for("200")
    assert "\x1b[32mINFO\x1b[0m:" in server.stderr.text


@pytest.mark.parametrize("form", ["json", "yaml", "toml", "ini"])
def test_a_file_takes_the_place_of_our_own_logging(live_server: LiveServers, tmp_path: Path, form: str) -> None:
    log = (tmp_path / "out.log").as_posix()
    if form == "ini":
        text = (
            "[loggers]\nkeys=root\n[handlers]\nkeys=file\n[formatters]\nkeys=short\n"
            "[logger_root]\nlevel=INFO\nhandlers=file\n"
            f'[handler_file]\nclass=FileHandler\nformatter=short\nargs=("{log}",)\n'
            "[formatter_short]\nformat=%(name)s|%(message)s\n"
        )
    elif form == "toml":
        text = (
            'version = 1\nformatters.short.format = "%(name)s|%(message)s"\n'
            f'handlers.file = {{class = "logging.FileHandler", formatter = "short", filename = "{log}"}}\n'
            'root = {handlers = ["file"], level = "INFO"}\n'
        )
    else:  # JSON is YAML as well
        handler = {"class": "logging.FileHandler", "formatter": "short", "filename": log}
        table = {"version": 1, "formatters": {"short": {"format": "%(name)s|%(message)s"}}}
        text = json.dumps({**table, "handlers": {"file": handler}, "root": {"handlers": ["file"], "level": "INFO"}})
    path = tmp_path / f"log.{form}"
    path.write_text(text)

    # Nothing on stderr says that the server is up. A socket that listens already keeps who comes too early.
    with socket.create_server(("127.0.0.1", 0)) as bound:
        number, port = bound.fileno(), bound.getsockname()[1]
        options = {"log_config": path, "fd": number, "pass_fds": [number]}
        server = live_server("tests.live.applications:report", ready="lifespan: started", **options)
        with RawClient(port) as client:
            assert client.get().status == 200
    server.finish()

    lines = (tmp_path / "out.log").read_text().splitlines()
    assert lines.count("asgiserve.error|Waiting for application startup.") == 1
    assert lines.count(f"asgiserve.error|asgiserve running on http://127.0.0.1:{port} (Press CTRL+C to quit)") == 1
    assert "Waiting" not in server.stderr.text
