"""Which library runs here, asked before somebody has imported trio and while somebody does."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

import anyio
import pytest
import trio

from asgiserve import backend

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def late_trio(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A process that has not imported trio yet; calling it imports trio."""
    monkeypatch.delitem(sys.modules, "trio.lowlevel")
    return lambda: monkeypatch.setitem(sys.modules, "trio.lowlevel", trio.lowlevel)


def test_a_thread_that_is_importing_trio_does_not_matter_to_asyncio(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> str:
        return backend.current_backend()

    monkeypatch.setitem(sys.modules, "trio.lowlevel", ModuleType("trio.lowlevel"))

    assert anyio.run(main) == "asyncio"


def test_what_is_decorated_before_trio_is_there_is_protected_when_it_runs(late_trio: Callable[[], None]) -> None:
    async def protected() -> bool:
        return trio.lowlevel.currently_ki_protected()

    async def main() -> tuple[bool, str, bool]:
        return await function(), backend.current_backend(), await function()

    function = backend.ki_protected(protected)
    late_trio()

    assert function is protected
    assert trio.run(main) == (False, "trio", True)


def test_what_is_decorated_later_is_protected_at_once() -> None:
    async def protected() -> bool:
        return trio.lowlevel.currently_ki_protected()

    async def bare() -> bool:
        return trio.lowlevel.currently_ki_protected()

    assert trio.run(backend.ki_protected(protected)) is True
    assert trio.run(bare) is False
