"""A socket that is bound, what it leaves behind in the file system, and the errors of getting there.

Made by `binding.py`, `binding_unix.py` and `activation.py`; owned by whoever asked for it, `serve.py` or `claims.py`.
"""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asgiserve.errors import BindError, reason

if TYPE_CHECKING:
    import socket

__all__ = ["BoundSocket", "bind_error", "inode_of"]


@dataclass(frozen=True, slots=True)
class BoundSocket:
    """A bound socket, and the file that we made for it, if any."""

    socket: socket.socket
    path: str | None = None
    """The file, as it was named."""
    from_root: str | None = None
    """The file, from wherever an application goes by `os.chdir()`."""
    inode: tuple[int, int] | None = None
    plain: bool = False
    """No TLS is spoken here, whatever certificates the server has."""
    owner: int = field(default_factory=os.getpid)
    """The process that has made it. An application may fork, and the child end by the same ways as we."""

    def close(self) -> None:
        """Close it, and remove the Unix socket's file if it is still the one that we made. Idempotent."""
        if self.socket.fileno() != -1 and self.owner == os.getpid():
            # Before the socket is closed: until then, no other file can have its inode's number. By either name:
            # whoever has become another user may not pass a directory above the one that he is in.
            for path in (self.path, self.from_root):
                with contextlib.suppress(OSError):
                    if path is not None and inode_of(path) == self.inode:
                        os.unlink(path)
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
