"""The user and the group that a process goes on as, once it has bound what only root may bind.

`identity_of()` looks everything up before anything is bound; `Identity.assume()` is the way of no return. Called by
`server/claims.py`; `group_id()` also where a Unix socket is given to a group.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Final

from asgiserve.errors import ConfigError

if sys.platform != "win32":
    import grp
    import pwd

__all__ = ["Identity", "group_id", "identity_of"]

_LARGEST: Final = (1 << 32) - 2
"""Of the numbers of users and groups. The next one is -1 in C, which leaves a file or a process as it is."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A user, with the group that its files get and all of its groups."""

    uid: int
    gid: int
    groups: tuple[int, ...]

    def is_ours(self) -> bool:
        """Whether the process runs as it already, as in a container that was started so."""
        if sys.platform == "win32":
            return False
        return {os.getuid(), os.geteuid()} == {self.uid} and {os.getgid(), os.getegid()} == {self.gid}

    def assume(self) -> None:
        """Become it, for good. Does nothing where the process is it already."""
        if sys.platform == "win32" or self.is_ours():
            return
        # The groups first: who is no longer root may not change them. setuid() of root leaves no saved id behind.
        os.setgroups(self.groups)
        os.setgid(self.gid)
        os.setuid(self.uid)
        if self.uid != 0:
            try:
                os.setuid(0)
            except PermissionError:
                return
            raise ConfigError(f"user: this process can still become root after it has become {self.uid}")


def identity_of(user: str | None, group: str | None) -> Identity | None:
    """Who the settings `user` and `group` name; None without them. Raises ConfigError if it cannot be had."""
    if user is None and group is None:
        return None
    if sys.platform == "win32":
        raise ConfigError("user: Windows has no way to go on as another user; start the server as it")
    if user is None:
        raise ConfigError("group: needs user; a group for Unix sockets alone is uds_group")
    entry = _user_entry(user)
    if entry is not None:
        gid = entry.pw_gid if group is None else group_id(group, "group")
        identity = Identity(entry.pw_uid, gid, tuple(os.getgrouplist(entry.pw_name, gid)))
    elif user.isdecimal() and group is not None:
        gid = group_id(group, "group")
        identity = Identity(_number(user, "user"), gid, (gid,))
    elif user.isdecimal():
        raise ConfigError(f"user: this machine has no entry for {user}, which would say its group; give group too")
    else:
        raise ConfigError(f"user: this machine has no user {user!r}")
    if not identity.is_ours() and os.geteuid() != 0:
        raise ConfigError(f"user: only root may go on as another user, and this process runs as {_own_name()}")
    return identity


def group_id(group: str, setting: str) -> int:
    """The number of a group, given by name or number. Raises ConfigError that begins with the setting's name."""
    if sys.platform == "win32":
        raise ConfigError(f"{setting}: Windows has no such groups")
    if group.isdecimal():
        return _number(group, setting)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ConfigError(f"{setting}: this machine has no group {group!r}") from None


def _number(digits: str, setting: str) -> int:
    """Raises ConfigError for one that the system has no room for."""
    if len(digits) > len(str(_LARGEST)) or int(digits) > _LARGEST:
        raise ConfigError(f"{setting}: expected a name, or a number up to {_LARGEST}, but got {digits!r}")
    return int(digits)


if sys.platform != "win32":

    def _user_entry(user: str) -> pwd.struct_passwd | None:
        try:
            return pwd.getpwuid(_number(user, "user")) if user.isdecimal() else pwd.getpwnam(user)
        except KeyError:
            return None

    def _own_name() -> str:
        entry = _user_entry(str(os.geteuid()))
        return str(os.geteuid()) if entry is None else entry.pw_name
