"""Type aliases of the ASGI edge. `Any` is allowed here and at this edge only: messages are the application's dicts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias

__all__ = [
    "ASGIApplication",
    "Header",
    "Headers",
    "Message",
    "Receive",
    "Scope",
    "Send",
]

Header: TypeAlias = tuple[bytes, bytes]
Headers: TypeAlias = list[Header]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApplication: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

HeaderPairs: TypeAlias = Iterable[tuple[bytes | str, bytes | str]]
