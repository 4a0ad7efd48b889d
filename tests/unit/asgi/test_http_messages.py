"""The order and shape of a response's messages: every state with every message, and what each must hold."""

from __future__ import annotations

from http import HTTPStatus
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgiserve.asgi.http import (
    BODY,
    COMPLETE,
    START,
    TRAILERS,
    EarlyHint,
    ResponseMessages,
    Trailers,
)
from asgiserve.errors import LocalProtocolError
from asgiserve.events import BodyChunk, ResponseHead

if TYPE_CHECKING:
    from asgiserve.asgi.http import ResponseState
    from asgiserve.types import Message

MESSAGES: dict[str, Message] = {
    "start": {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]},
    "start with trailers": {"type": "http.response.start", "status": 200, "trailers": True},
    "part": {"type": "http.response.body", "body": b"x", "more_body": True},
    "last": {"type": "http.response.body", "body": b"x"},
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

HEAD = ResponseHead(200, [(b"a", b"b")], trailers=False)
HEAD_WITH_TRAILERS = ResponseHead(200, [], trailers=True)

# What is accepted, and the state after it. None: ignored. What is not here is refused.
ACCEPTED: dict[tuple[str, str], tuple[Any, ResponseState]] = {
    ("START", "start"): (HEAD, BODY),
    ("START", "start with trailers"): (HEAD_WITH_TRAILERS, BODY),
    ("START", "hint"): (EarlyHint([b"<a>"]), START),
    ("BODY", "part"): (BodyChunk(b"x", more=True), BODY),
    ("BODY", "last"): (BodyChunk(b"x", more=False), COMPLETE),
    ("BODY", "hint"): (EarlyHint([b"<a>"]), BODY),
    ("BODY, trailers announced", "part"): (BodyChunk(b"x", more=True), BODY),
    ("BODY, trailers announced", "last"): (BodyChunk(b"x", more=False), TRAILERS),
    ("BODY, trailers announced", "hint"): (EarlyHint([b"<a>"]), BODY),
    ("TRAILERS", "more trailers"): (Trailers([(b"c", b"d")], more=True), TRAILERS),
    ("TRAILERS", "trailers"): (Trailers([(b"c", b"d")], more=False), COMPLETE),
    ("TRAILERS", "part"): (None, TRAILERS),
    ("TRAILERS", "last"): (None, TRAILERS),
    ("TRAILERS", "hint"): (None, TRAILERS),
    **{
        (way, message): (None, COMPLETE)
        for way in ("COMPLETE", "COMPLETE, with trailers")
        for message in MESSAGES
        if message not in ("unknown", "request")
    },
}


def reached(way: str) -> ResponseMessages:
    messages = ResponseMessages()
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
    messages = ResponseMessages()
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
        ("BODY", "expected 'http.response.body' or 'http.response.early_hint'"),
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
    messages = ResponseMessages()
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
    assert event == BodyChunk(b"before", more=False)
    assert isinstance(event, BodyChunk)
    assert type(event.data) is bytes


def test_what_is_left_out_has_asgis_defaults() -> None:
    messages = ResponseMessages()
    assert messages.advance({"type": "http.response.start", "status": 204}) == ResponseHead(204, [], trailers=False)
    assert messages.advance({"type": "http.response.body"}) == BodyChunk(b"", more=False)
    hint = ResponseMessages().advance({"type": "http.response.early_hint"})
    assert hint == EarlyHint([])
    assert reached("TRAILERS").advance({"type": "http.response.trailers"}) == Trailers([], more=False)


@pytest.mark.parametrize("pairs", [((b"a", b"b"),), [[b"a", b"b"]], iter([(b"a", b"b")]), {b"a": b"b"}.items()])
def test_headers_may_be_any_iterable_of_pairs(pairs: Any) -> None:
    event = ResponseMessages().advance({"type": "http.response.start", "status": 200, "headers": pairs})
    assert event == ResponseHead(200, [(b"a", b"b")], trailers=False)


def test_subclasses_of_what_is_asked_for_are_taken() -> None:
    class Bytes(bytes):
        pass

    event = ResponseMessages().advance(
        {"type": "http.response.start", "status": HTTPStatus.OK, "headers": [(Bytes(b"a"), Bytes(b"b"))]}
    )
    assert event == ResponseHead(200, [(b"a", b"b")], trailers=False)
    assert isinstance(event, ResponseHead)
    assert type(event.status) is int


def test_additional_keys_are_ignored() -> None:
    messages = ResponseMessages()
    assert messages.advance({**MESSAGES["start"], "x-more": Loud()}) == HEAD
    assert messages.advance({**MESSAGES["last"], "x-more": Loud()}) == BodyChunk(b"x", more=False)


def test_a_retracted_start_may_be_followed_by_another() -> None:
    messages = reached("BODY, trailers announced")
    messages.retract_start()
    assert messages.state is START
    assert messages.advance(MESSAGES["start"]) == HEAD
    messages.advance(MESSAGES["last"])
    assert messages.state is COMPLETE


@pytest.mark.parametrize("way", WAYS)
def test_once_the_server_has_ended_a_response_everything_is_ignored(way: str) -> None:
    messages = reached(way)
    messages.end()
    for name in set(MESSAGES) - {"unknown", "request"}:
        assert messages.advance(MESSAGES[name]) is None
    assert messages.state is COMPLETE
