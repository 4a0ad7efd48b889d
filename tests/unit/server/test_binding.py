"""From settings to bound sockets, on real sockets and without an event loop."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from asgiserve.config import Bind
from asgiserve.errors import BindError, ConfigError
from asgiserve.server.binding import address_of, bind_all, check_tls, url_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asgiserve.server.binding import BoundSocket

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 and the link lo are Linux's")


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")


@contextmanager
def bound(bind: Bind) -> Iterator[list[BoundSocket]]:
    """Bind for the block."""
    sockets = bind_all(bind)
    try:
        yield sockets
    finally:
        for one in sockets:
            one.close()


def tcp_listener() -> socket.socket:
    """Somebody else's server."""
    return socket.create_server(("127.0.0.1", 0))


def unix_listener(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()
    return listener


def resolving_to(*addresses: str) -> object:
    """A resolver that knows one name, with these addresses."""

    def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    return getaddrinfo


def is_free(address: tuple[str, int]) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(address) == errno.ECONNREFUSED


# --- TCP --------------------------------------------------------------------------------------


def test_port_0_takes_a_free_port() -> None:
    with bound(Bind(host="127.0.0.1", port=0)) as (one,):
        host, port = one.socket.getsockname()
        assert host == "127.0.0.1"
        assert port > 0


def test_a_port_alone_means_the_loopback_address() -> None:
    with bound(Bind(port=0)) as (one,):
        assert one.socket.getsockname()[0] == "127.0.0.1"


@linux_only
def test_every_address_of_a_name_gets_the_same_free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", resolving_to("127.0.0.1", "127.0.0.2", "127.0.0.1"))
    with bound(Bind(host="twice.test", port=0)) as sockets:
        names = [one.socket.getsockname() for one in sockets]
        assert [host for host, _ in names] == ["127.0.0.1", "127.0.0.2"]
        assert len({port for _, port in names}) == 1


@linux_only
def test_nothing_of_a_name_stays_bound_when_one_of_its_addresses_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", resolving_to("127.0.0.1", "127.0.0.2"))
    with closing(socket.create_server(("127.0.0.2", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindError, match=rf"127\.0\.0\.2:{port}: address already in use"):
            bind_all(Bind(host="twice.test", port=port))
        socket.create_server(("127.0.0.1", port)).close()


def test_an_empty_host_means_all_interfaces() -> None:
    with bound(Bind(bind=(":0",))) as sockets:
        names = [one.socket.getsockname() for one in sockets]
        assert {host for host, *_ in names} <= {"0.0.0.0", "::"}
        assert "0.0.0.0" in {host for host, *_ in names}
        assert len({port for _, port, *_ in names}) == 1


@needs_ipv6
def test_an_ipv6_literal_stands_in_brackets() -> None:
    with bound(Bind(bind=("[::1]:0",))) as (one,):
        assert one.socket.family is socket.AF_INET6
        port = one.socket.getsockname()[1]
        assert url_of(one.socket, secure=False) == f"http://[::1]:{port}"


@needs_ipv6
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_as_a_host_it_may_stand_in_them(host: str) -> None:
    with bound(Bind(host=host, port=0)) as (one,):
        address, port = one.socket.getsockname()[:2]
        assert address == "::1"
        assert url_of(one.socket, secure=False) == f"http://[::1]:{port}"


def link_local() -> str:
    """An address of this machine that is valid on one link only."""
    try:
        rows = [row.split() for row in Path("/proc/net/if_inet6").read_text().splitlines()]
    except OSError:
        rows = []
    for digits, _, _, scope, _, link in rows:
        if scope == "20":
            address = socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits))
            return f"{address}%{link}"
    pytest.skip("this machine has no link-local address, or is no Linux")


def test_an_ipv6_address_of_one_link_is_served_on_that_link() -> None:
    host = link_local()
    for settings in (Bind(bind=(f"[{host}]:0",)), Bind(host=host, port=0)):
        with bound(settings) as (one,):
            port = one.socket.getsockname()[1]
            assert address_of(one.socket) == (host, port)
            assert url_of(one.socket, secure=False) == f"http://[{host}]:{port}"
            one.socket.listen()
            with closing(socket.create_connection((host, port), timeout=5)):
                pass


@needs_ipv6
@linux_only
def test_a_link_without_such_an_address_is_told_as_the_address_was_given() -> None:
    with pytest.raises(BindError, match=r"Cannot bind \[fe80::1%lo\]:80: .* no such address\.$") as caught:
        bind_all(Bind(bind=("[fe80::1%lo]:80",)))
    assert caught.value.errno == errno.EADDRNOTAVAIL


@needs_ipv6
def test_an_ipv6_socket_leaves_the_port_to_ipv4() -> None:
    # Asked of the option: whether the same port is free for IPv4 at this moment, other programs decide.
    with bound(Bind(host="::", port=0)) as (one,):
        assert one.socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1


def test_a_taken_port_is_a_bind_error_with_errno_and_advice() -> None:
    with closing(tcp_listener()) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindError) as caught:
            bind_all(Bind(port=port))
    assert caught.value.errno == errno.EADDRINUSE
    assert f"Cannot bind 127.0.0.1:{port}: address already in use" in str(caught.value)
    assert "choose another port" in str(caught.value)


