"""One run of a server for a test, in a thread or in a task, from its start to its end or to the end of patience.

Both kinds do the same: start and wait until the server listens, stop it and wait until it has ended. Neither waits
longer than `patience`; then they raise, with what goes on. Called by `live.py` and
`memory.py`.
"""

from __future__ import annotations

import sys
import threading
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio

from asgiserve.errors import AsgiserveError
from asgiserve.server.serve import serve_with
from asgiserve.testing.loops import caller, spawn, tasks_text
from asgiserve.testing.recording import keep

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from asgiserve.config import Settings
    from asgiserve.server import Server
    from asgiserve.server.listeners import Listener
    from asgiserve.types import ASGIApplication

__all__ = ["ServerHangs", "ServerTask", "ServerThread"]

_ANSWER_SECONDS: Final = 0.5
"""How long a loop gets to tell what goes on in it. One that needs longer is blocked."""

_CANCELLED_SECONDS: Final = 2.0
"""How long a server gets to end after it was cancelled for a start that took too long."""


class ServerHangs(AsgiserveError, TimeoutError):
    """A server for a test has not started, or not ended, in time. The text tells what goes on in it."""


class _Place(Protocol):
    """Where to serve, and how."""

    settings: Settings
    ssl_context: ssl.SSLContext | None

    def url(self, scheme: str) -> str: ...
    def listeners(self) -> Sequence[Listener]: ...


class _Run:
    """What the two kinds have in common: the body, and what is known of it."""

    def __init__(self, app: ASGIApplication, place: _Place, errors: list[BaseException], patience: float) -> None:
        self._app = app
        self._place = place
        self._errors = errors
        self._patience = patience
        self._abandoned = False
        """Nobody waits for it any more; told to a run that may not have begun."""
        self._scope: anyio.CancelScope | None = None
        self._server: Server | None = None
        self._error: BaseException | None = None

    def started(self, value: Server | None = None) -> None:
        """`serve_with()` calls this as its task status."""
        self._server = value
        self._settle()

    def _settle(self) -> None:
        """The server listens, or has ended without."""
        raise NotImplementedError

    async def _serve(self) -> None:
        if self._abandoned:
            return
        place = self._place
        with anyio.CancelScope() as self._scope:
            await serve_with(
                self._app,
                place.settings,
                ssl_context=place.ssl_context,
                listeners=place.listeners(),
                task_status=self,
                on_app_error=partial(keep, self._errors),
            )

    def _abandon(self) -> None:
        self._abandoned = True
        if self._scope is not None:
            self._scope.cancel()

    def _overview(self) -> str:
        return "starting" if self._server is None else self._server.overview()

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback holds this frame

    def _hangs(self, what: str, told: str) -> ServerHangs:
        return ServerHangs(f"The server on {self._place.url('http')} {what} within {self._patience:g} s.\n{told}")


