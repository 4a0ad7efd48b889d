"""ASGI's `tls` extension: what a scope tells of the TLS connection that its request came over.

What lives here: the extension's form, and names as RFC 4514 writes them. What does not: asking a TLS connection for
all this, which `connection/tls.py` does, once per connection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["DistinguishedName", "TlsFacts", "distinguished_name"]

DistinguishedName = tuple[tuple[tuple[str, str | bytes], ...], ...]
"""Relative names as the certificate has them, each of one or more pairs of an attribute's name and its value: the form
of `ssl.SSLSocket.getpeercert()`. A value of bytes is a bit string's."""


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """What is known of a TLS connection, and the same for each of its requests."""

    server_cert: str | None
    """The certificate that the server sent, in PEM; None if it is not known."""
    client_cert_chain: tuple[str, ...]
    """What the client sent, in PEM, its own certificate first."""
    client_cert_name: str | None
    tls_version: int | None
    cipher_suite: int | None
    _form: dict[str, Any] = field(init=False, repr=False, compare=False)
    """What requests get copies of: to make it anew for each costs twice as much."""

    def __post_init__(self) -> None:
        form = {
            "server_cert": self.server_cert,
            "client_cert_chain": (),
            "client_cert_name": self.client_cert_name,
            # A certificate that cannot be verified ends the handshake: there is no request that could tell of it.
            "client_cert_error": None,
            "tls_version": self.tls_version,
            "cipher_suite": self.cipher_suite,
        }
        object.__setattr__(self, "_form", form)

    def extension(self) -> dict[str, Any]:
        """The scope's `extensions["tls"]`: a new one each time, since the application may write into it."""
        extension = self._form.copy()
        extension["client_cert_chain"] = [*self.client_cert_chain]
        return extension


# --- RFC 4514 ---------------------------------------------------------------------------------

_DESCRIPTORS: Final = {
    # RFC 4514 3
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
    # registered as well (RFC 4519, RFC 2985), where OpenSSL's name is another
    "surname": "sn",
}
"""OpenSSL's names of attributes, and what LDAP calls them. Others that OpenSSL knows (serialNumber, givenName, title,
emailAddress) have one name."""

_ESCAPED: Final = re.compile(r'^[ #]|[",+;<>\\\x00-\x1f\x7f]| $')
"""What must be escaped (RFC 4514 2.4), and control characters, which may be."""


def distinguished_name(name: DistinguishedName) -> str:
    """A certificate's subject as one text, the last relative name first (RFC 4514 2.1)."""
    return ",".join("+".join(_pair(key, value) for key, value in pairs) for pairs in reversed(name))


def _pair(name: str, value: str | bytes) -> str:
    # What has no text, or an attribute that has only a number, is encoded (2.4).
    if isinstance(value, bytes):
        return f"{name}=#{_ber(_BIT_STRING, bytes(1) + value).hex()}"
    if name[:1].isdigit():
        return f"{name}=#{_ber(_UTF8_STRING, value.encode()).hex()}"
    return f"{_DESCRIPTORS.get(name, name)}={_ESCAPED.sub(_escape, value)}"


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    return f"\\{character}" if character >= " " and character != "\x7f" else f"\\{ord(character):02x}"


_BIT_STRING: Final = 0x03
_UTF8_STRING: Final = 0x0C


def _ber(tag: int, content: bytes) -> bytes:
    """Tag, length and content (X.690 8.1)."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content
