"""Who a process goes on as. What is done for good is done in a process of its own."""

from __future__ import annotations

import grp
import os
import pwd
import sys

import pytest

from asgiserve.errors import ConfigError
from asgiserve.process.privileges import Identity, group_id, identity_of
from tests.support.processes import ran

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")

NOBODY = pwd.getpwnam("nobody")
OTHER_GROUP = next(one for one in grp.getgrall() if one.gr_gid not in (0, NOBODY.pw_gid))

UNUSED = 54321
"""A number that no user and no group has; the first test says so."""


def told_by(lines: str, *, uid: int | None = None) -> str:
    """What a process of its own prints that runs these lines, as the user `uid`."""
    # Not by Popen's `user`: he need not be able to read this interpreter.
    become = "" if uid is None else f"os.setgroups([]); os.setgid({UNUSED}); os.setuid({uid})"
    program = f"import os\nfrom asgiserve.process.privileges import *\n{become}\n{lines}"
    words = [sys.executable, "-c", program]
    done = ran(words)
    assert not done.stderr, done.stderr
    return done.stdout


def test_the_number_that_these_tests_call_unused_is() -> None:
    with pytest.raises(KeyError):
        pwd.getpwuid(UNUSED)


def test_without_settings_there_is_nobody_to_become() -> None:
    assert identity_of(None, None) is None


@needs_root
@pytest.mark.parametrize("user", ["nobody", str(NOBODY.pw_uid)])
def test_a_user_brings_his_groups(user: str) -> None:
    groups = tuple(os.getgrouplist("nobody", NOBODY.pw_gid))
    assert identity_of(user, None) == Identity(NOBODY.pw_uid, NOBODY.pw_gid, groups)


@needs_root
def test_a_group_replaces_his_own() -> None:
    identity = identity_of("nobody", OTHER_GROUP.gr_name)
    assert identity is not None
    assert identity.gid == OTHER_GROUP.gr_gid
    assert identity.groups == (OTHER_GROUP.gr_gid,)


@needs_root
def test_a_number_without_an_entry_needs_a_group() -> None:
    with pytest.raises(ConfigError, match=f"^user: this machine has no entry for {UNUSED}.*give group too"):
        identity_of(str(UNUSED), None)
    assert identity_of(str(UNUSED), str(UNUSED)) == Identity(UNUSED, UNUSED, (UNUSED,))


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^user: this machine has no user 'no-such-user'"):
        identity_of("no-such-user", None)
    with pytest.raises(ConfigError, match=r"^group: this machine has no group 'no-such-group'"):
        identity_of("nobody", "no-such-group")
    with pytest.raises(ConfigError, match=r"^uds_group: this machine has no group 'no-such-group'"):
        group_id("no-such-group", "uds_group")


@pytest.mark.parametrize("number", [str(2**32 - 1), "99999999999", "9" * 5000])
def test_a_number_that_nobody_can_have_is_refused(number: str) -> None:
    expected = "expected a name, or a number up to 4294967294, but got"
    with pytest.raises(ConfigError, match=f"^user: {expected} '{number}'"):
        identity_of(number, "0")
    with pytest.raises(ConfigError, match=f"^group: {expected} '{number}'"):
        identity_of("nobody", number)
    with pytest.raises(ConfigError, match=f"^uds_group: {expected} '{number}'"):
        group_id(number, "uds_group")


def test_a_group_alone_is_refused_with_what_may_be_meant() -> None:
    with pytest.raises(ConfigError, match=r"^group: needs user; .* uds_group"):
        identity_of(None, "nogroup")


@needs_root
def test_becoming_somebody_is_for_good_and_for_all_groups() -> None:
    told = told_by(
        """
os.setgroups([0, 4])
identity_of("nobody", None).assume()
print(os.getresuid(), os.getresgid(), os.getgroups())
for regain in (os.setuid, os.setgid, lambda _: os.setgroups([0])):
    try:
        regain(0)
    except PermissionError:
        print("no way back")
"""
    )
    uid, gid = NOBODY.pw_uid, NOBODY.pw_gid
    assert told.splitlines() == [f"({uid}, {uid}, {uid}) ({gid}, {gid}, {gid}) [{gid}]", *["no way back"] * 3]


@needs_root
def test_only_root_may_become_another_user() -> None:
    told = told_by(
        """
try:
    identity_of("daemon", None)
except ValueError as error:
    print(error)
""",
        uid=NOBODY.pw_uid,
    )
    assert told == "user: only root may go on as another user, and this process runs as nobody\n"


@needs_root
def test_who_is_the_user_already_needs_no_root() -> None:
    told = told_by(
        """
identity = identity_of(str(os.getuid()), str(os.getgid()))
identity.assume()
print(identity.is_ours(), os.getuid())
""",
        uid=NOBODY.pw_uid,
    )
    assert told == f"True {NOBODY.pw_uid}\n"
