"""The backend matrix: one fixture, so that every behaviour test runs on asyncio and on trio, in virtual time.

`tests/live` overrides it with real time (see its own conftest). And `--stress`: how much of a stress test runs.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.clock import virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_as_at_a_terminal() -> None:
    """A shell without job control has what it runs in the background ignore SIGINT, and everything below inherits that:
    the tests that send one would wait for ever."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, Mapping[str, Any]]:
    return virtual_time(request.param)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--stress", action="store_true", help="run the tests marked `stress` in full, not a part of each")


@pytest.fixture
def many(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """How many of something a stress test takes: `many(10_000, 300)` is 10,000 with --stress, and 300 without."""
    in_full = bool(request.config.getoption("--stress"))
    return lambda full, reduced: full if in_full else reduced