class ServerThread(_Run):
    """A server in an event loop of a thread of its own."""

    def __init__(
        self,
        app: ASGIApplication,
        place: _Place,
        errors: list[BaseException],
        backend: tuple[str, dict[str, Any]],
        patience: float,
    ) -> None:
        super().__init__(app, place, errors, patience)
        self._backend = backend
        self._settled = threading.Event()
        self._soon: Callable[[Callable[[], object]], None] | None = None
        # A daemon: one that hangs must not keep the process of the tests.
        self._thread = threading.Thread(target=self._main, name=f"asgiserve {place.url('http')}", daemon=True)

    def start(self) -> None:
        """Return when the server listens; raise what keeps it from it."""
        self._thread.start()
        try:
            in_time = self._settled.wait(self._patience)
        except BaseException:
            self._abandon_thread()
            raise
        if not in_time:
            told = self._tell()
            self._abandon_thread()
            self._thread.join(_CANCELLED_SECONDS)
            raise self._hangs("has not started", told)
        if self._server is None:
            self._thread.join(self._patience)
            self._raise_error()

    def _abandon_thread(self) -> None:
        self._abandoned = True  # its loop may not run yet, and nobody could be called there
        self._call(self._abandon)

    def finish(self) -> None:
        """Stop the server; return when its loop is closed. Raise how it ended. One that hangs is left to itself."""
        if self._server is not None:
            self._call(self._server.stop)
        self._thread.join(self._patience)
        if self._thread.is_alive():
            raise self._hangs("does not end", self._tell())
        self._raise_error()

    def overview(self) -> str:
        told, _ = self._ask(self._overview)
        return self._overview() if told is None else told

    def _main(self) -> None:
        name, options = self._backend
        try:
            anyio.run(self._run_loop, backend=name, backend_options=options)
        except BaseException as error:
            self._error = error
        finally:
            self._settle()

    async def _run_loop(self) -> None:
        self._soon = caller()
        await self._serve()

    def _settle(self) -> None:
        self._settled.set()

    def _call(self, function: Callable[[], object]) -> None:
        try:
            if self._soon is not None:
                self._soon(function)
        except RuntimeError:
            pass  # the loop has ended meanwhile

    def _ask(self, question: Callable[[], str]) -> tuple[str | None, bool]:
        """What the loop answers, and whether it runs; None if it does not answer."""
        answers: list[str] = []
        done = threading.Event()

        def answer() -> None:
            try:
                answers.append(question())
            finally:
                done.set()

        self._call(answer)
        answered = done.wait(_ANSWER_SECONDS)
        return (answers[0] if answers else None), answered

    def _tell(self) -> str:
        """What goes on, whatever state the loop is in."""
        told, runs = self._ask(lambda: f"{self._overview()}\n\n{tasks_text()}")
        if runs and told is not None:
            return told
        # The loop stands still, and so does all that the overview reads.
        frame = sys._current_frames().get(self._thread.ident or 0)
        where = "" if frame is None else "".join(traceback.format_stack(frame))
        return f"{self._overview()}\n\nIts event loop is blocked:\n{where}"


class ServerTask(_Run):
    """A server in a task of the running event loop."""

    def __init__(self, app: ASGIApplication, place: _Place, errors: list[BaseException], patience: float) -> None:
        super().__init__(app, place, errors, patience)
        self._settled = anyio.Event()
        self._ended = anyio.Event()

    async def start(self) -> None:
        """Return when the server listens; raise what keeps it from it."""
        spawn(self._main)
        try:
            with anyio.move_on_after(self._patience):
                await self._settled.wait()
        except BaseException:
            await self._cancel()
            raise
        if not self._settled.is_set():
            told = self._tell()
            await self._cancel()
            raise self._hangs("has not started", told)
        if self._server is None:
            self._raise_error()

    async def finish(self, *, at_once: bool = False) -> None:
        """Stop the server, or cancel it; return when it has ended. Raise how it ended."""
        if self._server is not None:
            (self._server.abort if at_once else self._server.stop)()
        # Also when the test is cancelled: the server has to end before its sockets do.
        with anyio.move_on_after(self._patience, shield=True):
            await self._ended.wait()
        if not self._ended.is_set():
            raise self._hangs("does not end", self._tell())
        self._raise_error()

    def overview(self) -> str:
        return self._overview()

    def _tell(self) -> str:
        return f"{self._overview()}\n\n{tasks_text()}"

    async def _cancel(self) -> None:
        self._abandon()
        with anyio.move_on_after(_CANCELLED_SECONDS, shield=True):
            await self._ended.wait()

    async def _main(self) -> None:
        try:
            await self._serve()
        except BaseException as error:
            if isinstance(error, anyio.get_cancelled_exc_class()):
                raise  # the event loop itself ends
            self._error = error
        finally:
            self._ended.set()
            self._settle()

    def _settle(self) -> None:
        self._settled.set()
