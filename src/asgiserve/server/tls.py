"""TLS contexts made of settings: certificates, keys and authorities from files, and from these again when they change.

Called by `serve.py`. What a handshake does with a context is in `connection/tls.py` and `streams/tls.py`.

Theory of operation. Files are never loaded into a context that is in use: a certificate whose key does not fit would
leave it with neither. A new one is made of all files, and takes the old one's place for the handshakes that begin from
then on; if it cannot be made, the old one stays. Connections that are open keep theirs.
"""

from __future__ import annotations

import os
import re
import ssl
from typing import TYPE_CHECKING, Final

import anyio

from asgiserve import logs
from asgiserve.backend import ki_protected
from asgiserve.connection.tls import ServerContext
from asgiserve.errors import ConfigError, quoted

if TYPE_CHECKING:
    from collections.abc import Callable

    from asgiserve.config import Tls

__all__ = ["Certificates", "check_context", "server_context"]

_LOOK_SECONDS: Final = 5.0
"""How often the files are looked at."""

_PROTOCOLS: Final = ["http/1.1"]
"""What is spoken over TLS, for ALPN (RFC 7301)."""

_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_VERIFY: Final = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}

_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")
_KEY: Final = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")


class Certificates:
    """The context of a server whose certificates are files."""

    def __init__(self, tls: Tls) -> None:
        """Raises ConfigError."""
        self._tls = tls
        self._seen = self._look()
        self._unread = ""
        """Why the files, as they are, could not be read; it may pass without a change of theirs."""
        self._told = ""
        """What is not told again."""
        self.context: ssl.SSLContext = server_context(tls)
        """For the next handshake."""
        if tls.ssl_ca_certs is not None and tls.ssl_cert_reqs == "none":
            logs.log_warning("No client is asked for a certificate: ssl_ca_certs does nothing without ssl_cert_reqs.")

    @ki_protected
    async def watch(self, changed: Callable[[], None]) -> None:
        """Look at the files until cancelled; 2 µs a file. Whatever differs, or could not be read, is `changed`."""
        while True:
            await anyio.sleep(_LOOK_SECONDS)
            same = self._look() == self._seen
            if same and not self._unread:
                continue
            self._told = self._unread if same else ""
            changed()
            self._told = ""

    def reload(self) -> None:
        """Load the files, for the handshakes from now on. What cannot be used changes nothing, and is logged."""
        # Looked at before they are read: whoever writes to one meanwhile is noticed at the next look. Read on the loop:
        # it takes 1.6 ms (27 with all the authorities that a system trusts), and only after a change.
        self._seen, self._unread = self._look(), ""
        try:
            self.context = server_context(self._tls)
        except ConfigError as error:
            if _may_pass(error):
                self._unread = str(error)
            if str(error) != self._told:
                logs.log_error(f"The TLS certificates stay as they were: {error}")
        else:
            logs.log_info("The TLS certificates were read again.")

    def _look(self) -> list[tuple[int, ...] | None]:
        return [_signature(path) for path in _files(self._tls)]


def _may_pass(error: ConfigError) -> bool:
    """Whether the same files may be used at the next look: the system could not read them, having no descriptor left
    for instance. What OpenSSL has found in them stays."""
    return isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, ssl.SSLError)


def _files(tls: Tls) -> list[str]:
    files = [tls.ssl_certfile, tls.ssl_keyfile, tls.ssl_ca_certs]
    for _, certfile, keyfile in tls.ssl_sni:
        files += [certfile, keyfile]
    return [path for path in files if path is not None]


