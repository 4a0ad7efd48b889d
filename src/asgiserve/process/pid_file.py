"""The file with the process's number, for people and scripts that send it signals.

A file is somebody's for as long as he holds a lock on it. A number alone would not do: after a crash another program
may have it, and in a container everybody is number 1. Called by `server/claims.py`.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from typing import Final

from asgiserve.errors import ConfigError, reason

if sys.platform != "win32":
    import fcntl

__all__ = ["PidFile"]

_LONGEST: Final = 32
"""Bytes of a pid file. What is longer is something else, named by mistake."""


class PidFile:
    """The file, from `claim()` to `remove()`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._owner = os.getpid()
        self._descriptor: int | None = None

    def claim(self) -> None:
        """Write it. Raises ConfigError if a living process has it, or if it cannot be written."""
        if sys.platform == "win32":
            raise ConfigError("pid_file: is not there on Windows, which has no signals to send")
        try:
            self._path = os.path.abspath(self._path)  # somebody may change the directory
            self._descriptor = _written(self._path)
        except OSError as error:
            raise ConfigError(f"pid_file: cannot write {self._path}: {reason(error)}") from None

    def remove(self) -> None:
        """Remove it, if it is still ours. Idempotent, and never fails."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None or os.getpid() != self._owner:
            return  # or we are a fork of whoever has it
        try:
            if _is_at(descriptor, self._path):
                os.unlink(self._path)
        except OSError:
            # Its directory is root's, and we no longer are. An empty file names nobody who might be sent a signal.
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
        os.close(descriptor)


if sys.platform != "win32":

    def _written(path: str) -> int:
        """The file with our number at this path, open and locked. Raises OSError, and ConfigError if it is taken."""
        # Written aside and moved there: nobody ever reads half of it, or finds it unlocked.
        import tempfile  # 3 ms, with all that it imports for whole directories

        descriptor, made = tempfile.mkstemp(prefix=".asgiserve-", suffix=".pid", dir=os.path.dirname(path))
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(descriptor, b"%d\n" % os.getpid())
            os.fchmod(descriptor, 0o644)
            try:
                os.link(made, path)
            except OSError:  # it is there, or the file system has no links
                _replace(path, made)
        except BaseException:
            os.close(descriptor)
            raise
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(made)
        return descriptor

    def _replace(path: str, made: str) -> None:
        """Put ours in the place of a file that nobody living has."""
        try:
            found = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            pass  # its owner has gone in this moment, or it never was there
        else:
            try:
                _check_free(path, found)
            finally:
                os.close(found)
        os.rename(made, path)

    def _check_free(path: str, found: int) -> None:
        # A device, /dev/null above all, and a pipe have no content either.
        is_file = stat.S_ISREG(os.fstat(found).st_mode)
        content = os.read(found, _LONGEST + 1).strip() if is_file else b""
        if not is_file or (content and not (content.isdigit() and len(content) < _LONGEST)):
            raise ConfigError(f"pid_file: {path} is there and is no pid file; it is not replaced")
        try:
            fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # A child that has outlived its parent may hold the lock; it is not who the file names.
            if content and _lives(int(content)):
                raise ConfigError(f"pid_file: a server runs already as process {int(content)}: {path} is its") from None


def _is_at(descriptor: int, path: str) -> bool:
    return os.path.samestat(os.fstat(descriptor), os.stat(path))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True  # somebody else's
    except (ProcessLookupError, OverflowError):
        return False
    return True
