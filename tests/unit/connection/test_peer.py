"""What a scope tells of the two ends of a connection, from what its stream knows of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from anyio.abc import SocketAttribute

from asgiserve.asgi.scope import Peer
from asgiserve.connection.peer import peer_of
from asgiserve.testing import MemoryStream, memory_stream_pair

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@pytest.mark.parametrize(
    ("local", "remote", "expected"),
    [
        (("10.0.0.1", 80), ("10.0.0.2", 4000), Peer(("10.0.0.2", 4000), ("10.0.0.1", 80), "http")),
        (("::1", 80), ("::1", 4000), Peer(("::1", 4000), ("::1", 80), "http")),
        ("/run/app.sock", "", Peer(None, ("/run/app.sock", None), "http")),
        (b"\0app", "", Peer(None, ("@app", None), "http")),
    ],
)
def test_both_ends_are_told_as_asgi_wants_them(local: Any, remote: Any, expected: Peer) -> None:
    server, _ = memory_stream_pair(local_address=local, remote_address=remote)
    assert peer_of(server, secure=False) == expected


def test_tls_is_https() -> None:
    assert peer_of(memory_stream_pair()[0], secure=True).scheme == "https"


class Gone(MemoryStream):
    """A stream whose peer was gone before anybody asked who it is."""

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        def fail() -> Any:
            raise OSError(107, "Transport endpoint is not connected")

        return {**super().extra_attributes, SocketAttribute.remote_address: fail}


def test_a_peer_that_is_gone_already_is_unknown() -> None:
    stream = Gone(1000, ("10.0.0.1", 80), ("10.0.0.2", 4000))
    assert peer_of(stream, secure=False) == Peer(None, ("10.0.0.1", 80), "http")
