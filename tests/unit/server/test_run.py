"""`run()`: an event loop with a server in it, from outside one."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import current_token

from asgiserve.backend import current_backend
from asgiserve.errors import AppLoadError, BindError, ConfigError, ShutdownError, StartupError
from asgiserve.starting import run
from tests.unit.server.apps import Journal, hello
from tests.unit.streams.conftest import CONTEXTS

if TYPE_CHECKING:
    from pathlib import Path

    from asgiserve.types import Receive, Scope, Send

BACKENDS = ["asyncio", "trio"]
each_backend = pytest.mark.parametrize("backend", BACKENDS)


class Signalled(Journal):
    """The process is sent a signal a moment after it has started."""

    backend: str | None = None
    """The loop that it ran in."""

    def __init__(self, number: signal.Signals = signal.SIGTERM) -> None:
        super().__init__()
        self._number = number

    async def lifespan(self, receive: Receive, send: Send) -> None:
        self.backend = current_backend()
        sender = threading.Timer(0.1, os.kill, [os.getpid(), self._number])
        sender.start()
        await super().lifespan(receive, send)
        sender.join()


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in signal.valid_signals()]


@each_backend
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_graceful_stop_and_then_it_returns(backend: str, number: signal.Signals) -> None:
    app, before = Signalled(number), handlers()
    run(app, backend=backend, port=0)
    assert app.was_shut_down
    assert app.backend == backend
    assert handlers() == before


@each_backend
@pytest.mark.parametrize("during", ["startup", "import"])
@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_before_the_server_is_up_is_raised(
    backend: str, during: str, number: signal.Signals, raised: type[BaseException]
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        signal.raise_signal(number)
        await anyio.sleep(60)

    def make() -> object:
        if during == "import":
            signal.raise_signal(number)
        return app

    before = handlers()
    with pytest.raises(raised) as caught:
        run(make, factory=True, backend=backend, port=0)  # type: ignore[arg-type]
    assert getattr(caught.value, "code", 143) == 143
    assert handlers() == before


@each_backend
def test_the_end_of_the_lifespan_ends_it_with_the_bare_error(backend: str) -> None:
    class App(Journal):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            raise RuntimeError("the lease was lost")

    with pytest.raises(ShutdownError, match="the lease was lost") as caught:
        run(App(), backend=backend, port=0)
    assert type(caught.value) is ShutdownError


@each_backend
def test_a_failed_startup_is_raised_bare(backend: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise RuntimeError("no database")

    with pytest.raises(StartupError, match="no database") as caught:
        run(app, backend=backend, port=0)
    assert type(caught.value) is StartupError


@each_backend
def test_a_port_in_use_is_raised_bare(backend: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken, pytest.raises(BindError) as caught:
        run(Journal(), backend=backend, port=taken.getsockname()[1])
    assert type(caught.value) is BindError


@each_backend
def test_the_app_may_be_named(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is imported inside the running loop: applications make locks at import."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    name = f"named_app_{backend}"
    (tmp_path / f"{name}.py").write_text(
        "from anyio.lowlevel import current_token\n"
        "from tests.unit.server.test_run import Signalled\n"
        "current_token()\n"
        "app = Signalled()\n"
    )
    run(f"{name}:app", backend=backend, app_dir=str(tmp_path), port=0)
    assert sys.modules.pop(name).app.was_shut_down


@each_backend
def test_a_factory_may_be_handed_over_and_is_called_in_the_running_loop(backend: str) -> None:
    made: list[Signalled] = []

    def make() -> Signalled:
        current_token()  # raises outside a running loop
        made.append(Signalled())
        return made[0]

    run(make, factory=True, backend=backend, port=0)  # type: ignore[arg-type]
    assert made[0].was_shut_down


@each_backend
def test_what_is_handed_over_as_a_factory_must_be_one(backend: str) -> None:
    with pytest.raises(AppLoadError, match=r"^hello has required parameters, a factory has none"):
        run(hello, factory=True, backend=backend, port=0)


@each_backend
@pytest.mark.parametrize(
    ("context", "sentence"),
    [
        ("x", r"^ssl_context: expected an ssl.SSLContext, but got 'x'$"),
        (CONTEXTS.client, r"^ssl_context: is one for clients; ssl.PROTOCOL_TLS_SERVER makes one for servers$"),
    ],
)
def test_a_context_that_no_connection_could_be_served_with_is_refused(
    backend: str, context: Any, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        run(Journal(), backend=backend, port=0, ssl_context=context)


@each_backend
def test_an_app_that_cannot_be_imported_is_raised_bare(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(AppLoadError, match="no_such_module") as caught:
        run("no_such_module:app", backend=backend, port=0)
    assert type(caught.value) is AppLoadError


@pytest.mark.parametrize("settings", [{"backend": "curio"}, {"backend": "trio", "loop": "uvloop"}, {"prot": 1}])
def test_settings_are_checked_before_a_loop_is_made(settings: dict[str, Any]) -> None:
    app = Journal()
    with pytest.raises(ConfigError):
        run(app, **settings)
    assert app.lines == []


@each_backend
def test_it_runs_in_any_thread(backend: str) -> None:
    errors: list[BaseException] = []

    class App(Journal):
        async def lifespan(self, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            raise RuntimeError("the lease was lost")

    def body() -> None:
        try:
            run(App(), backend=backend, port=0)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join(30)
    assert [type(error) for error in errors] == [ShutdownError]


@each_backend
def test_tls_is_served_with_a_context_of_ones_own(backend: str) -> None:
    listening = socket.create_server(("127.0.0.1", 0))  # connections wait in its queue until the server accepts
    answers: list[bytes] = []

    def ask() -> None:
        plain = socket.create_connection(listening.getsockname(), timeout=30)
        try:
            with CONTEXTS.client.wrap_socket(plain, server_hostname="localhost") as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                answers.append(client.makefile("rb").read())
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    asking = threading.Thread(target=ask)
    asking.start()
    with closing(listening):
        run(hello, backend=backend, lifespan="off", fd=os.dup(listening.fileno()), ssl_context=CONTEXTS.server)
    asking.join()
    assert answers[0].endswith(b"\r\n\r\nhello")


@pytest.mark.parametrize(
    ("app", "settings", "sentence"),
    [
        (hello, {"workers": 2}, r"^workers: the application must be an import string"),
        (hello, {"reload": True}, r"^reload: the application must be an import string"),
        (hello, {"limit_max_requests": 5}, r"^limit_max_requests: the application must be an import string"),
        ("app:app", {"workers": 2, "ssl_context": CONTEXTS.server}, r"^ssl_context: cannot be handed to worker"),
        (
            "app:app",
            {"workers": 2, "log_config": {"version": 1, "filters": {"a": {"()": lambda: None}}}},
            r"^log_config: cannot be handed to another process",
        ),
    ],
)
def test_workers_need_an_import_string_and_files(app: Any, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        run(app, port=0, **settings)


def test_workers_cannot_log_by_what_the_program_itself_defines(monkeypatch: pytest.MonkeyPatch) -> None:
    factory = type("Factory", (), {"__module__": "__main__"})
    monkeypatch.setattr(sys.modules["__main__"], "Factory", factory, raising=False)
    sentence = r"^log_config: cannot be handed to another process: Factory is defined in the program itself"

    with pytest.raises(ConfigError, match=sentence):
        run("app:app", port=0, workers=2, log_config={"version": 1, "filters": {"a": {"()": factory}}})


def test_workers_need_the_main_thread() -> None:
    errors: list[BaseException] = []

    def body() -> None:
        try:
            run("app:app", workers=2, port=0)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join(30)

    assert [str(error) for error in errors] == ["workers: needs the main thread, which signals go to"]
