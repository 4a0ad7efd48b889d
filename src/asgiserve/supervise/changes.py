"""Which files `--reload` watches, and which of them have changed. What a pattern means is as in uvicorn.

The only file that names watchfiles. Called by supervisor.py.
"""

from __future__ import annotations

import math
from contextlib import suppress
from importlib.util import cache_from_source
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio

from asgiserve.errors import ConfigError, bare_errors, reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from asgiserve.config import Processes

__all__ = ["Changes", "Watched", "check_watcher", "watch"]

_INCLUDED: Final = ("*.py",)
_EXCLUDED: Final = (".*", ".py[cod]", ".sw.*", "~*")

_SHORTEST_SECONDS: Final = 0.05
_LONGEST_STEP_SECONDS: Final = 0.25
"""watchfiles' thread sleeps for a step at a time, and hears of a stop only between two."""
_LONGEST_GATHERED_SECONDS: Final = 1.6
"""Changes that go on and on are told after so long: a build that writes for minutes must not hide its first file."""

_SHOWN: Final = 3
"""Files that a line names."""


def check_watcher() -> None:
    """Raise ConfigError if files cannot be watched."""
    try:
        import watchfiles  # noqa: F401
    except ImportError:
        raise ConfigError("reload: needs watchfiles: pip install 'asgiserve[reload]'") from None


class Watched:
    """The directories that are watched, and the patterns that a file in them must match.

    A default pattern that the user names on the other side is the user's. An include or exclude that is a directory
    stands for the directory.
    """

    def __init__(self, processes: Processes) -> None:
        included = [each for each in processes.reload_include if not _is_directory(each)]
        excluded = [each for each in processes.reload_exclude if not _is_directory(each)]
        self._includes = {*(each for each in _INCLUDED if each not in excluded), *included}
        self._excludes = {*(each for each in _EXCLUDED if each not in included), *excluded} - set(included)
        self._excluded_directories = [_absolute(each) for each in processes.reload_exclude if _is_directory(each)]
        wanted = [*processes.reload_dir, *(each for each in processes.reload_include if _is_directory(each))]
        for each in processes.reload_dir:
            if not _is_directory(each):
                raise ConfigError(f"reload_dir: there is no directory {each}")
        self.directories = _outermost([_absolute(each) for each in wanted or ["."]])

    def covers(self, path: Path) -> bool:
        """Whether a change of this file, an absolute path, is one that restarts."""
        if any(directory in path.parents for directory in self._excluded_directories):
            return False
        for pattern in self._includes:
            if path.match(pattern):
                # A file that is included by its very name is meant, whatever a pattern says of its kind.
                return path.name == pattern or not any(path.match(each) for each in self._excludes)
        return False


async def watch(processes: Processes, watched: Watched, tell: Callable[[str], None]) -> None:
    """Tell what has changed, in words, each time that something has and then nothing for `reload_delay`.

    Runs until it is cancelled. Raises OSError or RuntimeError when the system does not let it watch.
    """
    with bare_errors():
        async with anyio.create_task_group() as group:
            stop = anyio.Event()
            # The thread that waits cannot be cancelled; it looks at this.
            group.start_soon(_set_when_cancelled, stop)
            quiet = max(processes.reload_delay, _SHORTEST_SECONDS)
            step = min(quiet, _LONGEST_STEP_SECONDS)
            # What watchfiles tells of has been quiet for a step already.
            changes = Changes(quiet - step, longest=max(_LONGEST_GATHERED_SECONDS, 2 * quiet))
            group.start_soon(_tell, changes, tell)
            await _find(watched, step, changes, stop)


async def _find(watched: Watched, step: float, changes: Changes, stop: anyio.Event) -> None:
    import watchfiles

    found = watchfiles.awatch(
        *watched.directories,
        watch_filter=None,
        debounce=math.ceil(_LONGEST_GATHERED_SECONDS * 1000),
        step=math.ceil(step * 1000),
        stop_event=stop,
        ignore_permission_denied=True,
    )
    async for batch in found:
        changes.add({path for _, text in batch if watched.covers(path := Path(text))})


async def _tell(changes: Changes, tell: Callable[[str], None]) -> None:
    while True:
        files = await changes.settled()
        _forget_compiled(files)
        tell(_named(files))


class Changes:
    """Files that have changed and of which nobody has been told."""

    def __init__(self, quiet: float, *, longest: float) -> None:
        self._quiet = quiet
        self._longest = longest
        self._files: set[Path] = set()
        self._first_at = self._last_at = 0.0
        self._some = anyio.Event()

    def add(self, files: set[Path]) -> None:
        if not files:
            return
        self._last_at = anyio.current_time()
        if not self._files:
            self._first_at = self._last_at
        self._files |= files
        self._some.set()

    async def settled(self) -> list[Path]:
        """Wait for changes, and until none has come for `quiet` seconds or the first is `longest` old; give them."""
        await self._some.wait()
        due_at = 0.0
        while due_at < self._due_at:  # another change has moved it
            due_at = self._due_at
            await anyio.sleep_until(due_at)
        files, self._files, self._some = sorted(self._files), set(), anyio.Event()
        return files

    @property
    def _due_at(self) -> float:
        return min(self._last_at + self._quiet, self._first_at + self._longest)


def _forget_compiled(files: Iterable[Path]) -> None:
    """Python takes a compiled module for current while its source has the same size and the same second of change: the
    next worker would not see the second of two changes within one."""
    for each in files:
        if each.suffix == ".py":
            # There may be none, and a Python may keep none.
            with suppress(OSError, NotImplementedError):
                Path(cache_from_source(each)).unlink()


async def _set_when_cancelled(event: anyio.Event) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        event.set()


def _named(files: Iterable[Path]) -> str:
    names = [_shown(each) for each in files]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"Changed: {', '.join(names[:_SHOWN])}{more}"


def _shown(path: Path) -> str:
    """As people call it who are in the current directory. That may be gone, and what is watched be elsewhere."""
    with suppress(OSError, ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def _absolute(text: str) -> Path:
    try:
        return Path(text).resolve()
    except OSError as error:
        raise ConfigError(f"reload: cannot watch {text}: {reason(error)}") from None


def _is_directory(text: str) -> bool:
    try:
        return Path(text).is_dir()
    except OSError:  # a pattern that no path can be
        return False


def _outermost(directories: Iterable[Path]) -> list[Path]:
    """Without those that are inside another one: a change would come twice."""
    different = set(directories)
    return sorted(each for each in different if not different & set(each.parents))
