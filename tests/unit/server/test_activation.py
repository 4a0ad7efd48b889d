"""Sockets that systemd passes: what its variables say, and what is served of it."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest

from asgiserve.config import Bind
from asgiserve.errors import BindError, ConfigError
from asgiserve.server.activation import PassedSocket, taken_from
from asgiserve.server.binding import bind_all, check_form, url_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asgiserve.server.bound import BoundSocket

FIRST = 300
"""Where these tests have their descriptors: systemd's own first is 3, which pytest uses."""


class Systemd:
    """Passes sockets as systemd does: listening, in a row of descriptors, inheritable."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.passed: list[PassedSocket] = []

    def passes(self, sock: socket.socket, name: str = "unknown") -> socket.socket:
        fd = FIRST + len(self.passed)
        os.dup2(sock.fileno(), fd, inheritable=True)
        self._stack.callback(_close, fd)
        self.passed.append(PassedSocket(fd, name))
        return self._stack.enter_context(sock)

    def tcp(self, name: str = "unknown") -> int:
        """A port that it listens on."""
        port: int = self.passes(socket.create_server(("127.0.0.1", 0)), name).getsockname()[1]
        return port

    def unix(self, path: Path, name: str = "unknown") -> None:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(path))
        sock.listen()
        self.passes(sock, name)

    def environ(self, **others: str) -> dict[str, str]:
        names = ":".join(one.name for one in self.passed)
        told = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(self.passed)), "LISTEN_FDNAMES": names}
        return {**told, **others}

    def bound(self, bind: Bind) -> list[BoundSocket]:
        """What a server is given with these settings; closed with the test."""
        bound = bind_all(bind, self.passed)
        for one in bound:
            self._stack.callback(one.close)
        return bound


def _close(fd: int) -> None:
    with suppress(OSError):  # whoever took it over has closed it
        os.close(fd)


@pytest.fixture
def systemd() -> Iterator[Systemd]:
    with ExitStack() as stack:
        yield Systemd(stack)


def urls(bound: list[BoundSocket]) -> list[str]:
    return [url_of(one.socket, secure=False) for one in bound]


# --- the variables ----------------------------------------------------------------------------


def test_the_sockets_have_their_names(systemd: Systemd) -> None:
    systemd.tcp("web")
    systemd.tcp("admin")
    assert taken_from(systemd.environ(), os.getpid(), first=FIRST) == (
        PassedSocket(FIRST, "web"),
        PassedSocket(FIRST + 1, "admin"),
    )


def test_without_names_each_is_unknown(systemd: Systemd) -> None:
    systemd.tcp()
    environ = systemd.environ()
    del environ["LISTEN_FDNAMES"]
    assert taken_from(environ, os.getpid(), first=FIRST) == (PassedSocket(FIRST, "unknown"),)


def test_the_variables_are_taken_away_and_others_stay(systemd: Systemd) -> None:
    systemd.tcp()
    environ = systemd.environ(LISTEN_PIDFDID="1", NOTIFY_SOCKET="/run/notify", LANG="C")
    taken_from(environ, os.getpid(), first=FIRST)
    assert environ == {"NOTIFY_SOCKET": "/run/notify", "LANG": "C"}


def test_programs_that_an_application_starts_do_not_get_the_sockets(systemd: Systemd) -> None:
    systemd.tcp()
    assert os.get_inheritable(FIRST)
    taken_from(systemd.environ(), os.getpid(), first=FIRST)
    assert not os.get_inheritable(FIRST)


@pytest.mark.parametrize("missing", ["LISTEN_PID", "LISTEN_FDS"])
def test_without_the_variables_there_is_nothing(missing: str) -> None:
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
    del environ[missing]
    assert taken_from(environ, os.getpid()) == ()


def test_sockets_for_another_process_are_not_taken_and_that_is_told(
    systemd: Systemd, caplog: pytest.LogCaptureFixture
) -> None:
    systemd.tcp()
    environ = systemd.environ(LISTEN_PID="1")
    assert taken_from(environ, os.getpid(), first=FIRST) == ()
    assert environ["LISTEN_PID"] == "1"
    assert os.get_inheritable(FIRST)
    assert "for process 1, and this is" in caplog.text
    assert "exec" in caplog.text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("LISTEN_PID", one) for one in ("x", "-1", "1.5", "٣", "1" * 20)],
        *[("LISTEN_FDS", one) for one in ("x", "-1", "1e3", "1025", "9" * 20)],
        *[("LISTEN_FDNAMES", one) for one in ("a:b", "a:")],
    ],
)
def test_a_value_that_makes_no_sense_is_refused_with_its_variable(name: str, value: str, systemd: Systemd) -> None:
    systemd.tcp()
    with pytest.raises(ConfigError, match=f"^{name}: expected") as caught:
        taken_from(systemd.environ(**{name: value}), os.getpid(), first=FIRST)
    assert repr(value) in str(caught.value)


def test_a_descriptor_that_is_counted_and_not_open_is_refused(systemd: Systemd) -> None:
    systemd.tcp()
    environ = systemd.environ(LISTEN_FDS="2", LISTEN_FDNAMES="")
    with pytest.raises(ConfigError, match=f"^LISTEN_FDS: counts 2 sockets, but descriptor {FIRST + 1} is not open"):
        taken_from(environ, os.getpid(), first=FIRST)


# --- what is served ---------------------------------------------------------------------------


def test_with_no_other_place_the_passed_sockets_are_all_that_is_served(systemd: Systemd, tmp_path: Path) -> None:
    port = systemd.tcp()
    systemd.unix(tmp_path / "app.sock")
    assert urls(systemd.bound(Bind())) == [f"http://127.0.0.1:{port}", f"unix:{tmp_path / 'app.sock'}"]


def test_a_place_that_is_named_is_served_beside_them(systemd: Systemd, tmp_path: Path) -> None:
    port = systemd.tcp()
    path = tmp_path / "own.sock"
    served = urls(systemd.bound(Bind(uds=str(path), port=0)))
    assert served[:2] == [f"unix:{path}", f"http://127.0.0.1:{port}"]
    assert len(served) == 3


def test_a_name_picks_what_is_said_of_a_socket_and_the_others_are_served_too(systemd: Systemd) -> None:
    web, admin, more = systemd.tcp("web"), systemd.tcp("admin"), systemd.tcp("admin")
    bound = systemd.bound(Bind(bind=("fd:admin,tls=off",)))
    assert [(one.socket.getsockname()[1], one.plain) for one in bound] == [(admin, True), (more, True), (web, False)]


def test_a_number_takes_the_socket_once(systemd: Systemd) -> None:
    port = systemd.tcp()
    assert urls(systemd.bound(Bind(fd=FIRST))) == [f"http://127.0.0.1:{port}"]


def test_a_name_that_was_not_passed_is_an_error_with_those_that_were(systemd: Systemd) -> None:
    systemd.tcp("web")
    with pytest.raises(BindError, match=r"fd:admin: systemd has passed no socket of this name, but web\."):
        bind_all(Bind(bind=("fd:admin",)), systemd.passed)
    with pytest.raises(BindError, match=r"fd:admin: systemd has passed no socket of this name\."):
        bind_all(Bind(bind=("fd:admin",)))


def test_a_name_is_not_looked_for_before_something_is_bound() -> None:
    check_form(Bind(bind=("fd:admin,tls=off",)))


def test_a_socket_that_takes_no_connections_is_refused_with_what_the_unit_must_say(systemd: Systemd) -> None:
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("127.0.0.1", 0))
    systemd.passes(datagrams, "metrics")
    with pytest.raises(BindError, match=rf"{FIRST} \(metrics\).*no stream socket; use ListenStream="):
        bind_all(Bind(), systemd.passed)


def test_a_connection_instead_of_a_listener_is_refused_with_what_the_unit_must_say(systemd: Systemd) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        systemd.passes(ours)
        with pytest.raises(BindError, match="it does not listen; leave Accept=yes out"):
            bind_all(Bind(), systemd.passed)


def test_the_file_of_a_passed_unix_socket_stays(systemd: Systemd, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    systemd.unix(path)
    for one in systemd.bound(Bind()):
        one.close()
    assert path.exists()


def test_clients_that_wait_at_a_passed_socket_are_not_lost_by_the_end_of_the_server(systemd: Systemd) -> None:
    kept = systemd.passes(socket.create_server(("127.0.0.1", 0)))
    (one,) = systemd.bound(Bind())
    with socket.create_connection(kept.getsockname()) as client:
        one.close()
        accepted, peer = kept.accept()
        accepted.close()
        assert peer == client.getsockname()
