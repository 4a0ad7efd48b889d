"""A WebSocket's scope, and the order and shape of its messages: every state with every message."""

from __future__ import annotations

from enum import IntEnum
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from asgiserve.asgi.scope import Mount, Peer
from asgiserve.asgi.websocket import (
    CLOSED,
    CONNECTING,
    DENYING,
    OPEN,
    Acceptance,
    Closing,
    WebSocketMessages,
    WebSocketState,
    disconnect,
    websocket_scope,
)
from asgiserve.errors import ClientDisconnected, LocalProtocolError
from asgiserve.events import BodyChunk, RequestHead, ResponseHead

if TYPE_CHECKING:
    from asgiserve.types import Message

HEAD = RequestHead(
    method="GET",
    raw_path=b"/chat%20room",
    query=b"q=1",
    http_version="1.1",
    headers=[(b"host", b"a"), (b"sec-websocket-protocol", b"a, b")],
    content_length=0,
    keep_alive=True,
    expects_continue=False,
    upgrade=b"websocket",
)
PEER = Peer(client=("127.0.0.1", 50_000), server=("127.0.0.1", 80), scheme="http")

ACCEPT = {"type": "websocket.accept"}
SEND = {"type": "websocket.send", "text": "x"}
CLOSE = {"type": "websocket.close"}
START = {"type": "websocket.http.response.start", "status": 401}
BODY = {"type": "websocket.http.response.body", "body": b"x"}

ALLOWED: dict[WebSocketState, list[Message]] = {
    CONNECTING: [ACCEPT, CLOSE, START],
    OPEN: [SEND, CLOSE],
    DENYING: [BODY],
    CLOSED: [],
}


def messages_in(state: WebSocketState) -> WebSocketMessages:
    messages = WebSocketMessages()
    messages.state = state
    return messages


# --- the scope ---


def test_a_scope_has_every_key_of_the_specification() -> None:
    assert websocket_scope(HEAD, PEER, Mount(), {"pool": 1}, ["a", "b"]) == {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": "/chat room",
        "raw_path": b"/chat%20room",
        "query_string": b"q=1",
        "root_path": "",
        "headers": [(b"host", b"a"), (b"sec-websocket-protocol", b"a, b")],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 80),
        "subprotocols": ["a", "b"],
        "state": {"pool": 1},
        "extensions": {"websocket.http.response": {}},
    }


def test_over_tls_the_scheme_is_wss() -> None:
    peer = Peer(client=None, server=("/run/app.sock", None), scheme="https")
    scope = websocket_scope(HEAD, peer, Mount("/api"), {}, [])
    assert (scope["scheme"], scope["path"], scope["subprotocols"]) == ("wss", "/api/chat room", [])


def test_what_an_application_writes_into_its_scope_is_its_own() -> None:
    state: dict[str, Any] = {}
    offered = ["a"]
    scope = websocket_scope(HEAD, PEER, Mount(), state, offered)
    scope["subprotocols"].append("b")
    scope["state"]["mine"] = 1
    scope["extensions"]["mine"] = {}
    assert (state, offered) == ({}, ["a"])
    assert websocket_scope(HEAD, PEER, Mount(), state, offered)["extensions"] == {"websocket.http.response": {}}


def test_a_disconnect_has_code_and_reason() -> None:
    assert disconnect(1001, "gone") == {"type": "websocket.disconnect", "code": 1001, "reason": "gone"}


# --- the order ---


def _id(value: Any) -> str:
    return value["type"] if isinstance(value, dict) else str(value.text)


def _state(value: Any) -> str | None:
    """Its text; the number of the case for everything else. (A repr would have addresses in it.)"""
    return value.text if isinstance(value, WebSocketState) else None


ALL = list(product(ALLOWED, [ACCEPT, SEND, CLOSE, START, BODY]))


@pytest.mark.parametrize(("state", "message"), ALL, ids=_id)
def test_each_state_takes_its_messages_and_refuses_the_others(state: WebSocketState, message: Message) -> None:
    messages = messages_in(state)
    if state is CLOSED:
        with pytest.raises(ClientDisconnected, match=message["type"]):
            messages.advance(message)
    elif message in ALLOWED[state]:
        messages.advance(message)
    else:
        expected = " or ".join(repr(one["type"]) for one in ALLOWED[state])
        text = f"Unexpected ASGI message '{message['type']}': {state.text}; expected {expected}."
        with pytest.raises(LocalProtocolError) as caught:
            messages.advance(message)
        assert str(caught.value) == text
    assert messages.state is state


