"""The demo application, called as a server calls it, on both backends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asgiserve.backend import current_backend
from asgiserve.demo import app

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asgiserve.types import Message

pytestmark = pytest.mark.anyio


def request_scope(path: str, method: str = "GET", **more: Any) -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path, "headers": [], "state": {}, **more}


async def call(scope: dict[str, Any], messages: Sequence[Message] = ()) -> list[Message]:
    """Everything that the application sends; it receives the messages, then nothing more."""
    to_come = list(messages)
    sent: list[Message] = []

    async def receive() -> Message:
        if not to_come:
            await anyio.sleep_forever()
        return to_come.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


def body_of(sent: Sequence[Message]) -> str:
    return b"".join(message["body"] for message in sent[1:]).decode()


async def test_lifespan_starts_and_stops_and_leaves_the_time_in_the_state() -> None:
    state: dict[str, Any] = {}

    sent = await call(
        {"type": "lifespan", "state": state}, [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    )

    kinds = [message["type"] for message in sent]
    assert kinds == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert state["started"] > 0


async def test_the_page_names_the_backend_and_when_it_started() -> None:
    page = body_of(await call(request_scope("/", state={"started": 0.0})))

    assert f"<tr><th>backend</th><td>{current_backend()}</td></tr>" in page
    assert "<tr><th>started</th><td>19" in page


async def test_the_page_shows_the_scope_escaped() -> None:
    headers = [(b"user-agent", b"<script>alert(1)</script>"), (b"x-odd", b"\xff")]

    page = body_of(await call(request_scope("/", query_string=b"<b>", headers=headers)))

    assert "<th>header user-agent</th><td>&lt;script&gt;alert(1)&lt;/script&gt;</td>" in page
    assert "<script>alert" not in page
    assert "b&#x27;&lt;b&gt;&#x27;" in page


async def test_a_brace_in_the_scope_is_text_and_no_placeholder() -> None:
    page = body_of(await call(request_scope("/", headers=[(b"x-a", b"{scope}{facts}")])))

    assert "<td>{scope}{facts}</td>" in page


async def test_the_page_needs_nothing_from_elsewhere() -> None:
    page = body_of(await call(request_scope("/")))

    assert "http://" not in page
    assert "https://" not in page
    assert '"/echo"' in page
    assert '"/clock"' in page
    assert '"/ws"' in page


async def test_echo_sends_each_part_back_as_it_comes_with_its_type() -> None:
    scope = request_scope("/echo", "POST", headers=[(b"content-type", b"text/x")])
    parts = [
        {"type": "http.request", "body": b"one", "more_body": True},
        {"type": "http.request", "body": b"two", "more_body": False},
    ]

    start, *rest = await call(scope, parts)

    assert start["status"] == 200
    assert (b"content-type", b"text/x") in start["headers"]
    assert [(message["body"], message["more_body"]) for message in rest] == [(b"one", True), (b"two", False)]


async def test_echo_ends_when_the_client_leaves() -> None:
    sent = await call(request_scope("/echo", "POST"), [{"type": "http.disconnect"}])

    assert [message["type"] for message in sent] == ["http.response.start"]


async def test_the_clock_ticks_every_second_until_the_client_leaves() -> None:
    ticks: list[float] = []
    left = anyio.Event()

    async def receive() -> Message:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            assert message["body"].startswith(b"data: ")
            assert message["body"].endswith(b"\n\n")
            ticks.append(anyio.current_time())
            if len(ticks) == 4:
                left.set()

    await app(request_scope("/clock"), receive, send)

    assert [round(later - ticks[0], 6) for later in ticks] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("POST", "/", 405), ("GET", "/echo", 405), ("DELETE", "/clock", 405)],
)
async def test_what_there_is_not_is_refused(method: str, path: str, status: int) -> None:
    start, body = await call(request_scope(path, method))

    assert start["status"] == status
    assert (b"content-length", str(len(body["body"])).encode()) in start["headers"]
    assert (status == 405) is any(name == b"allow" for name, _ in start["headers"])


async def test_a_path_that_is_not_utf8_is_answered() -> None:
    start, _ = await call(request_scope("/\udcff"))

    assert start["status"] == 404


CONNECT = {"type": "websocket.connect"}
LEFT = {"type": "websocket.disconnect", "code": 1001, "reason": ""}


async def test_a_websocket_sends_each_message_back_as_what_it_was_until_the_client_leaves() -> None:
    messages = [
        {"type": "websocket.receive", "text": "one", "bytes": None},
        {"type": "websocket.receive", "text": ""},
        {"type": "websocket.receive", "bytes": b"\xff"},
    ]

    accept, *rest = await call({"type": "websocket", "path": "/ws"}, [CONNECT, *messages, LEFT])

    assert accept["type"] == "websocket.accept"
    assert [(message.get("text"), message.get("bytes")) for message in rest] == [
        ("one", None),
        ("", None),
        (None, b"\xff"),
    ]
    assert {message["type"] for message in rest} == {"websocket.send"}


async def test_a_websocket_elsewhere_is_refused() -> None:
    assert await call({"type": "websocket", "path": "/"}, [CONNECT]) == [{"type": "websocket.close"}]


async def test_what_the_demo_does_not_speak_it_refuses() -> None:
    with pytest.raises(NotImplementedError, match="carrier pigeon"):
        await call({"type": "carrier pigeon"})