def _signature(path: str) -> tuple[int, ...] | None:
    """What is different when a file was written, replaced (also behind a link) or made readable."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: the system has no such names
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


# --- making contexts --------------------------------------------------------------------------


def check_context(context: object, tls: Tls) -> None:
    """Look at one that somebody has made, before any connection fails with it. Raises ConfigError."""
    if not isinstance(context, ssl.SSLContext):
        raise ConfigError(f"ssl_context: expected an ssl.SSLContext, but got {quoted(context)}")
    if context.protocol == ssl.PROTOCOL_TLS_CLIENT:
        raise ConfigError("ssl_context: is one for clients; ssl.PROTOCOL_TLS_SERVER makes one for servers")
    if tls.ssl_certfile is not None:
        raise ConfigError("ssl_certfile: is no use beside an ssl_context, which has its own certificates")


def server_context(tls: Tls) -> ServerContext:
    """A context for these settings. Raises ConfigError, which names the setting, the file and what is wrong."""
    assert tls.ssl_certfile is not None
    context = _context(tls, "ssl_certfile", tls.ssl_certfile, "ssl_keyfile", tls.ssl_keyfile)
    if tls.ssl_sni:
        context.sni_callback = _choice(
            {host: _context(tls, "ssl_sni", certfile, "ssl_sni", key) for host, certfile, key in tls.ssl_sni}
        )
    return context


def _choice(contexts: dict[str, ServerContext]) -> Callable[[ssl.SSLObject, str | None, ssl.SSLContext], None]:
    """What OpenSSL calls when it knows which host the client wants."""

    def choose(tls: ssl.SSLObject, host: str | None, default: ssl.SSLContext) -> None:
        if host is not None:
            host = host.lower()
            # A star stands for one label (RFC 9525 6.3).
            chosen = contexts.get(host) or contexts.get(f"*.{host.partition('.')[2]}")
            if chosen is not None:
                tls.context = chosen

    return choose


def _context(tls: Tls, cert_setting: str, certfile: str, key_setting: str, keyfile: str | None) -> ServerContext:
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    # Until OpenSSL 3 a client may ask for new handshakes without end.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(_PROTOCOLS)
    context.minimum_version = _VERSIONS[tls.ssl_minimum_version if tls.ssl_version == "any" else tls.ssl_version]
    if tls.ssl_version != "any":
        context.maximum_version = _VERSIONS[tls.ssl_version]
    if tls.ssl_ciphers is not None:
        try:
            context.set_ciphers(tls.ssl_ciphers)
        except (ssl.SSLError, ValueError):
            raise ConfigError(f"ssl_ciphers: OpenSSL finds no cipher in {tls.ssl_ciphers!r}") from None
    _Pair(cert_setting, certfile, key_setting, keyfile, tls).load_into(context)
    context.verify_mode = _VERIFY[tls.ssl_cert_reqs]
    if tls.ssl_ca_certs is not None:
        _read("ssl_ca_certs", tls.ssl_ca_certs)
        try:
            context.load_verify_locations(tls.ssl_ca_certs)
        except OSError as error:  # an SSLError, or the file was taken away under our hands
            raise ConfigError(f"ssl_ca_certs: no certificates in PEM in {tls.ssl_ca_certs!r}") from error
    return context


class _Pair:
    """A certificate with its key, and the settings that name them."""

    def __init__(self, cert_setting: str, certfile: str, key_setting: str, keyfile: str | None, tls: Tls) -> None:
        self._cert_setting, self._certfile = cert_setting, certfile
        self._key_setting, self._keyfile = key_setting, keyfile
        self._password = tls.ssl_keyfile_password
        self._decrypted = False
        """The key is encrypted, and the password was tried."""

    def load_into(self, context: ServerContext) -> None:
        content = _read(self._cert_setting, self._certfile)
        found = _CERTIFICATE.search(content)
        if found is None:
            raise ConfigError(f"{self._cert_setting}: there is no certificate in PEM in {self._certfile!r}")
        if self._keyfile is not None:
            content = _read(self._key_setting, self._keyfile)
        if not _KEY.search(content):
            hint = "; which file has it?" if self._keyfile is None else ""
            raise ConfigError(f"{self._key_setting}: there is no private key in PEM in {self._key_path!r}{hint}")
        try:
            # Without a function OpenSSL would ask for a password on the terminal, and wait.
            context.load_cert_chain(self._certfile, self._keyfile, password=self._give_password)
            context.certificate = _normal(found[0])
        except ConfigError:
            raise
        except (OSError, ValueError) as error:  # an SSLError, or the file was taken away under our hands
            raise ConfigError(self._explain(error)) from error

    @property
    def _key_path(self) -> str:
        return self._keyfile or self._certfile

    def _give_password(self) -> str:
        if self._password is None:
            raise ConfigError(f"ssl_keyfile_password: is missing, and the key in {self._key_path!r} is encrypted")
        self._decrypted = True
        return self._password

    def _explain(self, error: OSError | ValueError) -> str:
        reason = getattr(error, "reason", None)
        if reason in _MISMATCHES:
            return f"{self._key_setting}: the key in {self._key_path!r} is not that of {self._certfile!r}"
        if self._decrypted:
            return f"ssl_keyfile_password: does not decrypt the key in {self._key_path!r}"
        what = (reason or str(error)).replace("_", " ").lower()
        return f"{self._cert_setting}: {self._certfile!r} or its key cannot be used: {what}"


_MISMATCHES: Final = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})
"""The last one: a certificate is there, but for another kind of key."""


def _read(setting: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise ConfigError(f"{setting}: cannot read {path!r}: {reason}") from error


def _normal(certificate: bytes) -> str:
    """PEM with lines as long as they should be, and nothing around it."""
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(certificate.decode("ascii")))
