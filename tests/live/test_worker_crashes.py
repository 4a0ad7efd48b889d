"""Workers that die again and again. The waits between are real ones, some ten seconds in all: on one loop only, since
the rules are tested in tests/unit/supervise and know no loop."""

from __future__ import annotations

import pytest

from tests.live.servers import command
from tests.support.processes import ran

pytestmark = pytest.mark.live


def test_workers_that_end_as_soon_as_they_start_end_the_supervisor() -> None:
    done = ran(command("tests.live.worker_site:dies_young", ("trio", {}), {"workers": 2, "port": 0}))

    assert done.returncode == 1
    assert done.stderr.endswith("Error: Workers end as soon as they start, again and again.\n")
    assert "ended with exit code 5; another one is started in 4 s." in done.stderr
