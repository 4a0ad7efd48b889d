"""What has to hold of every plan, whatever happened: judged by parsers that are not ours, h11's and wsproto's."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import h11
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage
from wsproto.extensions import PerMessageDeflate

from asgiserve.config import Limits
from tests.support.wire import read_wire

if TYPE_CHECKING:
    from wsproto.extensions import Extension

    from tests.fuzz.corpus import Case
    from tests.fuzz.playing import Seen
    from tests.fuzz.scripts import Call
    from tests.support.wire import Reading

__all__ = ["judge"]

_UPGRADE = [
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-version", "13"),
]


def judge(plan: Case, seen: Seen) -> None:
    """Raise AssertionError for what must not be."""
    assert not seen.strange, seen.strange[0]
    assert not seen.left, seen.left
    asked = _requests(plan)
    assert len(seen.calls) <= len(asked)
    for call in seen.calls:
        assert call.end != "runs", "a call of the application was forgotten"
    if plan["settings"].get("limit_concurrency") is None:
        assert len(seen.access) == sum(call.kind == "http" for call in seen.calls)
    for call, reading in zip(seen.calls, asked, strict=False):
        assert call.method == reading.head.method
        assert reading.body.startswith(call.body)
    _Client(plan, seen, asked).read()


def _requests(plan: Case) -> list[Reading]:
    """What a server may have been asked for: the network may have lost the last of it."""
    sent = b"".join(step[1].encode("latin-1") for step in plan["client"] if step[0] == "send")
    return read_wire([sent], limits=Limits()).readings


class _Client:
    """Reads what the client has received as strictly as h11 and wsproto do."""

    def __init__(self, plan: Case, seen: Seen, asked: list[Reading]) -> None:
        self._plan = plan
        self._seen = seen
        self._asked = asked
        network = plan["to_client"] or {}
        self._cut_by_network = "end_after" in network or "reset_after" in network
        self._answered = 0

    def read(self) -> None:
        data = self._seen.received
        while data:
            assert self._answered <= len(self._asked), "more answers than requests, and one refusal"
            data = self._read_response(data, self._answered)
            self._answered += 1

    def _read_response(self, data: bytes, number: int) -> bytes:
        """Check one answer; what comes behind it."""
        # What reaches no application is answered as if it were a GET: a refusal does not look at the method.
        call = self._seen.calls[number] if number < len(self._seen.calls) else None
        method = "GET" if call is None else call.method
        fields = [("host", "x"), *(_UPGRADE if call is not None and call.kind == "websocket" else [])]
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        connection.send(h11.Request(method=method, target="/", headers=fields))
        connection.send(h11.EndOfMessage())
        connection.receive_data(data)
        status, body, ended, ends_itself = 0, b"", False, False
        while True:
            try:
                event = connection.next_event()
            except h11.RemoteProtocolError:
                assert ended, f"answer {number} is no HTTP: {data[:200]!r}"
                assert call is None or not call.complete or self._may_be_cut(call) or status != call.status
                return b""
            if isinstance(event, h11.Response):
                status = event.status_code
                _check_fields(event)
                ends_itself = method == "HEAD" or status in (204, 304) or b"content-length" in dict(event.headers)
            elif isinstance(event, h11.InformationalResponse):
                if event.status_code == 101:
                    assert call is not None
                    _read_websocket(connection.trailing_data[0], event.headers, call)
                    return b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self._check_body(call, status, method, body, told=ends_itself)
                rest = connection.trailing_data[0]
                assert not rest or connection.their_state is h11.DONE, "bytes behind the last answer"
                return rest
            elif event is h11.NEED_DATA and self._seen.end == "eof" and not ended:
                ended = True
                connection.receive_data(b"")
            else:
                self._check_part(call, status, body)
                return b""

    def _check_body(self, call: Call | None, status: int, method: str, body: bytes, *, told: bool) -> None:
        """A whole response: if it is the application's, then it is what the application sent. `told`: the head says
        how long it is, so that it may be whole before the application has said so."""
        if call is None or call.kind != "http" or status != call.status:
            return
        expected = b"" if method == "HEAD" or status in (204, 304) else call.sent
        if self._cut_by_network:
            assert expected.startswith(body)
        else:
            assert call.complete or told, "an incomplete response looks complete"
            assert body == expected

    def _check_part(self, call: Call | None, status: int, body: bytes) -> None:
        if call is not None and call.kind == "http" and status == call.status:
            # What a send() still had in hand when it was given up has not been noted.
            assert call.sent.startswith(body) or body.startswith(call.sent)
            assert not call.complete or self._may_be_cut(call)

    def _may_be_cut(self, call: Call) -> bool:
        """Whether a response that the application has completed may be incomplete for the client."""
        return (
            self._cut_by_network
            or self._plan["reads"] != "all"
            or self._plan["to_server"] is not None
            or self._plan["server"] is not None
            or any(step[0] in ("abort", "close") for step in self._plan["client"])
            or any(message["type"] == "http.disconnect" for message in call.heard)
            or "timeout_request" in self._plan["settings"]
        )


def _check_fields(response: h11.Response) -> None:
    count = Counter(name for name, _ in response.headers)
    assert not (count[b"content-length"] and count[b"transfer-encoding"]), "two framings"
    for name in (b"content-length", b"transfer-encoding", b"date", b"server"):
        assert count[name] <= 1, name
    if response.status_code in (204, 304):
        assert not count[b"transfer-encoding"]


def _read_websocket(data: bytes, fields: Any, call: Call) -> None:
    """Frames of the server: whole messages that the application sent, and one Close that is the last."""
    extensions: list[Extension] = []
    for name, value in fields:
        if name == b"sec-websocket-extensions":
            deflate = PerMessageDeflate()
            deflate.finalize(value.decode())
            extensions.append(deflate)
    connection = Connection(ConnectionType.CLIENT, extensions)
    connection.receive_data(data)
    messages: list[Any] = []
    parts: list[Any] = []
    closes = 0
    for event in connection.events():
        assert not closes, "something behind a Close frame"
        if isinstance(event, (TextMessage, BytesMessage)):
            parts.append(event.data)
            if event.message_finished:
                joined: Any = "".join(parts) if isinstance(event, TextMessage) else b"".join(map(bytes, parts))
                messages.append(joined)
                parts = []
        elif isinstance(event, CloseConnection):
            closes += 1
            assert event.code in (1000, 1002, 1003, 1005, 1007, 1009, 1011, 1012, 4000) or _is_echo(event, call), event
    assert not Counter(messages) - Counter(call.said), "a message that nobody has sent, or one twice"


def _is_echo(event: CloseConnection, call: Call) -> bool:
    """The answer to the client's own Close has its code."""
    return any(message.get("code") == event.code for message in call.heard) or call.end != "runs"
