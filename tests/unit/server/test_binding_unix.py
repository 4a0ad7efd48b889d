"""Unix sockets that the server makes: who may connect, and those without a file."""

from __future__ import annotations

import errno
import grp
import os
import socket
import stat
import sys
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from asgiserve.config import Bind
from asgiserve.errors import BindError, ConfigError
from asgiserve.server.binding import bind_all, check_form, url_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asgiserve.server.bound import BoundSocket

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to any group")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract Unix sockets")


@contextmanager
def bound(**settings: Any) -> Iterator[list[BoundSocket]]:
    with ExitStack() as stack:
        sockets = bind_all(Bind(**settings))
        for one in sockets:
            stack.callback(one.close)
        yield sockets


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def connecting(address: str) -> int:
    """The error that a client sees; 0 for none."""
    with closing(socket.socket(socket.AF_UNIX)) as client:
        return client.connect_ex(address)


# --- permissions ------------------------------------------------------------------------------


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o755), (0o077, 0o700), (0o007, 0o770)])
def test_without_a_setting_the_umask_decides_who_may_connect(tmp_path: Path, mask: int, mode: int) -> None:
    with umask(mask), bound(uds=str(tmp_path / "app.sock")):
        assert mode_of(tmp_path / "app.sock") == mode


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
def test_a_mode_holds_whatever_the_umask_is(tmp_path: Path, mask: int) -> None:
    with umask(mask), bound(uds=str(tmp_path / "app.sock"), uds_mode="660"):
        assert mode_of(tmp_path / "app.sock") == 0o660


