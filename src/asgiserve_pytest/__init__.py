"""The pytest plugin: `asgi_server` starts real servers for tests, and `--asgi-backend` says on which event loop.

A package of its own, so that pytest can load it in every run without importing the server: that happens when a test
first starts one. Fixtures are plain functions and the servers live in threads, so they serve tests of every kind: plain
ones, and those of anyio's plugin, pytest-trio and pytest-asyncio. No cancel scope is ever held across a test.
"""

from __future__ import annotations

from contextlib import ExitStack
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from asgiserve.testing import LiveServer

__all__ = ["asgi_server", "asgi_virtual_time"]

_BACKENDS = ("asyncio", "trio")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("asgiserve").addoption(
        "--asgi-backend",
        choices=[*_BACKENDS, "both"],
        default=None,
        help="The event loop of the servers that asgi_server starts; both runs each such test twice.",
    )
    parser.addini("asgi_backend", "The default of --asgi-backend.", default="asyncio")


def _chosen(config: pytest.Config) -> str:
    chosen: str = config.getoption("asgi_backend") or config.getini("asgi_backend")
    if chosen not in {*_BACKENDS, "both"}:
        raise pytest.UsageError(f"asgi_backend: expected asyncio, trio or both, but got {chosen!r}")
    return chosen


def pytest_configure(config: pytest.Config) -> None:
    # Only now is it known whether the fixture has parameters. pytest must see them as the fixture's own: then another
    # fixture of its name, or a mark, replaces them with it.
    plugin = ModuleType(f"{__name__}.backend")
    plugin.__dict__["asgi_backend"] = _backend_fixture(_chosen(config))
    config.pluginmanager.register(plugin)


def _backend_fixture(chosen: str) -> object:
    @pytest.fixture(scope="session", params=_BACKENDS if chosen == "both" else None)
    def asgi_backend(request: pytest.FixtureRequest) -> str:
        """The event loop that servers run on: "asyncio" or "trio", as `--asgi-backend` says."""
        return str(getattr(request, "param", chosen))

    return asgi_backend


@pytest.fixture
def asgi_server(asgi_backend: str) -> Iterator[Callable[..., LiveServer]]:
    """Starts servers for a test: `server = asgi_server(app, **settings)`, as `asgiserve.testing.live_server` does.

    They stop with the test. One that hangs then, or whose application has raised (`raise_app_exceptions=True`), is an
    error of the test.
    """
    with ExitStack() as stack:

        def start(app: Any, **settings: Any) -> LiveServer:
            from asgiserve.testing import live_server

            return stack.enter_context(live_server(app, **{"backend": asgi_backend, **settings}))

        yield start


@pytest.fixture
def asgi_virtual_time(asgi_backend: str) -> tuple[str, Mapping[str, Any]]:
    """An event loop in virtual time, for anyio's plugin: a fixture `anyio_backend` that returns it makes
    `sleep(3600)` take no time. For servers in memory; sockets and threads do not follow a clock that jumps."""
    from asgiserve.testing.clock import virtual_time

    return virtual_time(asgi_backend)
