"""Where a server for tests listens, and how clients reach it: free ports, Unix sockets, throw-away certificates.

The sockets belong to the test, not to the server: so one server can follow another on the same address (`swap`), and
clients that come in between wait instead of being refused. trustme is imported here, only for who asks for TLS. Used
by `live.py`; `memory.py` takes the defaults.
"""

from __future__ import annotations

import os
import shutil
import ssl
import tempfile
from typing import TYPE_CHECKING, Any, Final

from asgiserve import logs
from asgiserve.config import Settings
from asgiserve.errors import ConfigError
from asgiserve.from_uvicorn import accepted
from asgiserve.server.binding import BoundSocket, bind_all
from asgiserve.server.listeners import SocketListener

if TYPE_CHECKING:
    from collections.abc import Mapping

    import trustme

__all__ = ["COURTESY", "Place"]

COURTESY: Final = {"timeout_shutdown_notice": 0, "timeout_graceful_shutdown": 2, "timeout_linger": 0}
"""When a test is over nobody needs the rest of a response: applications are told at once, and have two seconds."""

_WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class Place:
    """Sockets that listen, and the settings and certificates of whoever serves them."""

    def __init__(self, settings: Mapping[str, Any], *, tls: bool, ssl_context: ssl.SSLContext | None) -> None:
        if tls and ssl_context is not None:
            raise ConfigError("tls: makes a certificate of its own, and is no use beside an ssl_context")
        wanted = {**COURTESY, **settings}
        if not wanted.keys() & {"port", "uds", "fd", "bind"}:
            wanted["port"] = 0
        self._directory: str | None = None
        if wanted.get("uds") is True:
            # Directly in the system's directory for such things: a socket's path has at most 108 bytes.
            self._directory = tempfile.mkdtemp(prefix="asgiserve-")
            wanted["uds"] = os.path.join(self._directory, "socket")
        self._bound: list[BoundSocket] = []
        try:
            kept, notes = accepted(wanted)
            self.settings = Settings.of(kept)
            self._bound = bind_all(self.settings.bind)
            for one in self._bound:
                one.socket.listen(self.settings.bind.backlog)
            self._locate()
            self.ca: trustme.CA | None = None
            self.ssl_context = self._certified() if tls else ssl_context
        except BaseException:
            self.close()
            raise
        for note in notes:
            logs.log_info(note)

    def _locate(self) -> None:
        addresses = [one.socket.getsockname() for one in self._bound]
        inet = [address for address in addresses if isinstance(address, tuple)]
        paths = [os.fsdecode(address) for address in addresses if not isinstance(address, tuple)]
        # A URL leads to the first TCP port, or to the first of all places.
        self._plain = self._bound[addresses.index(inet[0]) if inet else 0].plain
        self.addresses = tuple(address[:2] if isinstance(address, tuple) else address for address in addresses)
        self.uds = paths[0] if paths else None
        self.port: int | None = inet[0][1] if inet else None
        # A name stays one, so that its certificate fits and clients try all of its addresses.
        named = self.settings.bind.host
        bound_to: str = inet[0][0] if inet else "localhost"
        self.host = named if named and named not in _WILDCARDS else _WILDCARDS.get(bound_to, bound_to)

    @property
    def secure(self) -> bool:
        """Whether the place that a URL leads to speaks TLS."""
        return not self._plain and (self.ssl_context is not None or self.settings.tls.ssl_certfile is not None)

    def url(self, scheme: str) -> str:
        """`scheme` is "http" or "ws", and gets its "s" where it needs one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        where = host if self.port is None else f"{host}:{self.port}"
        return f"{scheme}{'s' if self.secure else ''}://{where}"

    def listeners(self) -> list[SocketListener]:
        """For one server, which closes them; the sockets themselves go on listening."""
        return [SocketListener(BoundSocket(one.socket.dup(), plain=one.plain)) for one in self._bound]

    def close(self) -> None:
        """Stop listening. Idempotent."""
        for one in self._bound:
            one.close()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _certified(self) -> ssl.SSLContext:
        import trustme

        self.ca = trustme.CA()
        names = dict.fromkeys(("localhost", "127.0.0.1", "::1", self.host))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.ca.issue_cert(*names).configure_cert(context)
        return context

    def client_context(self) -> ssl.SSLContext:
        """A new context for a client that trusts the throw-away authority, and nobody else."""
        if self.ca is None:
            raise RuntimeError("there is no throw-away authority without tls=True")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.ca.configure_trust(context)
        return context
