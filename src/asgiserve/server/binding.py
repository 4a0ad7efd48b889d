"""From settings to bound sockets: names, ports, Unix sockets, inherited descriptors.

Called once by `serve.py`, before the application starts: a port that is taken is found out before anything
was started for nothing. `listen()` comes later, when the application is ready.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import stat
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from asgiserve.errors import BindError, ConfigError

if TYPE_CHECKING:
    from asgiserve.config import Bind

__all__ = ["BoundSocket", "bind_all", "check_form", "check_tls", "url_of"]

_DEFAULT_HOST: Final = "127.0.0.1"
_DEFAULT_PORT: Final = 8000

_PORT_TRIES: Final = 16
"""How often a free port is looked for that is free on every address of a name."""


@dataclass(frozen=True, slots=True)
class BoundSocket:
    """A bound socket, and the path that we made for it, if any."""

    socket: socket.socket
    path: str | None = None
    inode: tuple[int, int] | None = None
    plain: bool = False
    """No TLS is spoken here, whatever certificates the server has."""

    def close(self) -> None:
        """Close it, and remove the Unix socket's file if it is still the one that we made. Idempotent."""
        if self.path is not None and self.socket.fileno() != -1:
            # Before the socket is closed: until then, no other file can have its inode's number.
            with contextlib.suppress(OSError):
                if _inode(self.path) == self.inode:
                    os.unlink(self.path)
        self.socket.close()


def bind_all(bind: Bind) -> list[BoundSocket]:
    """Bind everything that the settings name. Raises BindError; then nothing stays bound."""
    bound: list[BoundSocket] = []
    try:
        for target in bind.bind:
            bound += _bind_target(target)
        if bind.uds is not None:
            bound.append(_bind_unix(bind.uds))
        if bind.fd is not None:
            bound.append(_inherit(bind.fd))
        if bind.host is not None or bind.port is not None or not bound:
            host = _DEFAULT_HOST if bind.host is None else bind.host
            bound += _bind_tcp(host, _DEFAULT_PORT if bind.port is None else bind.port)
    except BaseException:
        for one in bound:
            one.close()
        raise
    return bound


def url_of(sock: socket.socket, *, secure: bool) -> str:
    """How to reach a bound socket: "http://127.0.0.1:8000", "unix:/run/app.sock"."""
    address = sock.getsockname()
    if not isinstance(address, tuple):
        return f"unix:{os.fsdecode(address)}"
    host, port = address[:2]
    scheme = "https" if secure else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def check_form(bind: Bind) -> None:
    """Look at the values of `bind` and bind nothing. Raises ConfigError."""
    for target in bind.bind:
        _parts(_split_tls(target)[0])


def check_tls(bind: Bind, *, certificates: bool) -> None:
    """Raise ConfigError if a value of `bind` asks for TLS and there are no certificates."""
    for target in bind.bind:
        if _split_tls(target)[1] == "on" and not certificates:
            raise ConfigError(f"bind: {target} asks for TLS, and there is no certificate for it; give ssl_certfile")


def _bind_target(target: str) -> list[BoundSocket]:
    """One value of `bind`."""
    place, tls = _split_tls(target)
    kind, rest, port = _parts(place)
    if kind == "unix":
        bound = [_bind_unix(rest)]
    else:
        bound = [_inherit(int(rest))] if kind == "fd" else _bind_tcp(rest, port)
    return [replace(one, plain=tls == "off") for one in bound]


def _split_tls(target: str) -> tuple[str, str]:
    """The place, and what stands behind it in `127.0.0.1:8080,tls=off`: "on", "off" or nothing."""
    place, comma, word = target.rpartition(",tls=")
    if not comma:
        return target, ""
    if word not in ("on", "off"):
        raise ConfigError(f"bind: expected tls=on or tls=off behind the comma, but got {target!r}")
    return place, word