@pytest.mark.parametrize("state", ALLOWED, ids=_id)
@pytest.mark.parametrize(
    "message",
    [{"type": "websocket.receive", "text": "x"}, {"type": "http.response.start"}, {"type": ["x"]}, {}, None, "x"],
    ids=repr,
)
def test_what_is_no_message_of_a_websocket_is_refused_in_every_state(state: WebSocketState, message: Any) -> None:
    with pytest.raises(LocalProtocolError):
        messages_in(state).advance(message)


def test_a_message_that_comes_too_late_raises_an_os_error() -> None:
    with pytest.raises(OSError, match="closed"):
        messages_in(CLOSED).advance(SEND)


# --- the shape ---


class Code(IntEnum):
    MINE = 4000


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("state", "message", "event"),
    [
        (CONNECTING, ACCEPT, Acceptance(None, ())),
        (CONNECTING, {**ACCEPT, "subprotocol": "a"}, Acceptance("a", ())),
        (CONNECTING, {**ACCEPT, "headers": [[b"a", b"b"]]}, Acceptance(None, ((b"a", b"b"),))),
        (CONNECTING, {**ACCEPT, "subprotocol": None, "headers": ()}, Acceptance(None, ())),
        (CONNECTING, CLOSE, Closing(1000, "")),
        (OPEN, {**CLOSE, "code": Code.MINE, "reason": "r"}, Closing(4000, "r")),
        (OPEN, {**CLOSE, "code": None, "reason": None}, Closing(1000, "")),
        (OPEN, SEND, "x"),
        (OPEN, {"type": "websocket.send", "text": ""}, ""),
        (OPEN, {"type": "websocket.send", "text": Text("x"), "bytes": None}, "x"),
        (OPEN, {"type": "websocket.send", "bytes": b"x", "text": None}, b"x"),
        (OPEN, {"type": "websocket.send", "bytes": b""}, b""),
        (OPEN, {"type": "websocket.send", "bytes": bytearray(b"x")}, b"x"),
        (OPEN, {"type": "websocket.send", "bytes": memoryview(b"x"), "more": 1}, b"x"),
        (CONNECTING, START, ResponseHead(401, (), trailers=False)),
        (CONNECTING, {**START, "headers": [(b"a", b"b")]}, ResponseHead(401, ((b"a", b"b"),), trailers=False)),
        (DENYING, BODY, BodyChunk(b"x", False)),
        (DENYING, {"type": BODY["type"], "more_body": True}, BodyChunk(b"", True)),
    ],
    ids=_state,
)
def test_a_message_stands_for_this(state: WebSocketState, message: Message, event: Any) -> None:
    read = messages_in(state).advance(message)
    assert read == event
    assert type(read) is type(event)


@pytest.mark.parametrize(
    ("state", "message", "words"),
    [
        (CONNECTING, {**ACCEPT, "subprotocol": b"secret"}, "'subprotocol' must be a str, but it is of type bytes"),
        (CONNECTING, {**ACCEPT, "headers": [("secret", "b")]}, "'headers' must be pairs of bytes"),
        (CONNECTING, {**ACCEPT, "headers": [(b"secret",)]}, "'headers' must be an iterable of pairs"),
        (CONNECTING, {**ACCEPT, "headers": 5}, "'headers' must be an iterable of pairs"),
        (CONNECTING, {**START, "status": "401"}, "'status' must be an int, but it is of type str"),
        (CONNECTING, {"type": START["type"]}, "'status' must be an int, but it is missing"),
        (OPEN, {**CLOSE, "code": "1000"}, "'code' must be an int, but it is of type str"),
        (OPEN, {**CLOSE, "code": True}, "'code' must be an int, but it is of type bool"),
        (OPEN, {**CLOSE, "reason": b"secret"}, "'reason' must be a str, but it is of type bytes"),
        (OPEN, {"type": "websocket.send"}, "one of 'bytes' and 'text' must be there"),
        (OPEN, {"type": "websocket.send", "text": None, "bytes": None}, "one of 'bytes' and 'text' must be there"),
        (OPEN, {"type": "websocket.send", "text": "secret", "bytes": b""}, "only one of 'bytes' and 'text'"),
        (OPEN, {"type": "websocket.send", "text": b"secret"}, "'text' must be a str, but it is of type bytes"),
        (OPEN, {"type": "websocket.send", "bytes": "secret"}, "'bytes' must be bytes, but it is of type str"),
        (DENYING, {**BODY, "body": "secret"}, "'body' must be bytes, but it is of type str"),
    ],
    ids=_state,
)
def test_a_message_of_a_wrong_shape_is_refused_by_its_key(state: WebSocketState, message: Message, words: str) -> None:
    messages = messages_in(state)
    with pytest.raises(LocalProtocolError) as caught:
        messages.advance(message)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    assert messages.state is state
