"""The order and shape of a response's messages: every state with every message, and what each must hold."""

from __future__ import annotations

from http import HTTPStatus
from io import BytesIO
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgiserve.asgi.http import BODY, COMPLETE, START, TRAILERS, ResponseMessages
from asgiserve.errors import LocalProtocolError

if TYPE_CHECKING:
    from asgiserve.asgi.http import ResponseState
    from asgiserve.types import Header, Message

NOT_ALLOWED = 600
"""A status that the response's side refuses."""


class Response(ResponseMessages):
    """Notes what each message stands for."""

    known: tuple[Any, ...] | None = None
    """Headers that have been checked before."""

    unheard = False

    def advance(self, message: Message) -> tuple[Any, ...] | None:
        """What the message was taken for; None: ignored."""
        self.done: tuple[Any, ...] | None = ("nothing",)
        with pytest.raises(StopIteration):  # it awaits nothing
            self.send(message).send(None)
        return self.done

    def came_before(self, status: int, given: tuple[Any, ...]) -> bool:
        return self.known is not None and given == self.known

    def begin(self, status: int, headers: tuple[Header, ...]) -> None:
        if status == NOT_ALLOWED:
            raise LocalProtocolError("not allowed")
        self.done = ("begin", status, headers, self.trailers_follow)

    def write_body(self, data: bytes, more: bool) -> None:
        self.done = ("body", data, more)

    def write_path(self, path: str) -> None:
        self.done = ("path", path)

    def write_file(self, fd: int, offset: int | None, count: int | None, more: bool) -> None:
        self.done = ("file", fd, offset, count, more)

    def hint(self, links: list[bytes]) -> None:
        self.done = ("hint", links)

    def write_trailers(self, headers: tuple[Header, ...], more: bool) -> None:
        self.done = ("trailers", headers, more)

    def ignore(self) -> None:
        self.done = None


class Open:
    """What an open file is asked for."""

    def fileno(self) -> int:
        return 7


MESSAGES: dict[str, Message] = {
    "start": {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]},
    "start with trailers": {"type": "http.response.start", "status": 200, "trailers": True},
    "part": {"type": "http.response.body", "body": b"x", "more_body": True},
    "last": {"type": "http.response.body", "body": b"x"},
    "path": {"type": "http.response.pathsend", "path": "/a"},
    "part of a file": {"type": "http.response.zerocopysend", "file": Open(), "count": 5, "more_body": True},
    "rest of a file": {"type": "http.response.zerocopysend", "file": Open(), "offset": 2},
    "file by its number": {"type": "http.response.zerocopysend", "file": 7},
    "hint": {"type": "http.response.early_hint", "links": [b"<a>"]},
    "more trailers": {"type": "http.response.trailers", "headers": [(b"c", b"d")], "more_trailers": True},
    "trailers": {"type": "http.response.trailers", "headers": [(b"c", b"d")]},
    "unknown": {"type": "http.response.zebra"},
    "request": {"type": "http.request", "body": b""},
}

# How each state is reached; BODY is there twice, because it is left in two ways.
WAYS: dict[str, tuple[ResponseState, list[str]]] = {
    "START": (START, []),
    "BODY": (BODY, ["start"]),
    "BODY, trailers announced": (BODY, ["start with trailers"]),
    "TRAILERS": (TRAILERS, ["start with trailers", "last"]),
    "COMPLETE": (COMPLETE, ["start", "last"]),
    "COMPLETE, with trailers": (COMPLETE, ["start with trailers", "last", "trailers"]),
}

HEAD = ("begin", 200, ((b"a", b"b"),), False)
HEAD_WITH_TRAILERS = ("begin", 200, (), True)

