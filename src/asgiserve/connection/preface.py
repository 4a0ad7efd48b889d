"""The PROXY protocol at the beginning of a connection: receiving the header, and whom the connection comes from.

The header's rules are in `protocols/proxy/`. Called by `opening.py`, before TLS and under its deadline.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from asgiserve import logs
from asgiserve.errors import RemoteProtocolError
from asgiserve.events import NEED_DATA
from asgiserve.protocols.proxy import MAX_PREFACE, read_preface

if TYPE_CHECKING:
    from asgiserve.asgi.scope import Peer
    from asgiserve.connection.service import Service
    from asgiserve.streams import Stream

__all__ = ["receive_preface"]


async def receive_preface(service: Service, stream: Stream, peer: Peer) -> tuple[Peer, bytes]:
    """The peer that the header names, and the bytes that came behind it.

    Raises RemoteProtocolError for a peer that is not trusted and for one that sends anything else, and what
    `stream.receive` raises.
    """
    if not service.proxies.forwarded_allow_ips.believes(peer.client, peer.server):
        _warn_once(service, peer)
        raise RemoteProtocolError("the peer is no trusted proxy")
    received = b""
    while (preface := read_preface(received)) is NEED_DATA:
        received += await stream.receive(MAX_PREFACE - len(received))
    if preface.known:
        peer = replace(peer, client=preface.client, server=preface.server)
    return peer, received[preface.length :]


def _warn_once(service: Service, peer: Peer) -> None:
    """Tell the operator, who may have forgotten an address; but strangers must not be able to fill the log."""
    if not service.strangers_seen:
        service.strangers_seen = True
        client = "A peer on a Unix socket" if peer.client is None else peer.client[0]
        logs.log_warning(f"{client} is not in forwarded_allow_ips: with proxy_protocol, its connections are closed.")
