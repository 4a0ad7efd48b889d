"""A socket that is bound, what it leaves behind in the file system, and the errors of getting there.

Made by `binding.py`, `binding_unix.py` and `activation.py`; owned by whoever asked for it, `serve.py` or `claims.py`.
"""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asgiserve.errors import BindError

if TYPE_CHECKING:
    import socket

__all__ = ["BoundSocket", "bind_error", "inode_of", "reason"]


@dataclass(frozen=True, slots=True)
class BoundSocket:
    """A bound socket, and the path that we made for it, if any, from the root."""

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
                if inode_of(self.path) == self.inode:
                    os.unlink(self.path)
        self.socket.close()


def inode_of(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def bind_error(error: OSError | ValueError, where: str) -> BindError:
    advice = {
        errno.EADDRINUSE: " Another program has it; choose another port.",
        errno.EACCES: " You are not allowed to; ports below 1024 are reserved on most systems.",
        errno.EADDRNOTAVAIL: " This machine has no such address.",
    }
    if where.startswith(("unix:", "file")):
        advice = {}
    number = getattr(error, "errno", None) or errno.EINVAL  # a path that is too long comes without one
    return BindError(number, f"Cannot bind {where}: {reason(error)}.{advice.get(number, '')}")


def reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
