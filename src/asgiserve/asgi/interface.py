"""The shapes of an application: ASGI's `app(scope, receive, send)`, the double callable of ASGI 2, and WSGI.

Called once, when a server starts, by `server/serve.py`.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, cast

from asgiserve.errors import AppLoadError

if TYPE_CHECKING:
    from asgiserve.types import ASGIApplication, Receive, Scope, Send

__all__ = ["as_asgi3", "is_wsgi"]


def is_wsgi(app: Any, interface: str) -> bool:
    """Whether the application is one of WSGI, `app(environ, start_response)`.

    "auto" looks at its signature: two positional arguments fit, and no call of ASGI's does, or they have PEP 3333's
    names. Raises AppLoadError where what was named is certainly wrong.
    """
    if interface == "wsgi":
        if not callable(app) or _is_asynchronous(app):
            raise AppLoadError(
                f"{app!r} is not a WSGI application: it cannot be called with (environ, start_response)."
            )
        return True
    if not callable(app) or _is_asynchronous(app) or not _looks_like_wsgi(app):
        return False
    if interface != "auto":
        raise AppLoadError(f"{app!r} is a WSGI application: leave interface out, or say wsgi instead of {interface}.")
    return True


def _looks_like_wsgi(app: Any) -> bool:
    try:
        signature = inspect.signature(app)
    except (TypeError, ValueError):
        return False
    if [name.strip("_") for name in signature.parameters][:2] == ["environ", "start_response"]:
        return True
    return _fits(signature, 2) and not _fits(signature, 1) and not _fits(signature, 3)


def as_asgi3(app: Any, interface: str) -> ASGIApplication:
    """The application in the shape of ASGI 3. `interface` is "auto", "asgi3" or "asgi2".

    Raises AppLoadError if it is not callable at all.
    """
    if not callable(app):
        raise AppLoadError(f"{app!r} is not an ASGI application: it cannot be called with (scope, receive, send).")
    if interface == "asgi2" or (interface == "auto" and _is_double_callable(app)):
        return _Asgi2(app)
    return cast("ASGIApplication", app)


def _is_double_callable(app: Any) -> bool:
    """Whether `app(scope)` is the call that fits, and `app(scope, receive, send)` is not."""
    if _is_asynchronous(app):
        return False
    try:
        signature = inspect.signature(app)
    except (TypeError, ValueError):
        return False
    return _fits(signature, 1) and not _fits(signature, 3)


def _is_asynchronous(app: Any) -> bool:
    # A class is called to make an instance: whether that is a coroutine's call says nothing about the class.
    call = app if inspect.isclass(app) else getattr(app, "__call__", None)  # noqa: B004
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(call)


def _fits(signature: inspect.Signature, arguments: int) -> bool:
    try:
        signature.bind(*range(arguments))
    except TypeError:
        return False
    return True


class _Asgi2:
    """An ASGI 2 application behind ASGI 3's call."""

    __slots__ = ("_app",)

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope)(receive, send)