def test_an_address_of_another_machine_is_a_bind_error() -> None:
    with pytest.raises(BindError, match="no such address") as caught:
        bind_all(Bind(host="192.0.2.1", port=0))
    assert caught.value.errno == errno.EADDRNOTAVAIL


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "[localhost]", "[::1", "x" * 300])
def test_a_host_name_that_means_nothing_is_a_bind_error_that_names_it(host: str) -> None:
    with pytest.raises(BindError, match="Cannot resolve the host name") as caught:
        bind_all(Bind(host=host, port=0))
    assert repr(host) in str(caught.value)


def test_a_port_in_time_wait_does_not_keep_a_restarted_server_out() -> None:
    with bound(Bind(port=0)) as (first,):
        first.socket.listen()
        address = first.socket.getsockname()
        client = socket.create_connection(address)
        server, _ = first.socket.accept()
        server.close()  # who closes first has the TIME_WAIT
        client.close()
    with bound(Bind(port=address[1])) as (second,):
        assert second.socket.getsockname() == address


# --- Unix sockets -----------------------------------------------------------------------------


def test_a_unix_socket_is_created_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with bound(Bind(uds=str(path))) as (one,):
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert url_of(one.socket, secure=False) == f"unix:{path}"
    assert not path.exists()


def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    unix_listener(path).close()
    with bound(Bind(uds=str(path))) as (one,):
        one.socket.listen()
        with closing(socket.socket(socket.AF_UNIX)) as client:
            assert client.connect_ex(str(path)) == 0


def test_a_live_unix_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with closing(unix_listener(path)) as live:
        with pytest.raises(BindError, match="another server listens on it") as caught:
            bind_all(Bind(uds=str(path)))
        assert caught.value.errno == errno.EADDRINUSE
        with closing(socket.socket(socket.AF_UNIX)) as client:
            client.connect(str(path))
            live.accept()[0].close()


