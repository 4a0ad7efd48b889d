"""From settings to bound sockets: names, ports, inherited descriptors, and those that systemd has passed.

Called once by `serve.py` or `claims.py`, before the application starts: a port that is taken is found out before
anything was started for nothing. `listen()` comes later, when the application is ready. Unix sockets are made in
`binding_unix.py`, systemd's variables are read in `activation.py`.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from asgiserve.errors import BindError, ConfigError, reason
from asgiserve.server.activation import adopt
from asgiserve.server.binding_unix import bind_unix, check_unix, name_of
from asgiserve.server.bound import BoundSocket, bind_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asgiserve.config import Bind
    from asgiserve.server.activation import PassedSocket

__all__ = ["BoundSocket", "address_of", "bind_all", "check_form", "check_tls", "unix_places", "url_of"]

_Address: TypeAlias = tuple[Any, ...]
"""Of a TCP socket: host and port, and with IPv6 also flow label and link (RFC 4007)."""

_DEFAULT_HOST: Final = "127.0.0.1"
_DEFAULT_PORT: Final = 8000

_LARGEST_DESCRIPTOR: Final = (1 << 31) - 1
"""A C int. Python's socket takes a larger number for what its last 32 bits say, which is another descriptor."""

_PORT_TRIES: Final = 16
"""How often a free port is looked for that is free on every address of a name."""


def bind_all(bind: Bind, passed: Sequence[PassedSocket] = ()) -> list[BoundSocket]:
    """Bind everything that the settings name, and take over what systemd has passed. Raises BindError; then nothing
    stays bound.

    Every passed socket is served, also one that no setting names: its clients connect, and would wait for ever. The
    default address is for when there is nothing else.
    """
    check_form(bind)
    bound: list[BoundSocket] = []
    left = list(passed)
    try:
        for target in bind.bind:
            bound += _bind_target(target, bind, left)
        if bind.uds is not None:
            bound.append(bind_unix(bind.uds, mode=bind.uds_mode, group=bind.uds_group))
        if bind.fd is not None:
            bound.append(_inherit(bind.fd, left))
        bound += [adopt(one) for one in left]
        if bind.host is not None or bind.port is not None or not bound:
            bound += _bind_tcp(*_host_and_port(bind))
    except BaseException:
        for one in bound:
            one.close()
        raise
    return bound


def url_of(sock: socket.socket, *, secure: bool) -> str:
    """How to reach a bound socket: "http://127.0.0.1:8000", "unix:/run/app.sock"."""
    address = address_of(sock)
    if isinstance(address, str):
        return f"unix:{address}"
    host, port = address
    return f"{'https' if secure else 'http'}://{_bracketed(host)}:{port}"


def address_of(sock: socket.socket) -> tuple[str, int] | str:
    """Where a socket is bound: host and port, or the path of a Unix socket."""
    address = sock.getsockname()
    return (_host_of(address), address[1]) if isinstance(address, tuple) else name_of(address)


def check_form(bind: Bind) -> None:
    """Look at the values of `bind` and bind nothing. Raises ConfigError."""
    for setting, place in unix_places(bind):
        check_unix(place, setting)
    seen: set[tuple[str, str, int]] = set()
    for setting, part in _places(bind):
        if part in seen:
            raise ConfigError(f"{setting}: {_told(*part)} is given twice")
        if part[0] != "tcp" or part[2] != 0:  # each free port is another one
            seen.add(part)


def unix_places(bind: Bind) -> list[tuple[str, str]]:
    """The Unix sockets that the settings name: which setting, and the path or @NAME. Raises ConfigError."""
    return [(setting, rest) for setting, (kind, rest, _) in _places(bind) if kind == "unix"]


def _places(bind: Bind) -> list[tuple[str, tuple[str, str, int]]]:
    """Everything that the settings name: which setting, and what `_parts()` makes of it. Raises ConfigError."""
    places = [("bind", _parts(_split_tls(target)[0])) for target in bind.bind]
    if bind.uds is not None:
        places.append(("uds", ("unix", bind.uds, 0)))
    if bind.fd is not None:
        places.append(("fd", ("fd", str(bind.fd), 0)))
    if bind.host is not None or bind.port is not None:
        places.append(("port" if bind.host is None else "host", ("tcp", *_host_and_port(bind))))
    return places


def _host_and_port(bind: Bind) -> tuple[str, int]:
    return (
        _DEFAULT_HOST if bind.host is None else bind.host,
        _DEFAULT_PORT if bind.port is None else bind.port,
    )


def _told(kind: str, rest: str, port: int) -> str:
    if kind == "tcp":
        return f"{_bracketed(rest)}:{port}"
    return f"unix:{rest}" if kind == "unix" else f"fd:{rest}"


