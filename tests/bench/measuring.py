"""One sample: a server is started, checked, warmed up, loaded for so long, and ended. Called by `suite.py` and
`compare.py`, which say how often and in which order; what becomes of the samples lives in `report`.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

from load import LoadError, holding, loading
from process import ServerError, cores, running
from report.results import Failure, Measured, Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from load import Load
    from process import Cpu, Running
    from report.results import Outcome
    from scenarios import AnyScenario
    from servers import Server

__all__ = ["measured", "sample"]

_SETTLE_SECONDS: Final = 15.0
_QUIET_SECONDS: Final = 0.3
"""Workers that use less than a tenth of this time have started."""

_WARM_UP_SECONDS: Final = 0.5
"""Enough for the interpreter to specialise its byte code and for caches to fill: thousands of requests."""


def measured(
    name: str,
    scenario: AnyScenario,
    servers: Iterable[Server],
    *,
    rounds: int,
    seconds: float,
    checked: bool = False,
) -> Measured:
    """A sample of every server in every round, one after the other: what disturbs the machine falls on all alike."""
    chosen = list(servers)
    results: list[dict[str, Outcome]] = []
    for number in range(rounds):
        # Each round begins with another server: nobody is always the one behind the same neighbour.
        first = number % max(1, len(chosen))
        in_turn = [*chosen[first:], *chosen[:first]]
        print(f"{name}, round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        results.append({one.name: sample(one, scenario, seconds, checked=checked) for one in in_turn})
    return Measured(
        name=name,
        title=scenario.title,
        group=scenario.group,
        unit=scenario.unit,
        kind=scenario.load if scenario.load in ("idle", "start") else "load",
        family=scenario.family,
        size=scenario.size,
        seconds=seconds,
        titles={one.name: one.title for one in chosen},
        rounds=_in_order(results, chosen),
    )


def _in_order(results: Sequence[Mapping[str, Outcome]], chosen: Sequence[Server]) -> list[Mapping[str, Outcome]]:
    return [{one.name: result[one.name] for one in chosen} for result in results]


def sample(server: Server, scenario: AnyScenario, seconds: float, *, checked: bool = False) -> Outcome:
    """Never raises for what a server or a load does: that is a Failure."""
    server_core, load_core = cores() if scenario.pinned else (None, None)
    try:
        with running(server, scenario, server_core) as process:
            if scenario.load == "start":
                return _started(process)
            if scenario.load == "idle":
                return _beside_idle(process, scenario, load_core, seconds, checked=checked)
            if scenario.workers > 1:
                _settle(process)
            with loading(scenario, process.port, load_core, checked=checked) as load:
                load(_WARM_UP_SECONDS)
                before = process.cpu()
                result = load(seconds)
                return _sample(before, process.cpu(), process, result)
    except (ServerError, LoadError, OSError) as error:
        # An OSError is the pipe to a load that has ended.
        return Failure(str(error))


def _settle(process: Running) -> None:
    """Wait until its other workers have started as well: one of them is enough for an answer."""
    give_up_at = time.monotonic() + _SETTLE_SECONDS
    spent = sum(process.cpu())
    while time.monotonic() < give_up_at:
        time.sleep(_QUIET_SECONDS)
        before, spent = spent, sum(process.cpu())
        if spent - before < _QUIET_SECONDS / 10:
            return
    raise ServerError(f"its workers were busy for {_SETTLE_SECONDS:g} s without a request")


def _sample(
    before: Cpu, after: Cpu, process: Running, result: Load, *, connection_kib: float | None = None
) -> Sample | Failure:
    if not result.requests:
        return Failure(f"nothing was answered {result.errors or ''}".strip())
    return Sample(
        user_us=(after.user - before.user) / result.requests * 1e6,
        system_us=(after.system - before.system) / result.requests * 1e6,
        rss_mib=process.rss_bytes() / 2**20,
        rate=result.requests / result.seconds,
        p50_ms=result.p50_ms,
        p99_ms=result.p99_ms,
        connection_kib=connection_kib,
        errors=result.errors,
    )


def _started(process: Running) -> Sample:
    spent = process.cpu()
    return Sample(
        user_us=spent.user * 1e6,
        system_us=spent.system * 1e6,
        rss_mib=process.rss_bytes() / 2**20,
        first_ms=process.first_answer_seconds * 1e3,
    )


def _beside_idle(
    process: Running, scenario: AnyScenario, core: int | None, seconds: float, *, checked: bool
) -> Sample | Failure:
    """What the connections take, and what a GET costs beside them. They must all be open at the end."""
    alone = process.rss_bytes()
    with holding(scenario.size, process.port, core) as held:
        kib = (process.rss_bytes() - alone) / scenario.size / 1024
        with loading(scenario, process.port, core, checked=checked) as load:
            load(_WARM_UP_SECONDS)
            before = process.cpu()
            result = load(seconds)
            after = process.cpu()
        result.errors.update(held(0).errors)
        return _sample(before, after, process, result, connection_kib=kib)
