"""How many processes serve, and when one is replaced: for `run()` and the command line, never for `serve()`.

What each of them does is in `supervise/`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar, Final

from asgiserve import setting_values as values
from asgiserve.declaring import Group, setting
from asgiserve.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Processes"]


_NEEDS: Final[Mapping[str, str]] = {
    "reload_dir": "reload",
    "reload_include": "reload",
    "reload_exclude": "reload",
    "reload_delay": "reload",
    "limit_max_requests_jitter": "limit_max_requests",
    "limit_worker_lifetime_jitter": "limit_worker_lifetime",
}
"""Settings that only say how another one is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes(Group):
    """How many processes serve, and when one is replaced by another: a supervisor sees to it. Not on Windows."""

    panel: ClassVar[str] = "Processes"

    workers: int = setting(1, values.worker_count, "Processes that serve side by side. 1 needs no supervisor.")
    reload: bool = setting(False, values.flag, "Restart when files change; needs asgiserve[reload]. One worker.")
    reload_dir: tuple[str, ...] = setting(
        (), values.texts, "A directory to watch for --reload. Repeatable. [default: the current one]"
    )
    reload_include: tuple[str, ...] = setting(
        (), values.texts, "A pattern of files to watch beside *.py; a directory is watched too. Repeatable."
    )
    reload_exclude: tuple[str, ...] = setting(
        (),
        values.texts,
        "A pattern of files not to watch beside .*, .py[cod], .sw.*, ~*; or a directory. Repeatable.",
    )
    reload_delay: float = setting(0.25, values.finite_seconds, "Quiet after the last change before the restart.")
    limit_max_requests: int | None = setting(
        None, values.optional_count, "Requests after which a worker is replaced, soon after, new one first."
    )
    limit_max_requests_jitter: int = setting(
        0, values.whole, "Up to so many more, by chance, so that not all are replaced at once."
    )
    limit_worker_memory: int | None = setting(
        None, values.optional_size, "Resident memory above which a worker is replaced: bytes, or as 512M, 2G."
    )
    limit_worker_lifetime: float = setting(
        math.inf, values.seconds, "Seconds after which a worker is replaced, new one first."
    )
    limit_worker_lifetime_jitter: float = setting(
        0.0, values.finite_seconds, "Up to so many more, by chance, so that not all are replaced at once."
    )
    timeout_worker_healthcheck: float = setting(
        math.inf,
        values.seconds,
        "A worker whose event loop has not turned for so long is replaced (uvicorn: 5, and a thread answers).",
    )

    def __post_init__(self) -> None:
        Group.__post_init__(self)
        for name in ("limit_worker_lifetime", "timeout_worker_healthcheck"):
            if getattr(self, name) == 0:
                raise ConfigError(f"{name}: expected more than 0; none switches it off")

    @property
    def reason(self) -> str:
        """The setting for which a supervisor is needed; empty where none is."""
        wanted = {
            "reload": self.reload,
            "workers": self.workers > 1,
            "limit_max_requests": self.limit_max_requests is not None,
            "limit_worker_memory": self.limit_worker_memory is not None,
            "limit_worker_lifetime": self.limit_worker_lifetime < math.inf,
        }
        return next((name for name, is_wanted in wanted.items() if is_wanted), "")

    @property
    def supervised(self) -> bool:
        """Whether a supervisor is needed: for several workers, and for one that is to be replaced."""
        return bool(self.reason)

    @property
    def idle(self) -> tuple[str, ...]:
        """A note for each setting that somebody has given and that does nothing as the others are."""
        given = {one.name for one in fields(self) if getattr(self, one.name) != one.default}
        idle = [name for name, other in _NEEDS.items() if name in given and other not in given]
        notes = [f"{name}: does nothing without {_NEEDS[name]}" for name in idle]
        # 5 is what uvicorn has it at, and what its users hand through.
        if self.timeout_worker_healthcheck not in (math.inf, 5) and not self.supervised:
            notes.append("timeout_worker_healthcheck: does nothing without a supervisor, which workers or reload bring")
        return tuple(notes)
