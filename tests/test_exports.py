"""The public names: adding one, or losing one, is a decision that shows in this file."""

from __future__ import annotations

import asgiserve
import asgiserve.testing
import asgiserve.testing.clock
import asgiserve.testing.transport


def test_the_package_exports_exactly_these_names() -> None:
    assert sorted(asgiserve.__all__) == [
        "AppLoadError",
        "AsgiserveError",
        "BindError",
        "ClientDisconnected",
        "ConfigError",
        "LocalProtocolError",
        "Server",
        "ShutdownError",
        "StartupError",
        "WorkerError",
        "__version__",
        "run",
        "serve",
    ]


def test_testing_exports_exactly_these_names() -> None:
    assert sorted(asgiserve.testing.__all__) == [
        "AsyncLiveServer",
        "Faults",
        "LiveServer",
        "MemoryListener",
        "MemoryServer",
        "MemoryStream",
        "ServerHangs",
        "async_live_server",
        "live_server",
        "memory_server",
        "memory_stream_pair",
    ]
    assert asgiserve.testing.clock.__all__ == ["JumpingLoop", "virtual_time"]
    assert asgiserve.testing.transport.__all__ == ["MemoryTransport"]


def test_every_exported_name_exists() -> None:
    for package in (asgiserve, asgiserve.testing):
        for name in package.__all__:
            assert getattr(package, name) is not None
