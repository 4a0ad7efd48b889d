"""SIGUSR1 at the supervisor: every worker in one text, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from asgiserve.supervise.memory import resident_bytes, size_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asgiserve.supervise.process import Worker

__all__ = ["overview"]


async def overview(workers: Sequence[Worker], wanted: int) -> str:
    """Each worker's state, age, counters and own words. Asks them all at the same time."""
    told: dict[Worker, dict[str, Any] | None] = {}

    async def ask(worker: Worker) -> None:
        told[worker] = await worker.overview()

    async with anyio.create_task_group() as group:
        for worker in workers:
            group.start_soon(ask, worker)
    now = anyio.current_time()
    lines = [f"{len(workers)} of {wanted} wanted worker processes"]
    return "\n".join([*lines, *(_about(worker, told[worker], now) for worker in workers)])


def _about(worker: Worker, told: dict[str, Any] | None, now: float) -> str:
    resident = resident_bytes(worker.pid)
    line = f"worker [{worker.pid}], {worker.state.value} for {now - worker.since:.0f} s"
    if resident is not None:
        line += f", {size_text(resident)}"
    if told is None:
        return f"{line}: does not answer"
    return "\n    ".join([line, *str(told.get("text", "")).split("\n")])
