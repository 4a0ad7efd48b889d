"""WebSocket endpoints of FastAPI and Starlette as people write them, asked by httpx-ws.

No `from __future__ import annotations` here: FastAPI evaluates the annotations of the routes below.
"""

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from contextvars import ContextVar
from typing import Annotated, Any

import anyio
import httpx
import pytest
from fastapi import Depends, FastAPI, WebSocket, WebSocketDisconnect, WebSocketException
from fastapi.responses import PlainTextResponse
from httpx_ws import WebSocketDisconnect as ServerClosed
from httpx_ws import WebSocketSession, WebSocketUpgradeError, connect_ws
from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from starlette.routing import WebSocketRoute
from wsproto.events import TextMessage

from tests.live.conftest import LiveServers
from tests.live.raw import RawClient
from tests.live.servers import PATIENCE, ThreadServer
from tests.live.websocket_raw import RawWebSocket

pytestmark = pytest.mark.live

Connect = Callable[..., WebSocketSession]


@pytest.fixture
def ws(http: Callable[[ThreadServer], httpx.Client]) -> Iterator[Connect]:
    """Opens WebSockets with httpx-ws; they close before the server stops."""
    with ExitStack() as stack:

        def connect(server: ThreadServer, path: str = "/", **options: Any) -> WebSocketSession:
            session: WebSocketSession = stack.enter_context(
                connect_ws(path, http(server), keepalive_ping_interval_seconds=None, **options)
            )
            return session

        yield connect


@pytest.fixture
def app() -> FastAPI:
    return FastAPI()


def test_text_bytes_and_json(live_server: LiveServers, ws: Connect, app: FastAPI) -> None:
    @app.websocket("/items/{number}")
    async def endpoint(websocket: WebSocket, number: int, tag: str = "none") -> None:
        await websocket.accept()
        await websocket.send_json({"number": number, "tag": tag})
        await websocket.send_text((await websocket.receive_text()).upper())
        await websocket.send_bytes((await websocket.receive_bytes())[::-1])
        await websocket.send_json(await websocket.receive_json(), mode="binary")
        await websocket.close(4000, "done")

    session = ws(live_server(app), "/items/7?tag=gr%C3%BCn")

    assert session.receive_json(PATIENCE) == {"number": 7, "tag": "grün"}
    session.send_text("öl")
    assert session.receive_text(PATIENCE) == "ÖL"
    session.send_bytes(b"\x00\x01\xff")
    assert session.receive_bytes(PATIENCE) == b"\xff\x01\x00"
    session.send_json({"a": [1, None]})
    assert session.receive_json(PATIENCE, mode="binary") == {"a": [1, None]}
    with pytest.raises(ServerClosed) as closed:
        session.receive(PATIENCE)
    assert (closed.value.code, closed.value.reason) == (4000, "done")


