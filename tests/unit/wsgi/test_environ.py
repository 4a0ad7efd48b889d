"""The environ of a request, as PEP 3333 and CGI (RFC 3875) name its parts."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any
from wsgiref.validate import check_environ

import pytest

from asgiserve.asgi.scope import Mount, Peer, http_scope
from asgiserve.events import RequestHead
from asgiserve.wsgi.environ import environ_of

if TYPE_CHECKING:
    from asgiserve.types import Headers

MOUNT = Mount()
TCP = Peer(("192.0.2.7", 5000), ("198.51.100.1", 8000), "http")


def head_of(method: str, raw_path: bytes, query: bytes, headers: Headers) -> RequestHead:
    return RequestHead(
        method=method,
        raw_path=raw_path,
        query=query,
        http_version="1.1",
        headers=headers,
        content_length=0,
        keep_alive=True,
        expects_continue=False,
        upgrade=b"",
    )


def made(target: bytes = b"/", *headers: tuple[bytes, bytes], mount: Mount = MOUNT, peer: Peer = TCP) -> dict[str, Any]:
    raw_path, _, query = target.partition(b"?")
    fields: Headers = [(b"host", b"example.org:81"), *headers]
    scope = http_scope(head_of("POST", raw_path, query, fields), peer, mount, {})
    return environ_of(scope, io.BytesIO(b"body"), io.StringIO())


def test_an_environ_passes_the_check_of_the_standard_library() -> None:
    check_environ(made(b"/a?b=c", (b"content-length", b"4")))


def test_an_environ_has_what_pep_3333_asks_for() -> None:
    environ = made(b"/a%20b?c=%20d", (b"content-type", b"text/plain"), (b"content-length", b"4"))

    expected = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a b",
        "QUERY_STRING": "c=%20d",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "4",
        "SERVER_NAME": "198.51.100.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.7",
        "REMOTE_PORT": "5000",
        "HTTP_HOST": "example.org:81",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input_terminated": True,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    assert {name: environ[name] for name in expected} == expected
    assert "HTTP_CONTENT_TYPE" not in environ
    assert "HTTP_CONTENT_LENGTH" not in environ


def test_the_target_is_told_as_received_too() -> None:
    environ = made(b"/a%2Fb?c")

    assert environ["PATH_INFO"] == "/a/b"
    assert environ["RAW_URI"] == environ["REQUEST_URI"] == "/a%2Fb?c"


@pytest.mark.parametrize(
    ("target", "path"),
    [(b"/%C3%BC", "/\xc3\xbc"), (b"/%FF", "/\xff"), (b"*", "*")],
)
def test_a_path_is_its_octets_as_latin_1(target: bytes, path: str) -> None:
    assert made(target)["PATH_INFO"] == path


@pytest.mark.parametrize(
    ("target", "path_info"),
    [
        (b"/page", "/page"),
        (b"/", "/"),
        (b"/app/page", "/app/page"),
        (b"/app", "/app"),
        (b"/%FF%C3%BC", "/\xff\xc3\xbc"),
    ],
)
def test_the_root_path_is_the_script_name_and_no_part_of_the_path_info(target: bytes, path_info: str) -> None:
    environ = made(target, mount=Mount("/app"))

    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/app", path_info)


@pytest.mark.parametrize(
    ("target", "path_info"),
    [
        (b"/app/page", "/page"),
        (b"/app", ""),
        (b"/page", "/page"),
        (b"/apple", "/apple"),
        (b"/app/", "/"),
        (b"/a%70p/%FF%C3%BC", "/\xff\xc3\xbc"),
        (b"/app/app", "/app"),
    ],
)
def test_so_is_a_root_path_that_is_kept(target: bytes, path_info: str) -> None:
    environ = made(target, mount=Mount("/app", kept=True))

    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/app", path_info)


@pytest.mark.parametrize(("target", "kept"), [(b"/page", False), (b"/%C3%BC/page", True)])
def test_a_root_path_is_its_octets_as_latin_1(target: bytes, kept: bool) -> None:
    environ = made(target, mount=Mount("/ü", kept))

    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/\xc3\xbc", "/page")


def test_repeated_fields_are_joined() -> None:
    environ = made(b"/", (b"accept", b"a"), (b"accept", b"b"), (b"cookie", b"c=1"), (b"cookie", b"d=2"))

    assert environ["HTTP_ACCEPT"] == "a,b"
    assert environ["HTTP_COOKIE"] == "c=1; d=2"


def test_a_name_with_an_underscore_cannot_pass_for_another_field() -> None:
    environ = made(b"/", (b"x_user", b"root"), (b"x-user", b"me"), (b"content_length", b"9"), (b"x_other", b"1"))

    assert environ["HTTP_X_USER"] == "me"
    assert not {"CONTENT_LENGTH", "HTTP_X_OTHER", "HTTP_CONTENT_LENGTH"} & environ.keys()


def test_a_client_cannot_set_http_proxy() -> None:
    assert "HTTP_PROXY" not in made(b"/", (b"proxy", b"http://evil.example"))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (b"example.org:8443", ("example.org", "8443")),
        (b"example.org", ("example.org", "443")),
        (b"[2001:db8::1]", ("[2001:db8::1]", "443")),
        (b"[2001:db8::1]:81", ("[2001:db8::1]", "81")),
        (b"", ("localhost", "443")),
    ],
)
def test_on_a_unix_socket_the_server_is_what_the_host_field_says(host: bytes, expected: tuple[str, str]) -> None:
    scope = http_scope(
        head_of("GET", b"/", b"", [(b"host", host)]), Peer(None, ("/run/app.sock", None), "https"), MOUNT, {}
    )

    environ = environ_of(scope, io.BytesIO(), io.StringIO())

    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == expected
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == ("", "https")


def test_an_environ_says_when_a_stop_has_been_asked_for() -> None:
    head = head_of("GET", b"/", b"", [(b"host", b"x")])

    def environ(state: dict[str, Any]) -> dict[str, Any]:
        return environ_of(http_scope(head, TCP, MOUNT, state), io.BytesIO(), io.StringIO())

    assert "asgiserve.draining" not in environ({})
    assert environ({"asgiserve.draining": True})["asgiserve.draining"] is True
