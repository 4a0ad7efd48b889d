"""The two ends of a connection, from a stream's addresses to what a scope says."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from asgiserve.asgi.scope import Peer

if TYPE_CHECKING:
    from asgiserve.streams import Stream

__all__ = ["peer_of"]


def peer_of(stream: Stream, *, secure: bool) -> Peer:
    """The peer of a stream. Never fails: a peer that is gone already is simply unknown."""
    local, remote = stream.addresses()
    return Peer(
        client=(str(remote[0]), int(remote[1])) if isinstance(remote, tuple) else None,
        server=(str(local[0]), int(local[1])) if isinstance(local, tuple) else _unix(local),
        scheme="https" if secure else "http",
    )


def _unix(path: object) -> tuple[str, None] | None:
    if isinstance(path, bytes) and path.startswith(b"\0"):
        return f"@{os.fsdecode(path[1:])}", None  # an abstract socket, as the settings write it
    return (path, None) if isinstance(path, str) else None
