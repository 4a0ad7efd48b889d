"""Flask and Django as WSGI applications, on every loop: they need no event loop of their own."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Any

import flask
import pytest
from django.core.wsgi import get_wsgi_application  # type: ignore[import-untyped]

from tests.live import django_site  # noqa: F401 - sets Django up
from tests.live.applications import BLOCK
from tests.live.raw import RawClient, request
from tests.live.servers import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

    from tests.live.conftest import LiveServers
    from tests.live.servers import ThreadServer

    Clients = Callable[[ThreadServer], httpx.Client]

pytestmark = pytest.mark.live

LARGE = BLOCK * 160
"""10 MiB."""

HASH = hashlib.sha256(LARGE).hexdigest()


# --- Flask ------------------------------------------------------------------------------------


@pytest.fixture
def app() -> flask.Flask:
    return flask.Flask("site")


def test_flask_answers_in_a_thread(live_server: LiveServers, http: Clients, app: flask.Flask) -> None:
    @app.get("/greet/<name>")
    def greet(name: str) -> dict[str, Any]:
        return {"name": name, "query": flask.request.args["a"], "thread": threading.current_thread().name}

    told = http(live_server(app)).get("/greet/Jürgen", params={"a": "ä"}).json()

    assert (told["name"], told["query"]) == ("Jürgen", "ä")
    assert told["thread"] != "live server"


def test_flask_makes_links_below_the_root_path(live_server: LiveServers, http: Clients, app: flask.Flask) -> None:
    @app.get("/here")
    def here() -> dict[str, Any]:
        return {"link": flask.url_for("here", _external=True), "client": flask.request.remote_addr}

    server = live_server(app, root_path="/below")

    assert http(server).get("/here").json() == {"link": f"{server.url}/below/here", "client": "127.0.0.1"}


def test_flask_reads_a_large_upload(live_server: LiveServers, http: Clients, app: flask.Flask) -> None:
    @app.post("/")
    def upload() -> str:
        return hashlib.sha256(flask.request.files["file"].read()).hexdigest()

    assert http(live_server(app)).post("/", files={"file": LARGE}).text == HASH


def test_flask_reads_a_large_upload_in_an_asynchronous_view(
    live_server: LiveServers, http: Clients, app: flask.Flask
) -> None:
    @app.post("/data")
    async def data() -> str:
        return str(len(flask.request.get_data()))

    @app.post("/form")
    async def form() -> str:
        return str(len(flask.request.files["file"].read()))

    client = http(live_server(app))

    assert client.post("/data", content=b"x" * 200_000).text == "200000"
    assert client.post("/form", files={"file": b"x" * 200_000}).text == "200000"


def test_flask_reads_what_it_has_asked_for_in_an_asynchronous_view(live_server: LiveServers, app: flask.Flask) -> None:
    @app.post("/")
    async def data() -> bytes:
        return flask.request.get_data()

    with RawClient(live_server(app).port) as client:
        client.send(request("/", "Content-Length: 5", "Expect: 100-continue", method="POST"))
        assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        client.send(b"hello")
        assert client.answer("POST").body == b"hello"


def test_flask_reads_a_body_without_a_length(live_server: LiveServers, http: Clients, app: flask.Flask) -> None:
    @app.post("/")
    def upload() -> str:
        return hashlib.sha256(flask.request.get_data()).hexdigest()

    assert http(live_server(app)).post("/", content=(BLOCK for _ in range(160))).text == HASH


def test_flask_streams(live_server: LiveServers, http: Clients, app: flask.Flask) -> None:
    @app.get("/")
    def stream() -> flask.Response:
        def blocks() -> Iterator[bytes]:
            for _ in range(32):
                assert flask.request.path == "/"
                yield BLOCK

        return flask.Response(flask.stream_with_context(blocks()))

    assert http(live_server(app)).get("/").content == BLOCK * 32


def test_flask_keeps_sessions_and_connections(live_server: LiveServers, http: Clients, app: flask.Flask) -> None:
    app.secret_key = "only for tests"

    @app.get("/")
    def count() -> str:
        flask.session["count"] = flask.session.get("count", 0) + 1
        return str(flask.session["count"])

    client = http(live_server(app))

    assert [client.get("/").text for _ in range(3)] == ["1", "2", "3"]


def test_flask_answers_its_own_errors(live_server: LiveServers, http: Clients, app: flask.Flask) -> None:
    app.logger.disabled = True

    @app.get("/")
    def fail() -> str:
        raise ValueError("mine")

    client = http(live_server(app))

    assert client.get("/").status_code == 500
    assert client.get("/missing").status_code == 404


def test_flask_calls_what_is_to_be_called_on_close(live_server: LiveServers, http: Clients, app: flask.Flask) -> None:
    closed = threading.Event()

    @app.get("/")
    def handler() -> flask.Response:
        response = flask.Response("done")
        response.call_on_close(closed.set)
        return response

    assert http(live_server(app)).get("/").text == "done"
    assert closed.wait(PATIENCE)


# --- Django -----------------------------------------------------------------------------------


@pytest.fixture
def django(live_server: LiveServers) -> ThreadServer:
    return live_server(get_wsgi_application())


def test_django_answers_in_a_thread(django: ThreadServer, http: Clients) -> None:
    told = http(django).get("/greet/J%C3%BCrgen", params={"a": "1"}).json()

    assert (told["name"], told["query"]) == ("Jürgen", {"a": "1"})
    assert told["thread"] != "live server"


def test_django_makes_links_to_where_it_is_served(django: ThreadServer, http: Clients) -> None:
    assert http(django).get("/link").json() == {
        "link": f"{django.url}/greet/you",
        "client": "127.0.0.1",
        "path": "/link",
    }


def test_django_reads_a_form_in_an_asynchronous_view(django: ThreadServer, http: Clients) -> None:
    assert http(django).post("/post", data={"a": "ä"}).json() == {"form": {"a": "ä"}, "method": "POST"}


def test_django_reads_a_large_upload(django: ThreadServer, http: Clients) -> None:
    assert http(django).post("/upload", files={"file": LARGE}).json() == {"hash": HASH}


def test_django_reads_a_large_upload_in_an_asynchronous_view(django: ThreadServer, http: Clients) -> None:
    assert http(django).post("/body", content=b"x" * 200_000).json() == {"size": 200_000}


def test_django_streams(django: ThreadServer, http: Clients) -> None:
    assert http(django).get("/blocks").content == BLOCK * 32


def test_a_body_that_a_django_view_does_not_read_leaves_the_connection_usable(django: ThreadServer) -> None:
    with RawClient(django.port) as client:
        for _ in range(3):
            client.send(request("/unread", "Content-Length: 1000", method="POST") + b"b" * 1000)
            assert client.answer("POST").body == b"not looked at"
