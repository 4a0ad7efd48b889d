"""What `--reload` watches: patterns mean what they mean in uvicorn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asgiserve.config import Processes
from asgiserve.errors import ConfigError
from asgiserve.supervise.changes import Watched

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
