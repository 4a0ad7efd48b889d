"""curl against the server: methods, uploads, expectations, old versions, connections that are used again."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.applications import BLOCK, blocks, report, too_large
from tests.live.curl import curl, needs_curl

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.conftest import LiveServers

pytestmark = [pytest.mark.live, needs_curl]

UPLOAD = BLOCK * 16


def told(*arguments: str, data: bytes = b"") -> dict[str, Any]:
    """What the application says of curl's request."""
    answer: dict[str, Any] = json.loads(curl(*arguments, data=data)[0])
    return answer


def test_get(live_server: LiveServers) -> None:
    request = told(f"{live_server(report).url}/a%20path?x=1&y=2")

    assert (request["method"], request["path"], request["query"]) == ("GET", "/a path", "x=1&y=2")
    assert request["http_version"] == "1.1"
    assert request["size"] == 0


def test_post_with_a_content_length(live_server: LiveServers) -> None:
    request = told("--data-binary", "@-", live_server(report).url, data=UPLOAD)

    assert (request["method"], request["size"]) == ("POST", len(UPLOAD))
    assert request["sha256"] == hashlib.sha256(UPLOAD).hexdigest()
    assert request["headers"]["content-length"] == str(len(UPLOAD))


def test_chunked_upload_from_a_pipe(live_server: LiveServers) -> None:
    request = told("-T", "-", f"{live_server(report).url}/up", data=UPLOAD)

    assert (request["method"], request["size"]) == ("PUT", len(UPLOAD))
    assert request["sha256"] == hashlib.sha256(UPLOAD).hexdigest()
    assert request["headers"]["transfer-encoding"] == "chunked"


def test_a_client_that_expects_100_is_told_to_continue(live_server: LiveServers) -> None:
    # curl would send its body anyway after its own timeout, so that is set beyond ours for the whole run.
    expectation = ["--header", "Expect: 100-continue", "--expect100-timeout", "60"]

    _, log = curl("--verbose", *expectation, "--data-binary", "@-", live_server(report).url, data=UPLOAD)

    statuses = [line for line in log.splitlines() if line.startswith("< HTTP/")]
    assert statuses == ["< HTTP/1.1 100 Continue", "< HTTP/1.1 200 OK"]


def test_http_1_0_gets_an_unframed_stream_and_a_closed_connection(live_server: LiveServers) -> None:
    body, log = curl("--verbose", "--http1.0", live_server(blocks).url)

    assert body == BLOCK * 160
    assert "transfer-encoding" not in log.lower()
    assert "left intact" not in log


def test_http_1_0_request_is_told_as_such(live_server: LiveServers) -> None:
    assert told("--http1.0", live_server(report).url)["http_version"] == "1.0"


def test_head_has_the_length_of_get_and_no_body(live_server: LiveServers) -> None:
    fields, _ = curl("--head", f"{live_server(blocks).url}/whole")

    assert fields.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-length: 10485760\r\n" in fields.lower()
    assert fields.endswith(b"\r\n\r\n")


def test_requests_share_a_connection(live_server: LiveServers) -> None:
    url = live_server(report).url

    body, log = curl("--verbose", f"{url}/first", f"{url}/second", f"{url}/third")

    assert body.count(b'"path"') == 3
    assert "left intact" in log
    assert log.count("Re-using existing") == 2


@pytest.mark.parametrize("by", ["application", "server"])
def test_an_early_refusal_of_a_large_upload_is_read(live_server: LiveServers, tmp_path: Path, by: str) -> None:
    """100 MB are on their way when the answer comes, and curl, which reads meanwhile, stops there. Without an Expect
    field it sends at once."""
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(100_000_000)
    server = live_server(too_large) if by == "application" else live_server(report, limit_request_body=1000)

    body, _ = curl("-H", "Expect:", "-T", str(large), "--write-out", "%{http_code}", server.url)

    assert body.endswith(b"413")
    if by == "application":
        assert body == b"too much413"
