"""Which heads are remembered, and that what is remembered says the same to every request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asgiserve.errors import LocalProtocolError
from asgiserve.protocols.http1 import DefaultFields
from asgiserve.protocols.http1.response_head import rendered_head
from tests.unit.protocols.responses import GET, GET_10, HEAD, LENGTH_2, begun, write

if TYPE_CHECKING:
    from tests.unit.protocols.responses import Fields


def is_remembered(status: int, fields: Fields) -> bool:
    first = rendered_head(status, tuple(fields))
    return rendered_head(status, tuple(fields)) is first


@pytest.mark.parametrize("fields", [[], LENGTH_2, [(b"content-type", b"a/b"), *LENGTH_2]])
def test_a_head_of_repeating_fields_is_remembered(fields: Fields) -> None:
    assert is_remembered(200, fields)


@pytest.mark.parametrize("name", [b"set-cookie", b"Location", b"etag", b"www-authenticate", b"x-token"])
def test_a_head_that_may_hold_a_secret_is_not_remembered(name: bytes) -> None:
    assert not is_remembered(200, [(name, b"secret"), *LENGTH_2])


@pytest.mark.parametrize("name", [b"connection", b"date", b"server", b"keep-alive"])
def test_a_head_with_a_field_of_the_servers_own_is_not_remembered(name: bytes) -> None:
    assert not is_remembered(200, [(name, b"close"), *LENGTH_2])


def test_a_memory_full_of_heads_that_do_not_repeat_starts_again() -> None:
    for length in range(2000):
        rendered_head(200, ((b"content-length", b"%d" % length),))
    assert is_remembered(200, [(b"vary", b"accept"), *LENGTH_2])


def test_a_large_head_is_not_remembered() -> None:
    assert not is_remembered(200, [(b"vary", b"a" * 250), (b"allow", b"a" * 250), *LENGTH_2])


def test_a_refused_head_is_refused_again() -> None:
    for _ in range(2):
        with pytest.raises(LocalProtocolError, match="vary"):
            rendered_head(200, ((b"vary", b"a\nb"),))


def test_heads_that_differ_in_status_order_or_case_are_rendered_apart() -> None:
    fields: Fields = [(b"vary", b"a"), (b"allow", b"b")]
    heads = [(200, fields), (201, fields), (200, fields[::-1]), (200, [(b"Vary", b"a"), (b"allow", b"b")])]
    for _ in range(2):
        rendered = [rendered_head(status, tuple(given)) for status, given in heads]
        assert len({one.lines for one in rendered}) == len(heads)


def test_one_head_answers_every_kind_of_request() -> None:
    fields: Fields = [(b"content-type", b"a/b"), *LENGTH_2]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: a/b\r\ncontent-length: 2\r\n"
    for _ in range(2):
        assert write(begun(GET, fields), b"hi") == head + b"\r\nhi"
        assert write(begun(HEAD, fields), b"hi") == head + b"\r\n"
        assert write(begun(GET_10, fields), b"hi") == head + b"connection: close\r\n\r\nhi"


def test_one_head_is_sent_with_the_defaults_of_each_server() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n"
    servers = [DefaultFields(b"one", []), DefaultFields(None, []), DefaultFields(b"two", [("x-extra", "1")])]
    for _ in range(2):
        sent = [begun(GET, LENGTH_2, defaults=defaults).head(close=False) for defaults in servers]
        assert sent == [
            head + b"server: one\r\n\r\n",
            head + b"\r\n",
            head + b"server: two\r\nx-extra: 1\r\n\r\n",
        ]


def test_what_is_changed_in_a_head_later_is_not_what_was_remembered() -> None:
    fields: Fields = [(b"vary", b"x")]
    rendered_head(200, tuple(fields))
    fields.append((b"vary", b"y"))
    assert rendered_head(200, tuple(fields)).lines.endswith(b"vary: x\r\nvary: y\r\n")
    assert rendered_head(200, tuple(fields[:1])).lines.endswith(b" OK\r\nvary: x\r\n")
