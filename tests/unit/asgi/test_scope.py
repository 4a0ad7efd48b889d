"""The scope of an exchange: each key as ASGI says, from a checked request head."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from asgiserve.asgi.scope import Mount, Peer, http_scope
from asgiserve.events import RequestHead

MOUNT = Mount()
PEER = Peer(client=("127.0.0.1", 50_000), server=("127.0.0.1", 80), scheme="http")
HEAD = RequestHead(
    method="GET",
    raw_path=b"/",
    query=b"",
    http_version="1.1",
    headers=[(b"host", b"a"), (b"x-a", b"1"), (b"x-a", b"2")],
    content_length=0,
    keep_alive=True,
    expects_continue=False,
    upgrade=b"",
)


EXTENSIONS: dict[str, Any] = {"http.response.early_hint": {}, "http.response.trailers": {}}

FILES: dict[str, Any] = {"http.response.pathsend": {}, "http.response.zerocopysend": {}}


def scope_of(*, mount: Mount = MOUNT, state: dict[str, Any] | None = None, peer: Peer = PEER, **head: Any) -> Any:
    return http_scope(replace(HEAD, **head), peer, mount, state=state or {})


def test_a_scope_has_every_key_of_the_specification() -> None:
    assert scope_of(method="PATCH", raw_path=b"/p", query=b"q=1") == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "PATCH",
        "scheme": "http",
        "path": "/p",
        "raw_path": b"/p",
        "query_string": b"q=1",
        "root_path": "",
        "headers": [(b"host", b"a"), (b"x-a", b"1"), (b"x-a", b"2")],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 80),
        "state": {},
        "extensions": EXTENSIONS,
    }


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/", "/"),
        (b"/a/b", "/a/b"),
        (b"/a%20b", "/a b"),
        (b"/%C3%A9", "/é"),
        (b"/%c3%a9", "/é"),
        (b"/a%2Fb", "/a/b"),
        (b"/a%3Fb", "/a?b"),
        (b"/100%25", "/100%"),
        (b"/%zz%4", "/%zz%4"),
        (b"/%FF", "/\ufffd"),
        (b"//a", "//a"),
        (b"*", "*"),
    ],
)
def test_the_path_is_decoded_once_and_the_raw_path_stays_as_received(raw: bytes, path: str) -> None:
    scope = scope_of(raw_path=raw)
    assert (scope["path"], scope["raw_path"]) == (path, raw)


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/x", "/api/x"),
        (b"/apix", "/api/apix"),
        (b"/", "/api/"),
        (b"*", "*"),
        # The client has asked a proxy that strips for /api/api/x: it must not get what the proxy may forbid as /api/x.
        (b"/api/x", "/api/api/x"),
        (b"/api", "/api/api"),
    ],
)
def test_the_path_starts_with_the_root_path(raw: bytes, path: str) -> None:
    scope = scope_of(raw_path=raw, mount=Mount("/api"))
    assert (scope["path"], scope["root_path"], scope["raw_path"]) == (path, "/api", raw)


@pytest.mark.parametrize(("raw", "path"), [(b"/api/x", "/api/x"), (b"/api", "/api"), (b"/x", "/x"), (b"*", "*")])
def test_a_root_path_that_is_kept_is_not_put_in_front(raw: bytes, path: str) -> None:
    scope = scope_of(raw_path=raw, mount=Mount("/api", kept=True))
    assert (scope["path"], scope["root_path"], scope["raw_path"]) == (path, "/api", raw)


def test_http_10_is_offered_no_extensions_that_it_has_no_words_for() -> None:
    scope = scope_of(http_version="1.0")
    assert (scope["http_version"], scope["extensions"]) == ("1.0", {})


@pytest.mark.parametrize(("version", "others"), [("1.0", {}), ("1.1", EXTENSIONS)])
def test_files_are_offered_where_they_are_to_be(version: str, others: dict[str, Any]) -> None:
    scope = http_scope(replace(HEAD, http_version=version), PEER, MOUNT, {}, takes_files=True)
    assert scope["extensions"] == {**others, **FILES}


def test_the_state_is_a_shallow_copy() -> None:
    shared: list[int] = []
    state = {"shared": shared, "own": 1}
    one, other = scope_of(state=state), scope_of(state=state)
    one["state"]["own"] = 2
    one["state"]["shared"].append(3)
    assert other["state"] == {"shared": [3], "own": 1}
    assert state == {"shared": [3], "own": 1}


def test_what_one_application_writes_into_its_scope_is_not_in_the_next() -> None:
    scope = scope_of()
    scope["extensions"]["x"] = {}
    scope["extensions"]["http.response.trailers"]["x"] = 1
    scope["asgi"]["x"] = 1
    assert scope_of()["extensions"] == EXTENSIONS
    assert scope_of()["asgi"] == {"version": "3.0", "spec_version": "2.3"}


def test_the_ends_of_the_connection_are_told_as_they_are() -> None:
    scope = scope_of(peer=Peer(client=None, server=("/run/app.sock", None), scheme="https"))
    assert (scope["client"], scope["server"], scope["scheme"]) == (None, ("/run/app.sock", None), "https")
