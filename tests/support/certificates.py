"""Certificates in files, as users name them, and clients that trust them."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Authority", "Pair", "self_signed"]


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, in two files."""

    certfile: Path
    keyfile: Path

    @property
    def settings(self) -> dict[str, str]:
        return {"ssl_certfile": str(self.certfile), "ssl_keyfile": str(self.keyfile)}

    @property
    def certificate(self) -> str:
        """The file's first certificate."""
        return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(self.certfile.read_text()))

    def sni(self, host: str) -> tuple[str, str, str]:
        return host, str(self.certfile), str(self.keyfile)


class Authority:
    """Whom servers and clients trust."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._directory = directory
        self._ca = trustme.CA()
        self.file = directory / f"{name}.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def pair(self, *identities: str, name: str = "server", password: bytes | None = None, **names: Any) -> Pair:
        """Issue a certificate into `<name>.pem` and `<name>.key`. Written over what is there."""
        issued = self._ca.issue_cert(*(identities or ("localhost",)), **names)
        pair = Pair(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        key = issued.private_key_pem.bytes()
        if password is not None:
            loaded = load_pem_private_key(key, None)
            key = loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password))
        pair.certfile.write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
        pair.keyfile.write_bytes(key)
        return pair

    def client(self, own: trustme.LeafCert | None = None, change: Callable[[ssl.SSLContext], Any] | None = None) -> Any:
        """What a client connects with; `own` is its certificate."""
        context = ssl.create_default_context()
        self._ca.configure_trust(context)
        if own is not None:
            own.configure_cert(context)
        if change is not None:
            change(context)
        return context

    def issue(self, *identities: str, **names: Any) -> trustme.LeafCert:
        return self._ca.issue_cert(*identities, **names)

    def below(self) -> trustme.CA:
        """An authority that this one vouches for."""
        return self._ca.create_child_ca()


def self_signed(directory: Path, subject: x509.Name) -> Pair:
    """A certificate with exactly this subject, which is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    alternative = x509.SubjectAlternativeName([x509.DNSName("client.test")])
    certificate = made.add_extension(alternative, critical=True).sign(key, SHA256())
    pair = Pair(directory / "self.pem", directory / "self.key")
    pair.certfile.write_bytes(certificate.public_bytes(Encoding.PEM))
    pair.keyfile.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return pair
