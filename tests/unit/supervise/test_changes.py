"""What `--reload` watches: patterns mean what they mean in uvicorn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asgiserve.config import Processes
from asgiserve.errors import ConfigError
from asgiserve.supervise.changes import Changes, Watched

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in ("app/web", "static", "tests"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def watched(**settings: Any) -> Watched:
    return Watched(Processes(reload=True, **settings))


@pytest.mark.parametrize(
    ("name", "covered"),
    [
        ("app/main.py", True),
        ("app/web/views.py", True),
        ("app/main.pyc", False),
        ("app/style.css", False),
        ("app/.hidden.py", False),
        ("app/~main.py", False),
        ("app/.main.py.sw.x", False),
    ],
)
def test_by_default_modules_in_the_current_directory_are(project: Path, name: str, covered: bool) -> None:
    assert watched().directories == [project]
    assert watched().covers(project / name) is covered


def test_an_include_adds_a_pattern(project: Path) -> None:
    chosen = watched(reload_include=["*.html"])

    assert chosen.covers(project / "app/index.html")
    assert chosen.covers(project / "app/main.py")


def test_an_include_by_name_is_stronger_than_an_exclude(project: Path) -> None:
    chosen = watched(reload_include=[".env"])

    assert chosen.covers(project / ".env")
    assert not chosen.covers(project / ".envrc")


def test_an_include_takes_a_default_exclude_away(project: Path) -> None:
    assert watched(reload_include=[".*"]).covers(project / ".hidden.py")


def test_an_exclude_takes_the_default_include_away(project: Path) -> None:
    assert not watched(reload_exclude=["*.py"]).covers(project / "app/main.py")


def test_an_exclude_by_pattern(project: Path) -> None:
    chosen = watched(reload_exclude=["test_*.py"])

    assert not chosen.covers(project / "tests/test_app.py")
    assert chosen.covers(project / "tests/conftest.py")


def test_an_exclude_that_is_a_directory_leaves_out_what_is_in_it(project: Path) -> None:
    chosen = watched(reload_exclude=["tests"])

    assert not chosen.covers(project / "tests/conftest.py")
    assert chosen.covers(project / "app/main.py")


def test_an_include_that_is_a_directory_is_watched_too(project: Path) -> None:
    assert watched(reload_dir=["app"], reload_include=["static"]).directories == [project / "app", project / "static"]


def test_a_directory_inside_another_is_watched_once(project: Path) -> None:
    assert watched(reload_dir=["app/web", "app", "."]).directories == [project]


def test_a_directory_that_is_not_there_is_refused(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"^reload_dir: there is no directory nowhere$"):
        watched(reload_dir=["nowhere"])


# --- when they are told -----------------------------------------------------------------------


async def told(changes: Changes) -> tuple[list[Path], float]:
    """What is told next, and how long that takes."""
    before = anyio.current_time()
    return await changes.settled(), anyio.current_time() - before


@pytest.mark.anyio
async def test_changes_are_told_together_when_nothing_has_changed_for_a_while() -> None:
    changes = Changes(5, longest=60)

    async def change() -> None:
        for name in ("b", "a", "b"):
            await anyio.sleep(4)
            changes.add({Path(name)})
            changes.add(set())

    async with anyio.create_task_group() as group:
        group.start_soon(change)
        files, seconds = await told(changes)
    assert files == [Path("a"), Path("b")]
    assert seconds == pytest.approx(3 * 4 + 5)


@pytest.mark.anyio
async def test_changes_that_go_on_and_on_are_told_after_the_longest_time() -> None:
    changes = Changes(5, longest=12)

    async def change() -> None:
        for number in range(10):
            changes.add({Path(str(number))})
            await anyio.sleep(2)

    async with anyio.create_task_group() as group:
        group.start_soon(change)
        _, seconds = await told(changes)
        assert seconds == pytest.approx(12)
        files, _ = await told(changes)
        assert files[-1] == Path("9")
