"""The scope of an HTTP exchange: what a checked request head and a connection's facts look like in ASGI.

Called once per request by `connection/`. The rules are those of ASGI's "HTTP Connection Scope".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from asgiserve.asgi.tls import TlsFacts
    from asgiserve.events import RequestHead
    from asgiserve.types import Scope

__all__ = ["HTTP_SPEC_VERSION", "Mount", "Peer", "http_scope"]

HTTP_SPEC_VERSION: Final = "2.3"
"""2.4 would promise that `send()` raises after a disconnect, and Starlette then stops listening for
`http.disconnect`: an idle stream would never end. 2.3 with a silent `send()` is the pair that works."""

_PERCENT: Final = ord("%")
"""Looked for as a number: `bytes in bytes` makes, and drops, an error first (1,600 instructions)."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The two ends of a connection as a scope tells them."""

    client: tuple[str, int] | None
    """Address and port; None on a Unix socket."""
    server: tuple[str, int | None] | None
    """Address and port, or the Unix socket's path and None."""
    scheme: str
    """"http" or "https"."""
    tls: TlsFacts | None = None
    """Of a connection over TLS."""


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a proxy serves the application.

    Whether it strips the path is never guessed from a target: behind a proxy that does, "/api/api/x" would pass for
    "/api/x", and go past whatever the proxy forbids there.
    """

    root_path: str = ""
    """ASGI's `root_path`."""
    kept: bool = False
    """Targets have the root path as the client has sent it; otherwise the proxy strips it, and `path` has it again."""


def http_scope(
    head: RequestHead, peer: Peer, mount: Mount, state: dict[str, Any], *, takes_files: bool = False
) -> Scope:
    """The scope of one exchange. `state` is the lifespan's: every request gets a shallow copy of its own.

    `takes_files`: the application is offered to name files as bodies.

    Every dict in it is a fresh one, since the application may write into it.
    """
    raw_path = head.raw_path
    # RFC 3986 octets that are no UTF-8 have no faithful text; `raw_path` keeps them exactly.
    path = unquote_to_bytes(raw_path).decode("utf-8", "replace") if _PERCENT in raw_path else raw_path.decode("ascii")
    root_path = mount.root_path
    if root_path and not mount.kept and path != "*":
        path = root_path + path
    extensions: dict[str, Any] = {}
    if head.http_version != "1.0":  # which has no words for them
        extensions = {"http.response.early_hint": {}, "http.response.trailers": {}}
    if takes_files:
        extensions["http.response.pathsend"] = {}
        extensions["http.response.zerocopysend"] = {}
    if peer.tls is not None:
        extensions["tls"] = peer.tls.extension()
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": HTTP_SPEC_VERSION},
        "http_version": head.http_version,
        "method": head.method,
        "scheme": peer.scheme,
        "path": path,
        "raw_path": raw_path,
        "query_string": head.query,
        "root_path": root_path,
        "headers": head.headers,
        "client": peer.client,
        "server": peer.server,
        "state": state.copy(),
        "extensions": extensions,
    }