def test_iterating_ends_with_the_client_and_says_how(live_server: LiveServers, ws: Connect, app: FastAPI) -> None:
    heard: list[Any] = []
    ended = threading.Event()

    @app.websocket("/iterates")
    async def iterates(websocket: WebSocket) -> None:
        await websocket.accept()
        heard.extend([text async for text in websocket.iter_text()])
        ended.set()

    @app.websocket("/receives")
    async def receives(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            while True:
                heard.append(await websocket.receive_text())
        except WebSocketDisconnect as error:
            heard.append((error.code, error.reason))
            ended.set()

    server = live_server(app)
    for path, expected in (("/iterates", ["a", "b"]), ("/receives", ["a", "b", (4001, "bye")])):
        heard.clear()
        ended.clear()
        session = ws(server, path)
        session.send_text("a")
        session.send_text("b")
        session.close(4001, "bye")
        assert ended.wait(PATIENCE)
        assert heard == expected


def test_a_class_of_callbacks(live_server: LiveServers, ws: Connect) -> None:
    left: list[int] = []
    gone = threading.Event()

    class Endpoint(WebSocketEndpoint):
        encoding = "json"

        async def on_receive(self, websocket: WebSocket, data: Any) -> None:
            await websocket.send_json([data])

        async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
            left.append(close_code)
            gone.set()

    session = ws(live_server(Starlette(routes=[WebSocketRoute("/", Endpoint)])))
    session.send_json("a")
    assert session.receive_json(PATIENCE) == ["a"]
    session.close(1001)

    assert gone.wait(PATIENCE)
    assert left == [1001]


def test_a_refusal_by_a_dependency_is_a_403_and_by_a_response_what_it_says(
    live_server: LiveServers, ws: Connect, app: FastAPI
) -> None:
    async def nobody() -> str:
        raise WebSocketException(code=1008)

    @app.websocket("/policy")
    async def policy(websocket: WebSocket, who: Annotated[str, Depends(nobody)]) -> None:
        raise AssertionError("not reached")

    @app.websocket("/response")
    async def response(websocket: WebSocket) -> None:
        await websocket.send_denial_response(PlainTextResponse("pay first", 402, {"x-price": "7"}))

    server = live_server(app)

    for path, status in (("/policy", 403), ("/response", 402), ("/missing", 403)):
        with pytest.raises(WebSocketUpgradeError) as refused:
            ws(server, path)
        assert refused.value.response.status_code == status
    with RawClient(server.port) as client:
        assert client.get("/policy").status == 404


def test_a_subprotocol_and_headers(live_server: LiveServers, ws: Connect, app: FastAPI) -> None:
    @app.websocket("/")
    async def endpoint(websocket: WebSocket) -> None:
        assert websocket.headers["authorization"] == "Bearer token"
        await websocket.accept(subprotocol=websocket.scope["subprotocols"][1], headers=[(b"x-room", b"7")])
        await websocket.receive()

    session = ws(live_server(app), subprotocols=["a", "b"], headers={"authorization": "Bearer token"})

    assert session.subprotocol == "b"
    assert session.response
    assert session.response.headers["x-room"] == "7"


CONTEXT: ContextVar[str] = ContextVar("CONTEXT", default="nothing")


def test_state_and_context_of_lifespan(live_server: LiveServers, ws: Connect) -> None:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        CONTEXT.set("lifespan's")
        yield {"shared": []}

    app = FastAPI(lifespan=lifespan)

    @app.websocket("/")
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        websocket.state.shared.append(1)
        await websocket.send_json([len(websocket.state.shared), CONTEXT.get()])
        CONTEXT.set("somebody else's")

    server = live_server(app)

    assert ws(server).receive_json(PATIENCE) == [1, "lifespan's"]
    assert ws(server).receive_json(PATIENCE) == [2, "lifespan's"]


class Room:
    """FastAPI's own example of a chat: whoever receives sends to everybody, from its own task."""

    def __init__(self) -> None:
        self.members: list[WebSocket] = []
        self.failures = 0

    async def join(self, websocket: WebSocket) -> None:
        await websocket.accept()
        self.members.append(websocket)
        await websocket.send_text(f"you are number {len(self.members)}")

    async def broadcast(self, text: str) -> None:
        for one in self.members[:]:
            try:
                await one.send_text(text)
            except (WebSocketDisconnect, RuntimeError):
                self.failures += 1


MEMBERS = 12
LINES = 50


@pytest.mark.parametrize("leaves", ["stays", "closes", "resets"])
def test_a_room_in_which_each_speaks_to_all(live_server: LiveServers, ws: Connect, app: FastAPI, leaves: str) -> None:
    """One of them may be gone; the others hear every line, each speaker's in order."""
    room = Room()

    @app.websocket("/")
    async def endpoint(websocket: WebSocket) -> None:
        await room.join(websocket)
        try:
            async for text in websocket.iter_text():
                await room.broadcast(text)
        finally:
            room.members.remove(websocket)

    server = live_server(app)
    odd = RawWebSocket(server.port)
    odd.open()
    assert odd.expect(TextMessage).data == "you are number 1"
    sessions = [ws(server) for _ in range(MEMBERS)]
    for number, session in enumerate(sessions):
        assert session.receive_text(PATIENCE) == f"you are number {number + 2}"
    if leaves == "closes":
        odd.socket.close()
    elif leaves == "resets":
        odd.reset()
    for line in range(LINES):
        for number in (0, 1):
            sessions[number].send_text(f"{number}:{line}")

    for session in sessions:
        heard = [session.receive_text(PATIENCE) for _ in range(2 * LINES)]
        for speaker in ("0", "1"):
            assert [text for text in heard if text[0] == speaker] == [f"{speaker}:{line}" for line in range(LINES)]
    odd.socket.close()


@pytest.mark.parametrize("how", ["FIN", "RST"])
def test_one_that_only_sends_hears_of_the_loss(live_server: LiveServers, app: FastAPI, how: str) -> None:
    """It never receives, and waits between two messages. Starlette makes its own exception of what `send()` raises."""
    ended = threading.Event()

    @app.websocket("/")
    async def ticker(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            while True:
                await websocket.send_text("tick")
                await anyio.sleep(0.01)
        except WebSocketDisconnect:
            ended.set()

    client = RawWebSocket(live_server(app).port)
    client.open()
    client.hear()
    assert not ended.is_set()
    if how == "RST":
        client.reset()
    else:
        client.socket.close()

    assert ended.wait(PATIENCE)


def test_an_unhandled_exception_closes_with_1011_and_is_logged_once(
    live_server: LiveServers, ws: Connect, app: FastAPI
) -> None:
    @app.websocket("/bad")
    async def bad(websocket: WebSocket) -> None:
        await websocket.accept()
        raise ValueError("no such luck")

    server = live_server(app)
    session = ws(server, "/bad")
    with pytest.raises(ServerClosed) as closed:
        session.receive(PATIENCE)

    assert closed.value.code == 1011
    (error,) = server.take_errors()
    assert error.endswith("ValueError: no such luck")


def test_a_task_that_listens_and_one_that_speaks(live_server: LiveServers, ws: Connect, app: FastAPI) -> None:
    """Both at once, in a task group of the endpoint's own; either may be the first to hear of the end."""
    ended = threading.Event()

    @app.websocket("/")
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        async with anyio.create_task_group() as group:

            async def listen() -> None:
                async for text in websocket.iter_text():
                    await websocket.send_text(f"heard {text}")
                group.cancel_scope.cancel()

            async def speak() -> None:
                try:
                    while True:
                        await websocket.send_text("tick")
                        await anyio.sleep(0.02)
                except WebSocketDisconnect:
                    pass  # `listen` hears it too, and ends both

            group.start_soon(listen)
            group.start_soon(speak)
        ended.set()

    session = ws(live_server(app))
    session.send_text("a")
    heard: set[str] = set()
    while heard != {"tick", "heard a"}:
        heard.add(session.receive_text(PATIENCE))
    session.close()

    assert ended.wait(PATIENCE)