# What is accepted, and the state after it. None: ignored. What is not here is refused.
ACCEPTED: dict[tuple[str, str], tuple[Any, ResponseState]] = {
    ("START", "start"): (HEAD, BODY),
    ("START", "start with trailers"): (HEAD_WITH_TRAILERS, BODY),
    ("START", "hint"): (("hint", [b"<a>"]), START),
    ("BODY", "part"): (("body", b"x", True), BODY),
    ("BODY", "last"): (("body", b"x", False), COMPLETE),
    ("BODY", "path"): (("path", "/a"), COMPLETE),
    ("BODY", "part of a file"): (("file", 7, None, 5, True), BODY),
    ("BODY", "rest of a file"): (("file", 7, 2, None, False), COMPLETE),
    ("BODY", "file by its number"): (("file", 7, None, None, False), COMPLETE),
    ("BODY", "hint"): (("hint", [b"<a>"]), BODY),
    ("BODY, trailers announced", "part"): (("body", b"x", True), BODY),
    ("BODY, trailers announced", "last"): (("body", b"x", False), TRAILERS),
    ("BODY, trailers announced", "path"): (("path", "/a"), TRAILERS),
    ("BODY, trailers announced", "part of a file"): (("file", 7, None, 5, True), BODY),
    ("BODY, trailers announced", "rest of a file"): (("file", 7, 2, None, False), TRAILERS),
    ("BODY, trailers announced", "file by its number"): (("file", 7, None, None, False), TRAILERS),
    ("BODY, trailers announced", "hint"): (("hint", [b"<a>"]), BODY),
    ("TRAILERS", "more trailers"): (("trailers", ((b"c", b"d"),), True), TRAILERS),
    ("TRAILERS", "trailers"): (("trailers", ((b"c", b"d"),), False), COMPLETE),
    ("TRAILERS", "part"): (None, TRAILERS),
    ("TRAILERS", "last"): (None, TRAILERS),
    ("TRAILERS", "path"): (None, TRAILERS),
    ("TRAILERS", "part of a file"): (None, TRAILERS),
    ("TRAILERS", "rest of a file"): (None, TRAILERS),
    ("TRAILERS", "file by its number"): (None, TRAILERS),
    ("TRAILERS", "hint"): (None, TRAILERS),
    **{
        (way, message): (None, COMPLETE)
        for way in ("COMPLETE", "COMPLETE, with trailers")
        for message in MESSAGES
        if message not in ("unknown", "request")
    },
}


def reached(way: str) -> Response:
    messages = Response()
    state, before = WAYS[way]
    for name in before:
        messages.advance(MESSAGES[name])
    assert messages.state is state
    return messages


@pytest.mark.parametrize(("way", "name"), list(product(WAYS, MESSAGES)))
def test_every_message_in_every_state_is_an_event_or_ignored_or_refused(way: str, name: str) -> None:
    messages = reached(way)
    before = messages.state
    if (way, name) in ACCEPTED:
        event, after = ACCEPTED[way, name]
        assert messages.advance(MESSAGES[name]) == event
        assert messages.state is after
    else:
        with pytest.raises(LocalProtocolError) as refused:
            messages.advance(MESSAGES[name])
        assert repr(MESSAGES[name]["type"]) in str(refused.value)
        assert before.text in str(refused.value)
        assert messages.state is before


@given(st.lists(st.sampled_from(sorted(MESSAGES)), max_size=12))
def test_no_order_of_messages_leads_out_of_the_table(names: list[str]) -> None:
    """Whatever comes: an event, None or LocalProtocolError; a complete response stays complete."""
    messages = Response()
    for name in names:
        before = messages.state
        try:
            event = messages.advance(MESSAGES[name])
        except LocalProtocolError:
            assert messages.state is before
        else:
            assert messages.state in (START, BODY, TRAILERS, COMPLETE)
            assert before is not COMPLETE or (event is None and messages.state is COMPLETE)


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("START", "expected 'http.response.start' or 'http.response.early_hint'"),
        (
            "BODY",
            "expected 'http.response.body' or 'http.response.pathsend' or 'http.response.zerocopysend'"
            " or 'http.response.early_hint'",
        ),
        ("TRAILERS", "expected 'http.response.trailers'"),
        ("COMPLETE", "the response is complete"),
    ],
)
def test_a_refusal_names_what_was_expected(way: str, expected: str) -> None:
    with pytest.raises(LocalProtocolError) as refused:
        reached(way).advance({"type": "http.response.zebra"})
    assert str(refused.value).endswith(f"{expected}.")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("message", [None, 5, "http.response.start", [], {}, {"type": None}, {"type": []}, {"x": 1}])
