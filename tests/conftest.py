"""The backend matrix: one fixture, so that every behaviour test runs on asyncio and on trio, in virtual time.

`tests/live` overrides it with real time (see its own conftest). And `--stress`: how much of a stress test runs; and
two things that keep a busy machine out of the tests: Hypothesis without its limits of time, and no long collections.
"""

from __future__ import annotations

import gc
import signal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.clock import virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# By default an example that takes 200 ms fails its test, and so do ten that take a second to be drawn: on a busy
# machine that says nothing of the code (an example of three thousand chunks, 9 ms of work, once took 388).
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_as_at_a_terminal() -> None:
    """A shell without job control has what it runs in the background ignore SIGINT, and everything below inherits that:
    the tests that send one would wait for ever."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, Mapping[str, Any]]:
    return virtual_time(request.param)


def pytest_collection_finish() -> None:
    """What is here now, 15,000 tests above all, stays: Python need not look at it each time that it collects.

    That took 0.2 s each time, and 0.7 to 3 s on a busy machine, in which no thread of this process ran: no client and
    no server."""
    gc.collect()
    gc.freeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--stress", action="store_true", help="run the tests marked `stress` in full, not a part of each")


@pytest.fixture
def many(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """How many of something a stress test takes: `many(10_000, 300)` is 10,000 with --stress, and 300 without."""
    in_full = bool(request.config.getoption("--stress"))
    return lambda full, reduced: full if in_full else reduced
