"""Where one request comes from, as trusted proxies tell it in its fields: the ends and the mount of its scope.

Whether a connection's peer is believed is asked once per connection, and only if a request has such fields at all.
What the fields say is read by `protocols/proxy/`; here it is laid over what the connection itself knows. Called by the
drivers for each request that has them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from asgiserve.asgi.scope import Mount, Peer
from asgiserve.protocols.proxy import read_forwarding, split_host

if TYPE_CHECKING:
    from asgiserve.config import Proxies
    from asgiserve.events import RequestHead
    from asgiserve.protocols.proxy import Forwarding
    from asgiserve.types import Headers

__all__ = ["Origin", "origin_of_connection", "origin_of_request"]

_PORTS: Final = {"http": 80, "https": 443}


@dataclass(slots=True)
class Origin:
    """What scopes and log lines say. A connection has one, and so has each request of which proxies tell more."""

    peer: Peer
    mount: Mount
    client_name: str
    """Empty for a client on a Unix socket."""
    believed: bool | None = None
    """Whether the connection's peer is a trusted proxy; None as long as nobody had to ask."""


def origin_of_connection(peer: Peer, mount: Mount) -> Origin:
    """The origin of requests of which no proxy tells anything."""
    return Origin(peer, mount, "" if peer.client is None else f"{peer.client[0]}:{peer.client[1]}")


def origin_of_request(origin: Origin, head: RequestHead, proxies: Proxies) -> Origin:
    """The origin of one request of the connection with this origin, if its peer is believed. A host that is told
    replaces that of `head`: applications make links of it."""
    if not head.forwarding:
        return origin
    if origin.believed is None:
        trusted = proxies.forwarded_allow_ips
        origin.believed = proxies.proxy_headers and trusted.believes(origin.peer.client, origin.peer.server)
    if not origin.believed:
        return origin
    believed = proxies.forwarded_fields.split(",")
    told = read_forwarding(head.forwarding, believed, proxies.forwarded_allow_ips)
    own = origin.peer
    peer = Peer(told.client or own.client, own.server, told.scheme or own.scheme, own.tls)
    if told.host is not None or told.port is not None:
        peer = _place(head, peer, told)
    mount = origin.mount
    return origin_of_connection(peer, mount if told.prefix is None else Mount(told.prefix, mount.kept))


def _place(head: RequestHead, peer: Peer, told: Forwarding) -> Peer:
    """Put the host and the port that are told into the request. A port that stands in a host is the client's own
    word for it, `X-Forwarded-Port` the proxy's: it is for a host without one."""
    host = told.host
    if host is None:
        host = next((value for name, value in head.headers if name == b"host"), b"")
    name, port = split_host(host)
    usual = _PORTS[peer.scheme]
    if port is None:
        port = told.port or usual
        if name and port != usual:
            host = b"%s:%d" % (host.removesuffix(b":"), port)
    if not name:
        return peer if peer.server is None or peer.server[1] is None else replace(peer, server=(peer.server[0], port))
    head.headers = _with_host(head.headers, host)
    return replace(peer, server=(name, port))


def _with_host(headers: Headers, host: bytes) -> Headers:
    if not any(name == b"host" for name, _ in headers):
        return [(b"host", host), *headers]  # HTTP/1.0
    return [(name, host if name == b"host" else value) for name, value in headers]
