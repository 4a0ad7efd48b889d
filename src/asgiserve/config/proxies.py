"""Whom to believe where a connection or a request comes from. The rules are in `protocols/proxy/`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from asgiserve import setting_values as values
from asgiserve.declaring import Group, setting
from asgiserve.trusted import Trusted

__all__ = ["Proxies"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxies(Group):
    """Whom to believe where a connection or a request comes from."""

    panel: ClassVar[str] = "Proxies"

    proxy_headers: bool = setting(
        True, values.flag, "Take client, scheme and more from what trusted proxies say in a request's fields."
    )
    forwarded_allow_ips: Trusted = setting(
        Trusted.of(("127.0.0.1", "::1")),
        values.trusted,
        "The trusted proxies: addresses, networks, unix for peers on Unix sockets, * for every peer.",
    )
    forwarded_fields: str = setting(
        "for,proto",
        values.forwarded_fields,
        "What is believed: for, proto, host, port and prefix of X-Forwarded-*, or forwarded (RFC 7239). Name what your"
        " proxy sets for every request: the rest is its client's word.",
    )
    proxy_protocol: bool = setting(
        False, values.flag, "Every connection is from a trusted proxy, and begins with a PROXY header (version 1 or 2)."
    )
