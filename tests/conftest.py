"""The backend matrix: one fixture, so that every behaviour test runs on asyncio and on trio, in virtual time.

`tests/live` overrides it with real time (see its own conftest).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.clock import virtual_time

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, Mapping[str, Any]]:
    return virtual_time(request.param)
