"""Whether a request that asks for another protocol becomes a WebSocket; otherwise it is a request as any other.

Called by the driver of HTTP/1 for requests with an upgrade alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgiserve import logs

if TYPE_CHECKING:
    from asgiserve.connection.service import Service
    from asgiserve.events import RequestHead

__all__ = ["becomes_websocket"]


def becomes_websocket(service: Service, head: RequestHead) -> bool:
    """Whether `head`, which has an upgrade, is the handshake of a WebSocket."""
    if head.upgrade != b"websocket" or service.websockets.ws != "auto":
        return False
    if head.http_version == "1.1":
        return True
    # RFC 9110 7.8: an Upgrade that comes by HTTP/1.0 is ignored. The client sees what the application has for a GET, a
    # 404 as a rule, and nobody would know why. Once: strangers must not be able to fill the log.
    if not service.old_upgrade_seen:
        service.old_upgrade_seen = True
        path = logs.printable_bytes(head.raw_path)
        logs.log_warning(
            f"A request for a WebSocket ({path}) has come by HTTP/1.0, which has none: it is served as a plain request."
            " If a proxy has sent it, that has to speak HTTP/1.1: nginx needs `proxy_http_version 1.1`."
        )
    return False
