"""`--log-level trace`: a line for every ASGI message, by an application around the application.

It is put there only where such lines go anywhere, so that nobody else pays for it. Bodies are told by their size,
headers and state not at all: they hold what a log must not. Called by `serve.py`.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, Final

from asgiserve import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asgiserve.types import ASGIApplication, Message, Receive, Scope, Send

__all__ = ["traced"]


def traced(app: ASGIApplication) -> ASGIApplication:
    """The same application, with a line for each message that it receives and sends."""
    numbers = count(1)

    async def traced_app(scope: Scope, receive: Receive, send: Send) -> None:
        number, client = next(numbers), scope.get("client")
        name = "" if client is None else f"{client[0]}:{client[1]}"

        def tell(text: str) -> None:
            logs.log_trace(name, f"ASGI [{number}] {text}")

        async def traced_receive() -> Message:
            message = await receive()
            tell(f"Receive {_shown(message)}")
            return message

        async def traced_send(message: Message) -> None:
            tell(f"Send {_shown(message)}")
            await send(message)

        tell(f"Started scope={_shown(scope)}")
        try:
            await app(scope, traced_receive, traced_send)
        except BaseException as error:
            tell(f"Raised {type(error).__name__}")
            raise
        tell("Completed")

    return traced_app


def _size(value: Any) -> str:
    return f"<{len(value)} bytes>" if isinstance(value, (bytes, bytearray, memoryview)) else _kind(value)


def _length(value: Any) -> str:
    return f"<{len(value)} chars>" if isinstance(value, str) else _kind(value)


def _kind(value: Any) -> str:
    return repr(value) if value is None else f"<{type(value).__name__}>"


def _names(value: Any) -> str:
    return repr(sorted(map(str, value))) if isinstance(value, dict) else _kind(value)


_SHOWN: Final[Mapping[str, Callable[[Any], str]]] = {
    "body": _size,
    "bytes": _size,
    "text": _length,
    "headers": lambda value: "<...>",
    "state": lambda value: "<...>",
    "extensions": _names,  # among them clients' certificates
}


def _shown(message: Any) -> str:
    """A scope or a message, on one line. What an application sends may be anything."""
    if not isinstance(message, dict):
        return _kind(message)
    try:
        fields = [f"{key!r}: {_SHOWN.get(key, repr)(value)}" for key, value in message.items()]
    except Exception as failure:  # a repr() of the application's
        return f"(cannot be shown: {type(failure).__name__})"
    return "{" + ", ".join(fields) + "}"
