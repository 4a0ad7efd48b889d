"""Sockets that systemd has bound for us: what its variables say, and taking them over.

    LISTEN_PID        whom they are for; another process's number means that they are not for us
    LISTEN_FDS        how many there are, as descriptors from 3 on
    LISTEN_FDNAMES    their names, with colons between them (FileDescriptorName= of the socket unit)

See sd_listen_fds(3). The environment is handed in, by whoever may read it; `binding.py` decides what is served.
"""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from asgiserve import logs
from asgiserve.errors import BindError, ConfigError
from asgiserve.server.bound import BoundSocket, bind_error

if TYPE_CHECKING:
    from collections.abc import MutableMapping

__all__ = ["PassedSocket", "adopt", "taken_from"]

_VARIABLES: Final = ("LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES")

FIRST: Final = 3
"""SD_LISTEN_FDS_START: the first behind stdin, stdout and stderr."""

_MOST: Final = 1024
"""More than any unit has. A number that is wrong must not make us look at a billion descriptors."""

_UNNAMED: Final = "unknown"
"""What systemd itself calls a socket without a name."""


@dataclass(frozen=True, slots=True)
class PassedSocket:
    """A descriptor that systemd has passed, and its name."""

    fd: int
    name: str


def taken_from(environ: MutableMapping[str, str], pid: int, *, first: int = FIRST) -> tuple[PassedSocket, ...]:
    """The sockets that are for process `pid`; `first` is the descriptor of the first. Raises ConfigError for variables
    that make no sense.

    Takes the variables out of `environ`, and keeps the sockets from programs that the application may start: those must
    not think that the sockets are theirs.
    """
    told = {name: environ.get(name, "") for name in _VARIABLES}
    if not told["LISTEN_PID"] or not told["LISTEN_FDS"]:
        return ()
    owner, number = (_number(name, told[name]) for name in ("LISTEN_PID", "LISTEN_FDS"))
    if owner != pid:
        logs.log_warning(
            f"LISTEN_PID: the sockets that systemd has passed are for process {owner}, and this is {pid}: not used."
            " A script in between has to start the server by exec."
        )
        return ()
    if number > _MOST:
        raise ConfigError(f"LISTEN_FDS: expected at most {_MOST} sockets, but got {told['LISTEN_FDS']!r}")
    names = told["LISTEN_FDNAMES"].split(":") if told["LISTEN_FDNAMES"] else [_UNNAMED] * number
    if len(names) != number:
        raise ConfigError(f"LISTEN_FDNAMES: expected {number} names, but got {told['LISTEN_FDNAMES']!r}")
    passed = tuple(PassedSocket(fd, name) for fd, name in enumerate(names, first)) if number else ()
    for one in passed:
        try:
            os.set_inheritable(one.fd, False)
        except OSError:
            raise ConfigError(f"LISTEN_FDS: counts {number} sockets, but descriptor {one.fd} is not open") from None
    for name in _VARIABLES:
        environ.pop(name, None)
    return passed


def adopt(passed: PassedSocket) -> BoundSocket:
    """Take it over. Its file, if it has one, stays systemd's."""
    where = f"file descriptor {passed.fd} ({passed.name}), which systemd has passed"
    try:
        sock = socket.socket(fileno=passed.fd)
    except OSError as error:
        raise bind_error(error, where) from error
    if sock.type != socket.SOCK_STREAM:
        sock.detach()
        raise BindError(errno.EINVAL, f"Cannot listen on {where}: it is no stream socket; use ListenStream=.")
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 0:
        sock.detach()
        raise BindError(errno.EINVAL, f"Cannot listen on {where}: it does not listen; leave Accept=yes out.")
    return BoundSocket(sock)


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 10:
        raise ConfigError(f"{name}: expected a number, but got {text!r}")
    return int(text)