def test_a_live_unix_socket_with_a_full_queue_is_refused_without_waiting(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    clients: list[socket.socket] = []
    with closing(unix_listener(path)) as live:
        live.listen(0)
        while True:
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            clients.append(client)
            if client.connect_ex(str(path)) != 0 or len(clients) > 100:
                break
        with pytest.raises(BindError, match="another server listens on it"):
            bind_all(Bind(uds=str(path)))
    for client in clients:
        client.close()


def test_a_file_that_is_no_socket_is_never_removed(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    path.write_text("precious")
    with pytest.raises(BindError, match="it is not a socket") as caught:
        bind_all(Bind(uds=str(path)))
    assert caught.value.errno == errno.EEXIST
    assert path.read_text() == "precious"


def test_a_unix_socket_that_somebody_else_made_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with bound(Bind(uds=str(path))):
        path.unlink()
        successor = unix_listener(path)
    with closing(successor):
        assert stat.S_ISSOCK(path.stat().st_mode)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing/app.sock", "no such file or directory"), ("x" * 200, "too long"), ("a\0b", "null")],
)
def test_a_path_that_cannot_be_bound_is_a_bind_error(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(BindError, match=reason):
        bind_all(Bind(uds=f"{tmp_path}/{name}"))


# --- inherited descriptors --------------------------------------------------------------------


def test_a_descriptor_of_a_tcp_socket_is_taken_over() -> None:
    inherited = tcp_listener()
    name = inherited.getsockname()
    with bound(Bind(fd=inherited.detach())) as (one,):
        assert one.socket.getsockname() == name
        assert one.socket.family is socket.AF_INET


def test_the_path_of_an_inherited_unix_socket_belongs_to_whoever_made_it(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with bound(Bind(fd=unix_listener(path).detach())) as (one,):
        assert one.socket.family is socket.AF_UNIX
        assert url_of(one.socket, secure=False) == f"unix:{path}"
    assert path.exists()


def test_a_descriptor_that_is_not_open_is_a_bind_error() -> None:
    descriptor = os.dup(0)
    os.close(descriptor)
    with pytest.raises(BindError, match=f"file descriptor {descriptor}") as caught:
        bind_all(Bind(fd=descriptor))
    assert caught.value.errno == errno.EBADF


@pytest.mark.parametrize("beyond", [1 << 31, 1 << 32, 10**25])
@pytest.mark.parametrize("as_bind", [False, True])
def test_a_number_that_no_descriptor_can_have_is_a_bind_error(beyond: int, as_bind: bool) -> None:
    with socket.socket() as open_one:
        # Python's socket would take 2**32 + 3 for 3.
        number = beyond + open_one.fileno()
        bind = Bind(bind=(f"fd:{number}",)) if as_bind else Bind(fd=number)
        with pytest.raises(BindError, match=f"Cannot bind file descriptor {number}: bad file descriptor") as caught:
            bind_all(bind)
    assert caught.value.errno == errno.EBADF


def test_a_descriptor_of_a_file_is_a_bind_error(tmp_path: Path) -> None:
    with (
        (tmp_path / "file").open("w") as file,
        pytest.raises(BindError, match=f"file descriptor {file.fileno()}") as caught,
    ):
        bind_all(Bind(fd=file.fileno()))
    assert caught.value.errno == errno.ENOTSOCK


def test_a_datagram_socket_is_refused_and_stays_open() -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as datagram:
        datagram.bind(("127.0.0.1", 0))
        with pytest.raises(BindError, match="not a stream socket"):
            bind_all(Bind(fd=datagram.fileno()))
        assert datagram.getsockname()[1] > 0


# --- several at once --------------------------------------------------------------------------


def test_bind_takes_several_kinds_together(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    inherited = tcp_listener()
    port = inherited.getsockname()[1]
    targets = ("127.0.0.1:0", f"unix:{path}", f"fd:{inherited.detach()}")
    with bound(Bind(bind=targets)) as sockets:
        urls = [url_of(one.socket, secure=False) for one in sockets]
        assert urls[0].startswith("http://127.0.0.1:")
        assert urls[1:] == [f"unix:{path}", f"http://127.0.0.1:{port}"]


def test_tls_is_switched_off_place_by_place(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    targets = ("127.0.0.1:0", "127.0.0.1:0,tls=off", f"unix:{path},tls=off", "127.0.0.1:0,tls=on")
    with bound(Bind(bind=targets)) as sockets:
        assert [one.plain for one in sockets] == [False, True, True, False]
        assert sockets[2].path == str(path)


@pytest.mark.parametrize("target", ["127.0.0.1:0,tls=", "127.0.0.1:0,tls=no", "127.0.0.1:0,tls=off,tls=OFF"])
def test_any_other_word_about_tls_is_refused(target: str) -> None:
    with pytest.raises(ConfigError, match="tls=on or tls=off"):
        bind_all(Bind(bind=(target,)))


def test_tls_without_a_certificate_is_refused_where_it_is_asked_for() -> None:
    asked, silent = Bind(bind=("127.0.0.1:8443,tls=on",)), Bind(bind=("127.0.0.1:8443", ":80,tls=off"))
    with pytest.raises(ConfigError, match=r"127.0.0.1:8443,tls=on asks for TLS"):
        check_tls(asked, certificates=False)
    check_tls(asked, certificates=True)
    check_tls(silent, certificates=False)


def test_a_unix_socket_and_a_port_are_both_bound(tmp_path: Path) -> None:
    with bound(Bind(uds=str(tmp_path / "app.sock"), port=0)) as sockets:
        assert [one.socket.family for one in sockets] == [socket.AF_UNIX, socket.AF_INET]


def test_nothing_stays_bound_after_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with closing(tcp_listener()) as probe:
        free = probe.getsockname()[1]
    with closing(tcp_listener()) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindError):
            bind_all(Bind(bind=(f"127.0.0.1:{free}", f"unix:{path}", f"127.0.0.1:{port}")))
    assert not path.exists()
    assert is_free(("127.0.0.1", free))
    socket.create_server(("127.0.0.1", free)).close()


@pytest.mark.parametrize(
    "target",
    [
        *["", "localhost", "8000", "localhost:", "localhost:http", "localhost:65536", "localhost:-1"],
        *["unix:", "fd:", "fd:a b", "fd:a:b", "fd:-1", "fd://3", "fd:" + "9" * 5000],
        *["::1", "::1:8000", "[::1", "[::1]", "[::1:80", "localhost:\u0663"],
    ],
)
def test_a_malformed_target_is_a_config_error_that_shows_it(target: str) -> None:
    with pytest.raises(ConfigError, match="expected HOST:PORT") as caught:
        bind_all(Bind(bind=(target,)))
    assert repr(target) in str(caught.value)


def test_a_malformed_target_releases_what_was_bound_before_it(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with pytest.raises(ConfigError):
        bind_all(Bind(bind=(f"unix:{path}", "nonsense")))
    assert not path.exists()


def test_the_url_of_a_server_with_tls_says_https() -> None:
    with bound(Bind(port=0)) as (one,):
        port = one.socket.getsockname()[1]
        assert url_of(one.socket, secure=True) == f"https://127.0.0.1:{port}"


def test_closing_twice_is_harmless(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    (one,) = bind_all(Bind(uds=str(path)))
    one.close()
    successor = unix_listener(path)
    one.close()
    with closing(successor):
        assert path.exists()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"bind": ["127.0.0.1:8000", "127.0.0.1:8000"]}, "bind: 127.0.0.1:8000 is given twice"),
        ({"bind": ["[::1]:8000", "[::1]:8000,tls=off"]}, "bind: [::1]:8000 is given twice"),
        ({"bind": "127.0.0.1:8000", "host": "127.0.0.1"}, "host: 127.0.0.1:8000 is given twice"),
        ({"bind": "127.0.0.1:80", "port": 80}, "port: 127.0.0.1:80 is given twice"),
        ({"bind": "unix:a.sock", "uds": "a.sock"}, "uds: unix:a.sock is given twice"),
        ({"bind": "fd:3", "fd": 3}, "fd: fd:3 is given twice"),
        ({"bind": ["fd:web", "fd:web"]}, "bind: fd:web is given twice"),
    ],
)
def test_a_place_that_is_given_twice_is_told_so(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        bind_all(Bind(**given))

    assert str(caught.value) == sentence


def test_a_free_port_may_be_asked_for_twice() -> None:
    with bound(Bind(bind=("127.0.0.1:0", "127.0.0.1:0"))) as sockets:
        first, second = (address_of(one.socket) for one in sockets)

    assert first != second
