"""Type aliases of the edge to applications. Messages are the application's dicts, so `Any` is allowed here."""

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
    "WSGIApplication",
]

Header: TypeAlias = tuple[bytes, bytes]
Headers: TypeAlias = list[Header]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApplication: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
WSGIApplication: TypeAlias = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
