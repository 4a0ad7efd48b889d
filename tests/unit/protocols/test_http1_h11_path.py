"""h11 as the second reader: what the first let through by mistake, it still refuses."""

from __future__ import annotations

import pytest

from asgiserve.config import Limits
from asgiserve.errors import RemoteProtocolError
from asgiserve.events import RequestHead
from asgiserve.protocols.http1.h11_path import H11Request

CHECKED = RequestHead("GET", b"/", b"", "1.1", [(b"host", b"h")], 0, True, False, b"")


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n",
    ],
)
def test_a_head_that_h11_does_not_accept_is_refused(head: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="more than one way"):
        H11Request(Limits()).read_head(head, CHECKED)


def test_the_fields_are_the_ones_that_h11_reads() -> None:
    head = H11Request(Limits()).read_head(b"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n", CHECKED)
    assert head.headers == [(b"host", b"h"), (b"a", b"b")]