def check_tls(bind: Bind, *, certificates: bool) -> None:
    """Raise ConfigError if a value of `bind` asks for TLS and there are no certificates."""
    for target in bind.bind:
        if _split_tls(target)[1] == "on" and not certificates:
            raise ConfigError(f"bind: {target} asks for TLS, and there is no certificate for it; give ssl_certfile")


def _bind_target(target: str, bind: Bind, left: list[PassedSocket]) -> list[BoundSocket]:
    """One value of `bind`. A passed socket that it names is taken out of `left`."""
    place, tls = _split_tls(target)
    kind, rest, port = _parts(place)
    match kind:
        case "unix":
            bound = [bind_unix(rest, mode=bind.uds_mode, group=bind.uds_group)]
        case "fd":
            bound = [_inherit(int(rest), left)]
        case "name":
            bound = _named(rest, left)
        case _:
            bound = _bind_tcp(rest, port)
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
    """What HOST:PORT, [IPv6]:PORT, unix:PATH, fd:NUMBER or fd:NAME says: its kind, its name, and the port of a host."""
    kind, _, rest = target.partition(":")
    if kind == "unix" and rest:
        return kind, rest, 0
    if kind == "fd" and re.fullmatch(r"[!-9;-~]{1,255}", rest) and rest[0] not in "-/":  # systemd's names
        return "fd" if rest.isdigit() else "name", rest, 0
    # An IPv6 address needs its brackets: whether "::1:80" ends with a port, nobody can tell.
    found = re.fullmatch(r"(?:\[(?P<ipv6>[^\[\]]+)\]|(?P<host>[^\[\]:]*)):(?P<port>[0-9]{1,5})", target)
    if found is None or int(found["port"]) > 65535:
        raise ConfigError(f"bind: expected HOST:PORT, [IPv6]:PORT, unix:PATH, fd:NUMBER or fd:NAME, but got {target!r}")
    return "tcp", found["ipv6"] or found["host"], int(found["port"])


def _bind_tcp(host: str, port: int) -> list[BoundSocket]:
    """Bind every address of a host name, to the same port."""
    addresses = _resolve(host, port)
    for attempt in range(_PORT_TRIES):
        bound: list[BoundSocket] = []
        shown, chosen = host, port
        try:
            for family, address in addresses:
                shown = _host_of(address)
                sock = _bind_address(family, (address[0], chosen, *address[2:]))
                bound.append(BoundSocket(sock))
                chosen = sock.getsockname()[1]
            return bound
        except OSError as error:
            for one in bound:
                one.close()
            # A port that was free on the first address is taken on another: look for another one.
            if port == 0 and bound and error.errno == errno.EADDRINUSE and attempt + 1 < _PORT_TRIES:
                continue
            raise bind_error(error, f"{_bracketed(shown)}:{chosen}") from error
    raise AssertionError("the last attempt returns or raises")


def _resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, _Address]]:
    """The addresses of a name, without repetition; "" stands for all interfaces."""
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE if not host else 0
        )
    except (OSError, UnicodeError) as error:
        raise BindError(f"Cannot resolve the host name {host!r}: {reason(error)}.") from error
    addresses = [(family, address) for family, _, _, _, address in found]
    different: list[tuple[socket.AddressFamily, _Address]] = list(dict.fromkeys(addresses))
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


def _bind_address(family: socket.AddressFamily, address: _Address) -> socket.socket:
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


def _inherit(fd: int, left: list[PassedSocket]) -> BoundSocket:
    """A socket that somebody else has bound; its family is asked of the system."""
    left[:] = [one for one in left if one.fd != fd]
    try:
        if fd > _LARGEST_DESCRIPTOR:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        sock = socket.socket(fileno=fd)
        if sock.type != socket.SOCK_STREAM:
            sock.detach()
            raise BindError(errno.EINVAL, f"Cannot listen on file descriptor {fd}: not a stream socket.")
        # It was passed to us, not to the programs that an application starts.
        os.set_inheritable(fd, False)
        return BoundSocket(sock)
    except BindError:
        raise
    except OSError as error:
        raise bind_error(error, f"file descriptor {fd}") from error


def _named(name: str, left: list[PassedSocket]) -> list[BoundSocket]:
    """The passed sockets of this name: a socket unit may have several places to listen on."""
    found = [one for one in left if one.name == name]
    if not found:
        others = f", but {', '.join(one.name for one in left)}" if left else ""
        raise BindError(f"Cannot bind fd:{name}: systemd has passed no socket of this name{others}.")
    left[:] = [one for one in left if one.name != name]
    return [adopt(one) for one in found]


def _host_of(address: _Address) -> str:
    """Without the link behind it nobody could connect to an address that is valid on one link only."""
    host: str = address[0]
    if len(address) < 4 or not address[3]:
        return host
    return socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
