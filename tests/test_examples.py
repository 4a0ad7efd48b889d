"""The examples do what their docstrings say; each is run as a reader would run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from websockets.sync.client import connect

from tests.support.processes import ran

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.sync.client import ClientConnection

pytestmark = pytest.mark.live

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
BACKENDS = ["asyncio", "trio"]


def talking_to(url: str) -> ClientConnection:
    return connect(url.replace("http", "ws"), proxy=None)


@contextmanager
def served(name: str, backend: str, directory: Path = EXAMPLES) -> Iterator[str]:
    """The command line serving `<name>.py` of that directory; gives its URL."""
    command = [sys.executable, "-m", "asgiserve", "--app-dir", str(directory), f"{name}:app"]
    with subprocess.Popen(
        [*command, "--port", "0", "--backend", backend], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            ready = next(line for line in lines if "running on" in line)
            yield ready.partition("running on ")[2].split()[0]
        finally:
            process.kill()  # how it stops is not what these tests are about


@pytest.mark.parametrize("backend", BACKENDS)
def test_hello_answers_hello(backend: str) -> None:
    with served("hello", backend) as url:
        assert httpx.get(url).text == "Hello, World!"


@pytest.mark.parametrize("backend", BACKENDS)
def test_stream_sends_five_lines_one_after_the_other(backend: str) -> None:
    with served("stream", backend) as url, httpx.stream("GET", url) as response:
        parts = list(response.iter_raw())

    assert len(parts) > 1
    assert b"".join(parts) == b"line 1\nline 2\nline 3\nline 4\nline 5\n"


@pytest.mark.parametrize("backend", BACKENDS)
def test_lifespan_state_counts_over_requests(backend: str) -> None:
    with served("lifespan_state", backend) as url:
        assert [httpx.get(url).text for _ in range(3)] == ["counted: 1\n", "counted: 2\n", "counted: 3\n"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_room_tells_everybody_what_one_says(backend: str) -> None:
    with served("room", backend) as url, talking_to(url) as first, talking_to(url) as second:
        first.send("hello")
        assert [first.recv(10), second.recv(10)] == ["hello", "hello"]
        second.close()
        first.send("still there?")
        assert first.recv(10) == "still there?"


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_echo_of_the_page_on_websockets_echoes(backend: str, tmp_path: Path) -> None:
    page = (ROOT / "docs/how-to/websocket.md").read_text()
    (application,) = re.findall(r"^```python\n(.+?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "echo.py").write_text(application)

    with served("echo", backend, tmp_path) as url, talking_to(url) as client:
        for message in ("hello", b"\xff"):
            client.send(message)
            assert client.recv(10) == message


def test_serve_in_trio_serves_asks_and_ends() -> None:
    command = [sys.executable, str(EXAMPLES / "serve_in_trio.py")]

    done = ran(command)

    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first.startswith("serving on http://127.0.0.1:")
    assert second == "HTTP/1.1 200 OK"


@pytest.mark.parametrize("backend", BACKENDS)
def test_serve_with_pool_closes_the_pool_after_the_last_request(backend: str) -> None:
    command = [sys.executable, str(EXAMPLES / "serve_with_pool.py"), backend]

    done = ran(command)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["from the pool", "pool closed"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_sidecar_health_answers_while_its_worker_works(backend: str) -> None:
    command = [sys.executable, str(EXAMPLES / "sidecar_health.py"), backend, "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().removeprefix("health on ").strip()
            assert httpx.get(url, trust_env=False).status_code == 200
        finally:
            process.kill()


def test_the_tests_of_the_tutorial_pass_on_both_backends(tmp_path: Path) -> None:
    tutorial = (ROOT / "docs/tutorial/test-your-app.md").read_text()
    files = re.findall(r"`(\w+\.py)`:\n\n```python\n(.+?)^```", tutorial, re.MULTILINE | re.DOTALL)
    (tmp_path / "hello.py").write_text((EXAMPLES / "hello.py").read_text())
    for name, text in files:
        (tmp_path / name).write_text(text)
    plugins = ["-p", "asgiserve_pytest", "-p", "anyio.pytest_plugin"]

    done = ran(
        [sys.executable, "-m", "pytest", *plugins, "-W", "error", "--asgi-backend", "both"],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT / "src")},
    )

    assert [name for name, _ in files] == ["test_hello.py", "test_errors.py", "test_events.py"]
    assert "6 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.stem)
def test_an_example_is_short_and_says_how_to_run_it(file: Path) -> None:
    text = file.read_text()

    assert len(text.splitlines()) < 40
    assert f"{file.stem}:app" in text or f"python examples/{file.name}" in text


def test_the_application_of_the_tutorial_is_the_first_example() -> None:
    tutorial = (ROOT / "docs/tutorial/first-app.md").read_text()

    (application,) = re.findall(r"^```python\n(.+?)^```", tutorial, re.MULTILINE | re.DOTALL)

    assert (EXAMPLES / "hello.py").read_text().endswith(application)
