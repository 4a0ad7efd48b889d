"""wrk against the server: many connections, as fast as they can, for two seconds."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import ran

if TYPE_CHECKING:
    from tests.live.conftest import LiveServers

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not on this machine"),
]


def test_no_request_fails(live_server: LiveServers) -> None:
    server = live_server("tests.live.applications:report", access_log=False)

    words = ["wrk", "--threads", "1", "--connections", "64", "--duration", "2s", f"{server.url}/"]
    done = ran(words)

    assert done.returncode == 0, done.stderr
    assert "Socket errors" not in done.stdout, done.stdout
    assert "Non-2xx" not in done.stdout, done.stdout
    requests = re.search(r"(\d+) requests in", done.stdout)
    assert requests
    assert int(requests[1]) > 64
