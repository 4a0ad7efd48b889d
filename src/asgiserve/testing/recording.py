"""What an application raises, kept for the test that runs it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, cast

import anyio

from asgiserve.asgi.interface import as_asgi3, is_wsgi
from asgiserve.wsgi import WsgiApplication

if TYPE_CHECKING:
    from asgiserve.config import Application
    from asgiserve.types import ASGIApplication, Receive, Scope, Send

__all__ = ["Recording", "besides", "raise_recorded"]

_KEPT: Final = 100
"""Errors that are kept, each with its traceback and all that hangs on it. The first ones tell the cause."""


class Recording:
    """An application that keeps what another one raises, and raises it again: the server sees the same as ever.

    Not kept: the server's own cancellation, and what comes out of the lifespan, which the server raises itself.
    """

    def __init__(self, app: Any, settings: Application, errors: list[BaseException]) -> None:
        self.asgiserve_wsgi = wsgi = is_wsgi(app, settings.interface)
        self._app: ASGIApplication = (
            cast("ASGIApplication", WsgiApplication(app, settings.wsgi_threads))
            if wsgi
            else as_asgi3(app, settings.interface)
        )
        self._errors = errors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except BaseException as error:
            cancelled = isinstance(error, anyio.get_cancelled_exc_class())
            ours = cancelled and anyio.current_effective_deadline() == -math.inf
            if scope["type"] != "lifespan" and not ours and len(self._errors) < _KEPT:
                self._errors.append(error)
            raise


def raise_recorded(errors: list[BaseException]) -> None:
    """Raise what was recorded, if anything was, and forget it: one error bare, several as a group."""
    recorded = errors[:]
    errors.clear()
    if len(recorded) == 1:
        raise recorded[0]
    if recorded:
        raise BaseExceptionGroup("the application raised", recorded)


def besides(error: BaseException) -> str:
    """The note on a test's own error, when the server has ended in one too."""
    return f"Besides, out of the server: {type(error).__name__}: {error}"
