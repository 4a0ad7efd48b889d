"""The public names: adding one, or losing one, is a decision that shows in this file."""

from __future__ import annotations

import asgiserve
import asgiserve.testing


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
        "__version__",
        "run",
        "serve",
    ]


def test_testing_exports_exactly_these_names() -> None:
    assert sorted(asgiserve.testing.__all__) == ["MemoryListener", "MemoryStream", "memory_stream_pair"]


def test_every_exported_name_exists() -> None:
    for package in (asgiserve, asgiserve.testing):
        for name in package.__all__:
            assert getattr(package, name) is not None
