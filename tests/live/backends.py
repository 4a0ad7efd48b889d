"""The event loops that the live tests run on, and the marks of modules that need fewer than all of them."""

from __future__ import annotations

from typing import Any, Final

import pytest

__all__ = ["EVERY_LOOP", "Backend", "on_asyncio_only", "on_trio_only", "one_loop_per_library"]

Backend = tuple[str, dict[str, Any]]
"""What `anyio.run()` takes as `backend` and `backend_options`."""

_ASYNCIO: Final = pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio")
_UVLOOP: Final = pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop")
_TRIO: Final = pytest.param(("trio", {}), id="trio")

EVERY_LOOP: Final = [_ASYNCIO, _UVLOOP, _TRIO]

on_asyncio_only = pytest.mark.parametrize("anyio_backend", [_ASYNCIO, _UVLOOP])
"""For applications that make asyncio's own objects."""

on_trio_only = pytest.mark.parametrize("anyio_backend", [_TRIO])
"""For what a library does differently there, and not we."""

one_loop_per_library = pytest.mark.parametrize("anyio_backend", [_ASYNCIO, _TRIO])
"""For what happens above the loop: a process for each test costs more than the third run is worth."""