def test_what_is_no_message_is_refused_in_every_state(way: str, message: Any) -> None:
    messages = reached(way)
    with pytest.raises(LocalProtocolError, match='a dict with a "type"'):
        messages.advance(message)
    assert messages.state is WAYS[way][0]


class Loud:
    """Its repr fails: a refusal must not look at the value."""

    def __repr__(self) -> str:
        raise AssertionError("a value was shown")


@pytest.mark.parametrize(
    ("way", "message", "key"),
    [
        ("START", {"type": "http.response.start"}, "status"),
        ("START", {"type": "http.response.start", "status": None}, "status"),
        ("START", {"type": "http.response.start", "status": "200"}, "status"),
        ("START", {"type": "http.response.start", "status": 200.0}, "status"),
        ("START", {"type": "http.response.start", "status": True}, "status"),
        ("START", {"type": "http.response.start", "status": Loud()}, "status"),
        ("START", {"type": "http.response.start", "status": 200, "headers": 5}, "headers"),
        ("START", {"type": "http.response.start", "status": 200, "headers": [5]}, "headers"),
        ("START", {"type": "http.response.start", "status": 200, "headers": [(b"a",)]}, "headers"),
        ("START", {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b", b"c")]}, "headers"),
        ("START", {"type": "http.response.start", "status": 200, "headers": [("a", b"b")]}, "headers"),
        ("START", {"type": "http.response.start", "status": 200, "headers": [(b"a", "b")]}, "headers"),
        ("START", {"type": "http.response.start", "status": 200, "headers": [(b"a", Loud())]}, "headers"),
        ("START", {"type": "http.response.start", "status": 200, "headers": {b"ab": b"cd"}}, "headers"),
        ("BODY", {"type": "http.response.body", "body": "text"}, "body"),
        ("BODY", {"type": "http.response.body", "body": None}, "body"),
        ("BODY", {"type": "http.response.body", "body": [1, 2]}, "body"),
        ("BODY", {"type": "http.response.body", "body": Loud()}, "body"),
        ("BODY", {"type": "http.response.pathsend"}, "path"),
        ("BODY", {"type": "http.response.pathsend", "path": b"/bytes"}, "path"),
        ("BODY", {"type": "http.response.pathsend", "path": Loud()}, "path"),
        ("BODY", {"type": "http.response.zerocopysend"}, "file"),
        ("BODY", {"type": "http.response.zerocopysend", "file": -1}, "file"),
        ("BODY", {"type": "http.response.zerocopysend", "file": True}, "file"),
        ("BODY", {"type": "http.response.zerocopysend", "file": BytesIO(b"x")}, "file"),
        ("BODY", {"type": "http.response.zerocopysend", "file": Open(), "offset": -1}, "offset"),
        ("BODY", {"type": "http.response.zerocopysend", "file": Open(), "offset": "0"}, "offset"),
        ("BODY", {"type": "http.response.zerocopysend", "file": Open(), "count": -1}, "count"),
        ("BODY", {"type": "http.response.zerocopysend", "file": Open(), "count": True}, "count"),
        ("START", {"type": "http.response.early_hint", "links": b"<a>"}, "links"),
        ("START", {"type": "http.response.early_hint", "links": "<a>"}, "links"),
        ("START", {"type": "http.response.early_hint", "links": ["<a>"]}, "links"),
        ("START", {"type": "http.response.early_hint", "links": 5}, "links"),
        ("START", {"type": "http.response.early_hint", "links": None}, "links"),
        ("TRAILERS", {"type": "http.response.trailers", "headers": [("a", "b")]}, "headers"),
        ("TRAILERS", {"type": "http.response.trailers", "headers": 5}, "headers"),
    ],
)
def test_a_message_of_a_wrong_shape_is_refused_by_its_key_and_changes_nothing(
    way: str, message: Message, key: str
) -> None:
    messages = reached(way)
    with pytest.raises(LocalProtocolError) as refused:
        messages.advance(message)
    assert message["type"] in str(refused.value)
    assert repr(key) in str(refused.value)
    assert messages.state is WAYS[way][0]


def test_after_a_start_of_a_wrong_shape_its_trailers_are_forgotten() -> None:
    messages = Response()
    with pytest.raises(LocalProtocolError):
        messages.advance({"type": "http.response.start", "status": 200, "trailers": True, "headers": 5})
    messages.advance(MESSAGES["start"])
    messages.advance(MESSAGES["last"])
    assert messages.state is COMPLETE


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_body_of_any_kind_becomes_bytes_of_its_own(kind: Any) -> None:
    source = bytearray(b"before")
    event = reached("BODY").advance({"type": "http.response.body", "body": kind(source)})
    source[:] = b"behind"
    assert event == ("body", b"before", False)
    assert type(event[1]) is bytes


def test_what_is_left_out_has_asgis_defaults() -> None:
    messages = Response()
    assert messages.advance({"type": "http.response.start", "status": 204}) == ("begin", 204, (), False)
    assert messages.advance({"type": "http.response.body"}) == ("body", b"", False)
    hint = Response().advance({"type": "http.response.early_hint"})
    assert hint == ("hint", [])
    assert reached("TRAILERS").advance({"type": "http.response.trailers"}) == ("trailers", (), False)


@pytest.mark.parametrize(
    "pairs",
    [
        ((b"a", b"b"),),
        [[b"a", b"b"]],
        iter([(b"a", b"b")]),
        {b"a": b"b"}.items(),
        [(bytearray(b"a"), memoryview(b"b"))],
    ],
)
def test_headers_may_be_any_iterable_of_pairs(pairs: Any) -> None:
    event = Response().advance({"type": "http.response.start", "status": 200, "headers": pairs})
    assert event == HEAD


def test_headers_that_came_before_are_not_checked_again() -> None:
    messages = Response()
    messages.known = ((b"a", Loud()),)  # nobody else would let it pass
    event = messages.advance({"type": "http.response.start", "status": 200, "headers": list(messages.known)})
    assert event == ("begin", 200, messages.known, False)


def test_subclasses_of_what_is_asked_for_are_taken() -> None:
    class Bytes(bytes):
        pass

    event = Response().advance(
        {"type": "http.response.start", "status": HTTPStatus.OK, "headers": [(Bytes(b"a"), Bytes(b"b"))]}
    )
    assert event == HEAD
    assert event is not None
    assert type(event[1]) is int


def test_additional_keys_are_ignored() -> None:
    messages = Response()
    assert messages.advance({**MESSAGES["start"], "x-more": Loud()}) == HEAD
    assert messages.advance({**MESSAGES["last"], "x-more": Loud()}) == ("body", b"x", False)


def test_a_start_that_http_does_not_allow_may_be_followed_by_another() -> None:
    messages = Response()
    with pytest.raises(LocalProtocolError, match="not allowed"):
        messages.advance({"type": "http.response.start", "status": NOT_ALLOWED, "trailers": True})
    assert messages.state is START
    assert messages.advance(MESSAGES["start"]) == HEAD
    messages.advance(MESSAGES["last"])
    assert messages.state is COMPLETE


@pytest.mark.parametrize("type_", ["http.response.start", "http.response.trailers"])
def test_what_is_out_of_order_once_nobody_listens_is_ignored_with_all_behind_it(type_: str) -> None:
    response = Response()
    response.advance({"type": "http.response.start", "status": 200})
    response.unheard = True
    assert response.advance({"type": type_, "status": 200}) is None
    assert response.advance({"type": "http.response.body", "body": b"another response's"}) is None


@pytest.mark.parametrize("message", [{"type": "http.reponse.start"}, {}, None, {"type": []}])
def test_what_is_no_message_is_refused_although_nobody_listens(message: Any) -> None:
    response = Response()
    response.unheard = True
    with pytest.raises(LocalProtocolError):
        response.advance(message)
