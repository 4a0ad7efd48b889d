"""What keeps a worker's process from being started."""

from __future__ import annotations

import errno
from typing import Any

import anyio
import pytest

from asgiserve.config import Processes, Timeouts
from asgiserve.supervise.process import spawn


@pytest.mark.anyio
async def test_that_no_thread_can_be_started_is_as_that_no_process_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """Event loops start processes, or wait for them, in a thread. Whoever tries again later is told in one way."""

    async def no_thread(*words: Any, **options: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(anyio, "open_process", no_thread)

    with pytest.raises(OSError, match="can't start new thread") as raised:
        await spawn(b"plan", [], Processes(), Timeouts())

    assert raised.value.errno == errno.EAGAIN