def _parts(target: str) -> tuple[str, str, int]:
    """What HOST:PORT, [IPv6]:PORT, unix:PATH or fd:NUMBER says: its kind, its name, and the port of a host."""
    kind, _, rest = target.partition(":")
    if (kind == "unix" and rest) or (kind == "fd" and rest.isascii() and rest.isdigit()):
        return kind, rest, 0
    # An IPv6 address needs its brackets: whether "::1:80" ends with a port, nobody can tell.
    found = re.fullmatch(r"(?:\[(?P<ipv6>[^\[\]]+)\]|(?P<host>[^\[\]:]*)):(?P<port>[0-9]{1,5})", target)
    if found is None or int(found["port"]) > 65535:
        raise ConfigError(f"bind: expected HOST:PORT, [IPv6]:PORT, unix:PATH or fd:NUMBER, but got {target!r}")
    return "tcp", found["ipv6"] or found["host"], int(found["port"])


def _bind_tcp(host: str, port: int) -> list[BoundSocket]:
    """Bind every address of a host name, to the same port."""
    addresses = _resolve(host, port)
    for attempt in range(_PORT_TRIES):
        bound: list[BoundSocket] = []
        address, chosen = host, port
        try:
            for family, address in addresses:
                sock = _bind_address(family, (address, chosen))
                bound.append(BoundSocket(sock))
                chosen = sock.getsockname()[1]
            return bound
        except OSError as error:
            for one in bound:
                one.close()
            # A port that was free on the first address is taken on another: look for another one.
            if port == 0 and bound and error.errno == errno.EADDRINUSE and attempt + 1 < _PORT_TRIES:
                continue
            raise _bind_error(error, f"{_bracketed(address)}:{chosen}") from error
    raise AssertionError("the last attempt returns or raises")


def _resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    """The addresses of a name, without repetition; "" stands for all interfaces."""
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE if not host else 0
        )
    except (OSError, UnicodeError) as error:
        raise BindError(f"Cannot resolve the host name {host!r}: {_reason(error)}.") from error
    addresses = [(family, str(address[0])) for family, _, _, _, address in found]
    different: list[tuple[socket.AddressFamily, str]] = list(dict.fromkeys(addresses))
    if len(different) == 1 or _ipv6_works():
        return different
    # Names keep their IPv6 address (::1 for localhost) on machines whose IPv6 is switched off.
    return [one for one in different if one[0] != socket.AF_INET6]


def _ipv6_works() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def _bind_address(family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            # Connections in TIME_WAIT must not keep a restarted server from its port.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # The addresses of a name are bound one by one; a v6 socket must not claim the v4 ones too.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _bind_unix(path: str) -> BoundSocket:
    """Bind a Unix socket. A file that is there is replaced only if it is a socket that nobody listens on."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        sock.bind(path)
        return BoundSocket(sock, path, _inode(path))
    except BindError:
        sock.close()
        raise
    except (OSError, ValueError) as error:  # ValueError: the path has a null byte
        sock.close()
        raise _bind_error(error, f"unix:{path}") from error


def _remove_stale(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise BindError(errno.EEXIST, f"Cannot bind unix:{path}: a file is there, and it is not a socket.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # somebody listens, and the queue is full: a blocking probe would wait for ever
        except OSError as error:
            raise _bind_error(error, f"unix:{path}") from error
    raise BindError(errno.EADDRINUSE, f"Cannot bind unix:{path}: another server listens on it.")


def _inherit(fd: int) -> BoundSocket:
    """A socket that somebody else has bound; its family is asked of the system."""
    try:
        sock = socket.socket(fileno=fd)
        if sock.type != socket.SOCK_STREAM:
            sock.detach()
            raise BindError(errno.EINVAL, f"Cannot listen on file descriptor {fd}: not a stream socket.")
        return BoundSocket(sock)
    except BindError:
        raise
    except OSError as error:
        raise _bind_error(error, f"file descriptor {fd}") from error


def _bind_error(error: OSError | ValueError, where: str) -> BindError:
    advice = {
        errno.EADDRINUSE: " Another program has it; choose another port, or 0 for any free one.",
        errno.EACCES: " You are not allowed to; ports below 1024 are reserved on most systems.",
        errno.EADDRNOTAVAIL: " This machine has no such address.",
    }
    if where.startswith(("unix:", "file")):
        advice = {}
    number = getattr(error, "errno", None) or errno.EINVAL  # a path that is too long comes without one
    return BindError(number, f"Cannot bind {where}: {_reason(error)}.{advice.get(number, '')}")


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _inode(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino
