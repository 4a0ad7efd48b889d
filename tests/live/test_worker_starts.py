"""How a worker's process comes to be: what it imports from, and what the supervisor needs for it."""

from __future__ import annotations

import sys
import zipapp
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import asgiserve
from tests.live.backends import one_loop_per_library
from tests.support.processes import ran

if TYPE_CHECKING:
    from tests.live.backends import Backend
    from tests.live.conftest import LiveServers

pytestmark = [pytest.mark.live, one_loop_per_library]

SAYS_WHERE_FROM = """
import asgiserve

print("a worker imports", asgiserve.__file__)
"""

VENDORS = """
import sys

sys.path.insert(0, "vendored.zip")
import asgiserve.cli

sys.exit(asgiserve.cli.main())
"""


@pytest.mark.parametrize("start", ["vendored.zip", "program.py"])
def test_workers_are_of_the_asgiserve_that_has_started_them(anyio_backend: Backend, tmp_path: Path, start: str) -> None:
    """Here one in a zip file, as zipapp and pex make them. The one that is installed is another one."""
    package = Path(asgiserve.__file__).parent
    target = tmp_path / "vendored.zip"
    zipapp.create_archive(package.parent, target, main="asgiserve.cli:main", filter=lambda path: path.suffix != ".pyc")
    (tmp_path / "program.py").write_text(VENDORS)
    (tmp_path / "says_where_from.py").write_text(SAYS_WHERE_FROM)

    options = ["--workers", "2", "--port", "0", "--backend", anyio_backend[0], "says_where_from:app"]
    done = ran([sys.executable, start, *options], cwd=tmp_path)

    assert done.returncode == 3  # there is no app in it
    imported = done.stdout.removeprefix("a worker imports ").rstrip("\n")
    assert tmp_path / imported == target / "asgiserve" / "__init__.py", done.stderr


HAS_NO_THREADS = """
import sys, threading

from asgiserve.cli import main

start, started = threading.Thread.start, []

def start_if_possible(thread):
    started.append(thread)
    if len(started) > 3:  # two of the last resort
        raise RuntimeError("can't start new thread")
    start(thread)

threading.Thread.start = start_if_possible
sys.argv[:] = sys.argv[sys.argv.index("asgiserve"):]
main()
"""


def test_a_supervisor_that_can_start_no_more_threads_starts_workers_all_the_same(live_server: LiveServers) -> None:
    """As under a limit on processes, which counts threads too. trio has one more, for all."""
    server = live_server("tests.live.worker_site:app", workers=3, wrapper=[sys.executable, "-c", HAS_NO_THREADS])

    assert len(set(server.wait_workers(3))) == 3
