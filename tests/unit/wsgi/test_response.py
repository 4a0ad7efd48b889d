"""What `start_response`, `write` and the parts of a body become."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from asgiserve.errors import LocalProtocolError
from asgiserve.wsgi.response import ResponseParts

if TYPE_CHECKING:
    from asgiserve.types import Message


def started(*headers: tuple[str, str], status: str = "200 OK", head_only: bool = False) -> ResponseParts:
    response = ResponseParts(head_only=head_only)
    response.start(status, list(headers))
    return response


def start(*headers: tuple[bytes, bytes], status: int = 200) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


def test_the_head_waits_for_the_first_part_that_is_not_empty() -> None:
    response = started(("X-A", "1"))

    assert response.part(b"", last=False) == []
    assert response.part(b"a", last=False) == [start((b"x-a", b"1")), body(b"a", more=True)]
    assert response.part(b"b", last=False) == [body(b"b", more=True)]
    assert response.end() == [body(b"", more=False)]
    assert response.complete


def test_a_part_that_is_known_to_be_the_only_one_has_its_length_told() -> None:
    assert started().part(b"abc", last=True) == [start((b"content-length", b"3")), body(b"abc", more=False)]


def test_an_empty_body_has_its_length_told() -> None:
    assert started().end() == [start((b"content-length", b"0")), body(b"", more=False)]


@pytest.mark.parametrize(
    ("status", "head_only"), [("204 No Content", False), ("304 Not Modified", False), ("200 OK", True)]
)
def test_a_response_without_a_body_gets_no_length_of_ours(status: str, head_only: bool) -> None:
    (head, _) = started(status=status, head_only=head_only).end()

    assert head["headers"] == []


@pytest.mark.parametrize("last", [False, True])
def test_a_response_to_head_is_complete_with_its_first_part_that_is_not_empty(last: bool) -> None:
    response = started(("X-A", "1"), head_only=True)

    assert response.part(b"", last=False) == []
    head, end = response.part(b"abc", last=last)
    assert head == start((b"x-a", b"1"), *[(b"content-length", b"3")] * last)  # the same as for GET
    assert end == body(b"", more=False)
    assert response.complete
    assert response.write(b"d") == response.end() == []


def test_a_response_to_head_has_the_length_of_the_applications_own() -> None:
    response = started(("Content-Length", "3"), head_only=True)

    assert response.write(b"a") == [start((b"content-length", b"3")), body(b"", more=False)]


def test_a_length_of_the_applications_own_stays_and_completes_the_response() -> None:
    response = started(("Content-Length", "3"))

    assert response.part(b"ab", last=False) == [start((b"content-length", b"3")), body(b"ab", more=True)]
    assert response.part(b"cdef", last=False) == [body(b"c", more=False)]
    assert response.complete
    assert response.part(b"g", last=False) == response.end() == []


def test_write_beyond_the_length_is_an_error() -> None:
    response = started(("Content-Length", "3"))
    response.write(b"ab")

    with pytest.raises(LocalProtocolError, match="more than the Content-Length"):
        response.write(b"cd")


def failure() -> Any:
    try:
        raise ValueError("late")
    except ValueError:
        return sys.exc_info()


def test_the_head_can_be_replaced_until_it_is_sent() -> None:
    response = started(("X-A", "1"))
    response.start("500 Oops", [("X-B", "2")], failure())

    assert response.part(b"a", last=False)[0] == start((b"x-b", b"2"), status=500)


def test_after_that_the_error_is_raised() -> None:
    response = started()
    response.part(b"a", last=False)

    with pytest.raises(ValueError, match="late"):
        response.start("500 Oops", [], failure())


def test_a_second_start_without_an_error_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="second time"):
        started().start("200 OK", [])


@pytest.mark.parametrize("status", ["OK", "20", "2000 OK", "²00 OK", 200, b"200 OK", None])
def test_a_status_that_is_none_is_refused(status: Any) -> None:
    with pytest.raises(LocalProtocolError, match="status of a WSGI response"):
        ResponseParts(head_only=False).start(status, [])


@pytest.mark.parametrize("status", ["200", "200 ", "200 All is well"])
def test_a_status_may_have_any_reason_or_none(status: str) -> None:
    assert started(status=status).end()[0]["status"] == 200


@pytest.mark.parametrize("part", ["text", bytearray(b"a"), None, 5])
def test_a_part_that_is_not_bytes_is_refused(part: Any) -> None:
    with pytest.raises(LocalProtocolError, match=f"is {type(part).__name__}, where bytes are expected"):
        started().part(part, last=False)


def test_a_body_without_a_start_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="before it called start_response"):
        ResponseParts(head_only=False).part(b"a", last=False)
    with pytest.raises(LocalProtocolError, match="without calling start_response"):
        ResponseParts(head_only=False).end()
