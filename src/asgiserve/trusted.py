"""Whose word is taken: the proxies that may say where a connection or a request came from.

Made once, of the setting `forwarded_allow_ips`, by setting_values.py. The drivers ask it of a connection's peer; the
rules in `protocols/proxy/` ask it of each proxy that is named on the way. What is believed is not decided here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv6Address, IPv6Network, ip_network
from typing import TYPE_CHECKING, Final, Self, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Network

__all__ = ["Address", "Trusted", "address_of"]

Address: TypeAlias = IPv4Address | IPv6Address

_MAPPED_BITS: Final = 96
"""Bits in front of an IPv4 address within an IPv6 one (RFC 4291 2.5.5.2)."""


def address_of(text: str) -> Address | None:
    """The address that this is, as exactly as ipaddress wants it; None for anything else.

    An IPv4 address that is mapped into IPv6 is the IPv4 address: sockets for both families report them so, and a
    client must not become another one by the way that it is written. A zone is no part of an address elsewhere.
    """
    try:
        if ":" not in text:
            return IPv4Address(text)
        address = IPv6Address(text)
    except AddressValueError:
        return None
    return None if address.scope_id else address.ipv4_mapped or address


@dataclass(frozen=True, slots=True)
class Trusted:
    """Addresses, networks, `*` and `unix`."""

    names: tuple[str, ...]
    """As they were given."""
    everyone: bool = field(default=False, repr=False)
    """Whoever connects is believed. That is no word about whom they name: see `names_proxy`."""
    unix: bool = field(default=False, repr=False)
    """Whoever connects to a Unix socket is believed."""
    networks: tuple[IPv4Network | IPv6Network, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return ",".join(self.names)

    @classmethod
    def of(cls, names: Iterable[str]) -> Self:
        """Raises ValueError for a name that is no address, no network, not `*` and not `unix`."""
        given = tuple(names)
        return cls(
            given,
            everyone="*" in given,
            unix="unix" in given,
            networks=tuple(_network(name) for name in given if name not in ("*", "unix")),
        )

    def believes(self, client: tuple[str, int] | None, server: tuple[str, int | None] | None) -> bool:
        """Whether a connection's peer is one of them; its two ends are as in ASGI's scope."""
        if self.everyone:
            return True
        if client is not None:
            address = address_of(client[0].partition("%")[0])
            return address is not None and self.names_proxy(address)
        # Without a client: a Unix socket if our own end has no port, else somebody who is gone already.
        return self.unix and server is not None and server[1] is None

    def names_proxy(self, address: Address) -> bool:
        """Whether this address belongs to one of the proxies. `*` names nobody: behind it, every client could name
        a client of its own."""
        return any(address in network for network in self.networks)


def _network(name: str) -> IPv4Network | IPv6Network:
    network = ip_network(name)
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ip_network((mapped, network.prefixlen - _MAPPED_BITS))
    return network
