"""What a process claims before it imports an application: its pid file, its sockets; and then the user it goes on as.

In this order: a port below 1024 and a file in /run are root's to make, and an application's code never runs as root
where `user` is set. Called by whoever owns the process, `run()` and the command line, with workers or without;
`serve()` in somebody's program claims nothing but sockets.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from asgiserve import logs
from asgiserve.errors import ConfigError, reason
from asgiserve.process.pid_file import PidFile
from asgiserve.process.privileges import group_id, identity_of
from asgiserve.server.binding import bind_all, unix_places

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from asgiserve.config import Bind, Launch
    from asgiserve.process.privileges import Identity
    from asgiserve.server.activation import PassedSocket
    from asgiserve.server.bound import BoundSocket

__all__ = ["Claims", "check_claims", "claimed"]


class Claims:
    """What the process has, and what it must not leave behind."""

    def __init__(self, bound: Sequence[BoundSocket], pid_file: PidFile | None) -> None:
        self.bound = bound
        """Bound, and not listening yet; but what systemd has passed listens."""
        self._pid_file = pid_file

    def release(self) -> None:
        """Close the sockets, remove their files and the pid file. Idempotent; for those who leave by `os._exit()`."""
        for one in self.bound:
            one.close()
        if self._pid_file is not None:
            self._pid_file.remove()


@contextmanager
def claimed(launch: Launch, bind: Bind, passed: Sequence[PassedSocket] = ()) -> Iterator[Claims]:
    """Claim it all for the block. Raises ConfigError and BindError; then nothing is left behind."""
    identity = identity_of(launch.user, launch.group)
    pid_file = None if launch.pid_file is None else PidFile(launch.pid_file)
    claims = Claims((), pid_file)
    try:
        if pid_file is not None:
            pid_file.claim()
        claims.bound = bind_all(bind, passed)
        if identity is not None:
            _go_on_as(identity, claims.bound, keep_group=bind.uds_group is not None)
        yield claims
    finally:
        claims.release()


def check_claims(launch: Launch, bind: Bind) -> None:
    """Look for what could not be claimed, and claim nothing. Raises ConfigError.

    A port or a pid file that another process has is no matter here: it may be the server that this one is to replace.
    """
    identity_of(launch.user, launch.group)
    if bind.uds_group is not None:
        group_id(bind.uds_group, "uds_group")
    files = [(setting, place) for setting, place in unix_places(bind) if not place.startswith("@")]
    if launch.pid_file is not None:
        files.append(("pid_file", launch.pid_file))
    for setting, path in files:
        directory = os.path.dirname(path) or "."
        if not os.path.isdir(directory):
            raise ConfigError(f"{setting}: {path} cannot be made, since there is no directory {directory}")


def _go_on_as(identity: Identity, bound: Sequence[BoundSocket], *, keep_group: bool) -> None:
    if identity.is_ours():
        return
    try:
        for one in bound:
            if one.path is not None:
                # Its owner may remove it again, even from a directory like /tmp.
                os.chown(one.path, identity.uid, -1 if keep_group else identity.gid, follow_symlinks=False)
        identity.assume()
    except OSError as error:
        raise ConfigError(f"user: cannot go on as {identity.uid}:{identity.gid}: {reason(error)}") from error
    logs.log_info(f"Going on as user {identity.uid}, group {identity.gid}.")
