"""Unix sockets that the server makes: their files, with permissions and group, and abstract ones without a file.

Called by `binding.py`. Removing the file again is `BoundSocket.close()`'s part; who may connect is settled before
`listen()`, since a socket that does not listen refuses everybody.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys

from asgiserve.errors import BindError, ConfigError, reason
from asgiserve.process.privileges import group_id
from asgiserve.server.bound import BoundSocket, bind_error, inode_of

__all__ = ["bind_unix", "check_unix", "name_of"]


def check_unix(place: str, setting: str) -> None:
    """Raise ConfigError for what cannot be bound on this system, whatever is there."""
    if not hasattr(socket, "AF_UNIX"):
        raise ConfigError(f"{setting}: this system has no Unix sockets")
    if place.startswith("@") and sys.platform != "linux":
        raise ConfigError(f"{setting}: {place} is an abstract Unix socket, which only Linux has; name a path")
    if place == "@":
        raise ConfigError(f"{setting}: an abstract Unix socket needs a name behind the @")


def bind_unix(place: str, *, mode: str | None = None, group: str | None = None) -> BoundSocket:
    """Bind a path, or @NAME for an abstract socket. A file that is there is replaced only if it is a socket that
    nobody listens on. `mode` is in octal."""
    gid = None if group is None else group_id(group, "uds_group")
    address = f"\0{place[1:]}" if place.startswith("@") else place
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if address is place:
            _remove_stale(place)
        sock.bind(address)
        made = address is place
        bound = BoundSocket(sock, place, _from_root(place), inode_of(place)) if made else BoundSocket(sock)
    except BindError:
        sock.close()
        raise
    except (OSError, ValueError) as error:  # ValueError: the path has a null byte
        sock.close()
        raise bind_error(error, f"unix:{place}") from error
    try:
        if bound.path is not None:
            _let_in(bound.path, None if mode is None else int(mode, 8), gid)
    except BaseException as error:
        bound.close()
        if not isinstance(error, OSError):
            raise
        what = f"group {group} and mode {mode}" if mode and group else f"mode {mode}" if mode else f"group {group}"
        hint = "; a group takes root, or one of its members" if error.errno == errno.EPERM and group else ""
        raise BindError(error.errno, f"Cannot give unix:{place} {what}: {reason(error)}{hint}.") from error
    return bound


def name_of(address: str | bytes) -> str:
    """What `getsockname()` says of a Unix socket, as we write it: a path, or @NAME."""
    text = os.fsdecode(address)
    return f"@{text[1:]}" if text.startswith("\0") else text


def _from_root(path: str) -> str:
    """The same file from everywhere. Not by abspath(), for which "link/.." is where the link is."""
    return path if os.path.isabs(path) else os.path.join(os.getcwd(), path)


def _let_in(path: str, mode: int | None, gid: int | None) -> None:
    """Set who may connect. Never through a link: root may serve in a directory in which others can exchange the file,
    and must not change what they choose."""
    if gid is not None:
        os.chown(path, -1, gid, follow_symlinks=False)
    if mode is None:
        return
    if os.chmod in os.supports_follow_symlinks:
        os.chmod(path, mode, follow_symlinks=False)
        return
    # Linux changes modes by descriptor only, and one of a socket's file is opened with O_PATH, which reads nothing.
    descriptor = os.open(path, getattr(os, "O_PATH", os.O_RDONLY) | os.O_NOFOLLOW)
    try:
        os.chmod(f"/proc/self/fd/{descriptor}", mode)
    finally:
        os.close(descriptor)


def _remove_stale(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if os.path.islink(path):  # the system says that the address is in use
            raise BindError(
                errno.EEXIST, f"Cannot bind unix:{path}: a symbolic link is there, and it leads nowhere."
            ) from None
        return
    if not stat.S_ISSOCK(mode):
        raise BindError(errno.EEXIST, f"Cannot bind unix:{path}: a file is there, and it is not a socket.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            if _is_bound(path):
                raise BindError(
                    errno.EADDRINUSE, f"Cannot bind unix:{path}: another server has it, and is just starting."
                ) from None
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # somebody listens, and the queue is full: a blocking probe would wait for ever
        except OSError as error:
            raise bind_error(error, f"unix:{path}") from error
    raise BindError(errno.EADDRINUSE, f"Cannot bind unix:{path}: another server listens on it.")


def _is_bound(path: str) -> bool:
    """Whether a socket is bound to it that does not listen yet, as while an application is imported. Linux alone tells,
    and by the name that was bound: a relative one may be anywhere."""
    if not os.path.isabs(path):
        return False
    try:
        with open("/proc/net/unix", "rb") as table:
            rows = [line.rstrip(b"\n").split(None, 7) for line in table]
    except OSError:
        return False
    return any(row[7:] == [os.fsencode(path)] for row in rows)