def test_the_mode_is_for_every_unix_socket_of_the_settings(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b", "c")]
    targets = (f"unix:{paths[1]}", f"unix:{paths[2]},tls=off")
    with bound(uds=str(paths[0]), bind=targets, uds_mode="600"):
        assert [mode_of(path) for path in paths] == [0o600] * 3


@needs_root
def test_a_group_gets_the_socket_by_name_or_number(tmp_path: Path) -> None:
    entry = next(one for one in grp.getgrall() if one.gr_gid != os.getegid())
    for given in (entry.gr_name, str(entry.gr_gid), entry.gr_gid):
        with bound(uds=str(tmp_path / "app.sock"), uds_group=given, uds_mode="060"):
            status = (tmp_path / "app.sock").stat()
            assert (status.st_uid, status.st_gid) == (os.geteuid(), entry.gr_gid)
            assert mode_of(tmp_path / "app.sock") == 0o060


def test_nobody_connects_before_the_mode_is_set(tmp_path: Path) -> None:
    """Bound is not yet listening: whatever the umask left for a moment, a client is refused until listen()."""
    path = tmp_path / "app.sock"
    with umask(0o000), bound(uds=str(path), uds_mode="600") as (one,):
        assert connecting(str(path)) == errno.ECONNREFUSED
        assert mode_of(path) == 0o600
        one.socket.listen()
        assert connecting(str(path)) == 0


def test_the_file_behind_a_link_that_takes_the_sockets_place_is_not_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may write into the directory can exchange the file between bind() and chmod()."""
    path, target = tmp_path / "app.sock", tmp_path / "shadow"
    target.write_text("secret")
    target.chmod(0o600)
    bind = socket.socket.bind

    class Exchanged(socket.socket):
        def bind(self, address: Any) -> None:
            bind(self, address)
            path.unlink()
            path.symlink_to(target)

    monkeypatch.setattr(socket, "socket", Exchanged)
    with pytest.raises(BindError, match="Cannot give unix:"):
        bind_all(Bind(uds=str(path), uds_mode="666"))
    assert mode_of(target) == 0o600


def test_a_group_that_does_not_exist_is_an_error_before_anything_is_bound(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^uds_group: this machine has no group 'no-such-group'"):
        bind_all(Bind(uds=str(tmp_path / "app.sock"), uds_group="no-such-group"))
    assert not (tmp_path / "app.sock").exists()


def test_a_group_that_may_not_be_given_is_an_error_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chown(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "chown", chown)
    with pytest.raises(BindError, match=r"group 0.*not permitted; a group takes root, or one of its members") as caught:
        bind_all(Bind(uds=str(tmp_path / "app.sock"), uds_group="0"))
    assert caught.value.errno == errno.EPERM
    assert not (tmp_path / "app.sock").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OverflowError])
def test_whatever_keeps_it_from_its_group_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def chown(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(os, "chown", chown)
    with pytest.raises(error):
        bind_all(Bind(uds=str(tmp_path / "app.sock"), uds_group="0"))
    assert not (tmp_path / "app.sock").exists()


@pytest.mark.parametrize("given", ["660", "0660", "0o660", 0o660])
def test_a_mode_is_octal(given: object) -> None:
    assert Bind(uds="app.sock", uds_mode=given).uds_mode == "660"  # type: ignore[arg-type]


@pytest.mark.parametrize("given", ["", "rw", "888", "1777", "-1", -1, 660, 0o1777, 0.5, True])
def test_what_is_no_mode_is_refused(given: object) -> None:
    with pytest.raises(ConfigError, match=r"^uds_mode: expected a file's permissions in octal"):
        Bind(uds="app.sock", uds_mode=given)  # type: ignore[arg-type]


@pytest.mark.parametrize("where", [{}, {"port": 80}, {"fd": 3}, {"uds": "@app"}, {"bind": ("unix:@app", "fd:web")}])
@pytest.mark.parametrize("setting", ["uds_mode", "uds_group"])
def test_permissions_without_a_file_to_have_them_are_refused(where: dict[str, Any], setting: str) -> None:
    with pytest.raises(ConfigError, match=f"^{setting}: is for a Unix socket with a path"):
        Bind(**where, **{setting: "7"})


# --- the file's end ---------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["app.sock", "./app.sock", "link/../app.sock"])
def test_a_relative_path_is_removed_wherever_the_process_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    elsewhere, home = tmp_path / "elsewhere", tmp_path / "home"
    (elsewhere / "inside").mkdir(parents=True)
    home.mkdir()
    (home / "link").symlink_to(elsewhere / "inside")
    monkeypatch.chdir(home)
    with bound(uds=place, uds_mode="600") as (one,):
        path = (home / place).resolve()
        assert mode_of(path) == 0o600
        assert url_of(one.socket, secure=False) == f"unix:{place}"
        monkeypatch.chdir("/")
    assert not path.exists()


# --- somebody else's --------------------------------------------------------------------------


@linux_only
def test_the_socket_of_a_server_that_is_just_starting_is_left_alone(tmp_path: Path) -> None:
    """It is bound, and does not listen before its application has started: to a client it looks stale."""
    path = tmp_path / "app.sock"
    with bound(uds=str(path)) as (one,):
        with pytest.raises(BindError, match="another server has it, and is just starting") as caught:
            bind_all(Bind(uds=str(path)))
        assert caught.value.errno == errno.EADDRINUSE
        one.socket.listen()
        assert connecting(str(path)) == 0


def test_a_link_that_leads_nowhere_is_told_and_stays(tmp_path: Path) -> None:
    """The system says of it that the address is in use, and nobody would find by whom."""
    path = tmp_path / "app.sock"
    path.symlink_to(tmp_path / "none")

    with pytest.raises(BindError, match=r"unix:.*: a symbolic link is there, and it leads nowhere\.$") as caught:
        bind_all(Bind(uds=str(path)))

    assert caught.value.errno == errno.EEXIST
    assert path.is_symlink()


# --- abstract ones ----------------------------------------------------------------------------


@linux_only
@pytest.mark.parametrize("setting", ["uds", "bind"])
def test_an_abstract_socket_has_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"@asgiserve-test-{os.getpid()}"
    with bound(**{setting: name if setting == "uds" else (f"unix:{name}",)}) as (one,):
        one.socket.listen()
        assert url_of(one.socket, secure=False) == f"unix:{name}"
        assert connecting(f"\0{name[1:]}") == 0
        assert list(tmp_path.iterdir()) == []
    assert connecting(f"\0{name[1:]}") == errno.ECONNREFUSED


@linux_only
def test_an_abstract_socket_that_is_taken_is_a_bind_error() -> None:
    name = f"@asgiserve-test-{os.getpid()}"
    with bound(uds=name), pytest.raises(BindError, match=f"unix:{name}: address already in use"):
        bind_all(Bind(uds=name))


@pytest.mark.parametrize("given", [{"uds": "@app"}, {"bind": ("unix:@app",)}])
def test_an_abstract_socket_is_refused_elsewhere_with_its_setting(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any]
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    (setting,) = given
    with pytest.raises(ConfigError, match=f"^{setting}: @app is an abstract Unix socket, which only Linux has"):
        check_form(Bind(**given))


def test_an_abstract_socket_needs_a_name() -> None:
    with pytest.raises(ConfigError, match=r"^uds: an abstract Unix socket needs a name"):
        check_form(Bind(uds="@"))
