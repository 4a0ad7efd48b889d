"""The examples do what their docstrings say; each is run as a reader would run it."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.live

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
BACKENDS = ["asyncio", "trio"]


@contextmanager
def served(name: str, backend: str) -> Iterator[str]:
    """The command line serving `examples/<name>.py`; gives its URL."""
    command = [sys.executable, "-m", "asgiserve", "--app-dir", str(EXAMPLES), f"{name}:app"]
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


def test_serve_in_trio_serves_asks_and_ends() -> None:
    command = [sys.executable, str(EXAMPLES / "serve_in_trio.py")]

    done = subprocess.run(command, capture_output=True, text=True, timeout=20)

    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first.startswith("serving on http://127.0.0.1:")
    assert second == "HTTP/1.1 200 OK"


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.stem)
def test_an_example_is_short_and_says_how_to_run_it(file: Path) -> None:
    text = file.read_text()

    assert len(text.splitlines()) < 40
    assert f"{file.stem}:app" in text or f"python examples/{file.name}" in text


def test_the_application_of_the_tutorial_is_the_first_example() -> None:
    tutorial = (ROOT / "docs/tutorial/first-app.md").read_text()

    (application,) = re.findall(r"^```python\n(.+?)^```", tutorial, re.MULTILINE | re.DOTALL)

    assert (EXAMPLES / "hello.py").read_text().endswith(application)
