"""The settings of TLS. What a context is made of them is in `server/tls.py`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from asgiserve import setting_values as values
from asgiserve.declaring import Group, setting
from asgiserve.errors import ConfigError

__all__ = ["Tls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls(Group):
    """TLS (https, wss) with certificates from files, which are read again when they change."""

    panel: ClassVar[str] = "TLS"

    ssl_certfile: str | None = setting(
        None, values.optional_path, "The certificate in PEM, the chain behind it. With it the server speaks TLS."
    )
    ssl_keyfile: str | None = setting(None, values.optional_path, "Its key. [default: in the certificate's file]")
    ssl_keyfile_password: str | None = setting(None, values.secret, "What encrypted keys are encrypted with.")
    ssl_version: str = setting(
        "any", values.choice("any", "1.2", "1.3", numbers={2: "any", 5: "1.2", 17: "any"}), "Only this version of TLS."
    )
    ssl_minimum_version: str = setting("1.2", values.choice("1.2", "1.3"), "The oldest version of TLS.")
    ssl_cert_reqs: str = setting(
        "none",
        values.choice("none", "optional", "required", numbers={0: "none", 1: "optional", 2: "required"}),
        "Whether clients are asked for a certificate.",
    )
    ssl_ca_certs: str | None = setting(
        None, values.optional_path, "The authorities, in PEM, that clients' certificates must come from."
    )
    ssl_ciphers: str | None = setting(
        None, values.optional_text, "Ciphers of TLS 1.2, as OpenSSL's list. [default: Python's]"
    )
    ssl_sni: tuple[tuple[str, str, str | None], ...] = setting(
        (),
        values.sni_certificates,
        "Another certificate for clients that ask for this host, *.example.com for any below it. Repeatable.",
    )

    def __post_init__(self) -> None:
        Group.__post_init__(self)
        for one in fields(self) if self.ssl_certfile is None else ():
            if getattr(self, one.name) != one.default:
                raise ConfigError(f"{one.name}: is for TLS, which needs ssl_certfile")
        if self.ssl_cert_reqs != "none" and self.ssl_ca_certs is None:
            raise ConfigError(f"ssl_cert_reqs: {self.ssl_cert_reqs} needs ssl_ca_certs, to verify certificates with")
        if (self.ssl_version, self.ssl_minimum_version) == ("1.2", "1.3"):
            raise ConfigError("ssl_version: 1.2 is older than ssl_minimum_version")
