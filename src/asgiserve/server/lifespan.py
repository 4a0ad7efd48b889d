"""The application's lifespan: one task from startup to shutdown, inside which every request happens.

`Lifespan.run` is that task's body; `serve.py` starts it, waits for `started`, and `stopping.py` ends it. From
`startup.complete` on the task is shielded: the shutdown of an application must run whatever happens to the
server. It is the one shield that begins without a deadline; it gets its deadline at the stop.
"""

from __future__ import annotations

import math
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio.lowlevel import checkpoint

from asgiserve import logs
from asgiserve.asgi.lifespan import LifespanMessages, LifespanState, lifespan_scope
from asgiserve.backend import host_task, ki_protected
from asgiserve.cancellation import bare_cancellation, own_error
from asgiserve.errors import ShutdownError, StartupError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from asgiserve.cancellation import LoopEnd
    from asgiserve.types import ASGIApplication, Message

__all__ = ["Lifespan"]


class Lifespan:
    """One run of an application's lifespan."""

    def __init__(self, app: ASGIApplication, mode: str, clock: Callable[[], float], loop_end: LoopEnd) -> None:
        """`mode` is "auto", "on" or "off"."""
        self._app = app
        self._mode = mode
        self._required = mode == "on"
        self._clock = clock
        self._loop_end = loop_end
        self._messages = LifespanMessages()
        self._scope = anyio.CancelScope()
        self._engaged = False
        """The application has called receive() or send(): it knows what a lifespan is."""
        self._startup_given = self._shutdown_given = False
        self._shutdown_asked = anyio.Event()
        self._limit = math.inf
        self.state: dict[str, Any] = {}
        self.context: Context = copy_context()
        """The application's context at `startup.complete`; requests run in copies of it."""
        self.started = anyio.Event()
        """Startup is over, well or not; see `error`."""
        self.ended = anyio.Event()
        """Nothing of it runs any more."""
        if mode == "off":
            self.started.set()
            self.ended.set()
        self.error: StartupError | ShutdownError | None = None

    @property
    def doing(self) -> str:
        """For people: where it stands."""
        if self._mode == "off":
            return "off"
        if self.ended.is_set() and not self._engaged:
            return "not supported by the application"
        return _DOING[self._messages.state]

    @ki_protected
    async def run(self) -> None:
        """Run the application's lifespan to its end. Raises nothing but our own cancellation."""
        own: BaseException | None = None
        try:
            with self._scope:
                own = await self._call()
            if own is None:
                self._returned()
            else:
                self._raised(own)
        except anyio.get_cancelled_exc_class():
            if isinstance(self.error, StartupError):
                self.error = None  # told while it was cancelled: Starlette says startup.failed of our cancellation
            raise
        finally:
            self.started.set()
            self.ended.set()

    async def _call(self) -> BaseException | None:
        """Returns what the application raises. Asked whose it is within the scope: behind its shield nothing that is
        cancelled around us is the application's affair."""
        try:
            await self._app(lifespan_scope(self.state), self._receive, self._send)
        except BaseException as error:
            own = own_error(error, self._loop_end)
            if own is None:
                raise bare_cancellation(error) from None
            return own
        return None

    def begin_shutdown(self, limit: float) -> None:
        """Ask the application to shut down, within `limit` seconds. Does nothing where nothing runs.

        A startup that goes on although it was cancelled (a shielded migration) is shut down once it is over.
        """
        self._limit = limit
        self._shutdown_asked.set()
        if self._messages.state is LifespanState.STARTED and not self.ended.is_set():
            self._shut_down()

    def _shut_down(self) -> None:
        logs.log_info("Waiting for application shutdown.")
        self._messages.begin_shutdown()
        self._scope.deadline = self._clock() + self._limit

    # --- what the application calls ---

    async def _receive(self) -> Message:
        self._engaged = True
        if not self._startup_given:
            self._startup_given = True
            return {"type": "lifespan.startup"}
        while not self._shutdown_asked.is_set():
            try:
                await self._shutdown_asked.wait()
            except anyio.get_cancelled_exc_class():
                if _scope_is_cancelled() or not self._loop_end.has_come():
                    raise
                # All tasks of the loop are cancelled, once: the stopping task as well, which asks us next.
                await host_task().absorb_cancellation()
        # A loop that calls receive() until something else comes must not hold the event loop for ever.
        if self._shutdown_given:
            await checkpoint()
        self._shutdown_given = True
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        self._engaged = True
        state = self._messages.advance(message)
        if state is LifespanState.STARTED:
            self.context = copy_context()
            self._scope.shield = True
            logs.log_info("Application startup complete.")
            self.started.set()
            if self._shutdown_asked.is_set():
                self._shut_down()
        elif state is LifespanState.FAILED:
            # Now, not when the application returns: many wait for a message that never comes.
            self.error = self._failure(None)
            self.started.set()
        elif state is LifespanState.STOPPED:
            logs.log_info("Application shutdown complete.")

    # --- how it ended ---

    def _returned(self) -> None:
        if self._scope.cancel_called and self._messages.state is LifespanState.STOPPING:
            self.error = ShutdownError(
                f"The application's lifespan shutdown took longer than {self._limit:g} s (timeout_lifespan_shutdown)."
            )
            return
        match self._messages.state:
            case LifespanState.STARTING if self._required:
                self.error = StartupError(
                    "The application's lifespan returned without sending 'lifespan.startup.complete'."
                )
            case LifespanState.STARTING:
                self._unsupported()
            case LifespanState.STOPPING:
                logs.log_info("Application shutdown complete.")

    def _raised(self, error: BaseException) -> None:
        if self.error is not None:
            # It has said so already, by a message; what it raises afterwards only tells more.
            self.error.__cause__ = error
            return
        if not self._engaged and not self._required and isinstance(error, Exception):
            # Only what fails before its first receive() or send() can be a refusal of the scope; all that
            # fails later is a failing startup, and hiding it has cost people days.
            logs.log_debug("The application refused the lifespan scope:", error)
            self._unsupported()
            return
        logs.log_error("Exception in the application's lifespan", error)
        self.error = self._failure(error)

    def _unsupported(self) -> None:
        logs.log_info("ASGI 'lifespan' protocol appears unsupported.")

    def _failure(self, error: BaseException | None) -> StartupError | ShutdownError:
        text = self._messages.failure or (f"{type(error).__name__}: {logs.text_of(error)}" if error else "")
        detail = f": {text}" if text else "."
        failed: StartupError | ShutdownError
        if not self.started.is_set():
            failed = StartupError(f"Application startup failed{detail}")
        elif self._shutdown_asked.is_set():
            failed = ShutdownError(f"Application shutdown failed{detail}")
        else:
            failed = ShutdownError(f"The application's lifespan failed while serving{detail}")
        failed.__cause__ = error
        return failed


_DOING: Final = {
    LifespanState.STARTING: "starting up",
    LifespanState.STARTED: "started",
    LifespanState.STOPPING: "shutting down",
    LifespanState.STOPPED: "shut down",
    LifespanState.FAILED: "failed",
}
"""For people."""


def _scope_is_cancelled() -> bool:
    return anyio.current_effective_deadline() == -math.inf
