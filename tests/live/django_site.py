"""A Django site without a database, for the tests of Django's own ASGI handler."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from typing import TYPE_CHECKING

import django  # type: ignore[import-untyped]
from django.conf import settings  # type: ignore[import-untyped]
from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]
from django.http import (  # type: ignore[import-untyped]
    HttpRequest,  # noqa: TC002
    HttpResponse,
    JsonResponse,
    StreamingHttpResponse,
)
from django.urls import path, reverse  # type: ignore[import-untyped]

from tests.live.applications import BLOCK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asgiserve.types import Receive, Scope, Send

__all__ = ["application", "entered", "left"]

entered = threading.Event()
left = threading.Event()


def greet(request: HttpRequest, name: str) -> HttpResponse:
    return JsonResponse({"name": name, "query": request.GET.dict(), "thread": threading.current_thread().name})


def link(request: HttpRequest) -> HttpResponse:
    link = request.build_absolute_uri(reverse("greet", args=["you"]))
    return JsonResponse({"link": link, "client": request.META.get("REMOTE_ADDR"), "path": request.path})


async def post(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"form": request.POST.dict(), "method": request.method})


async def body(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"size": len(request.body)})


def unread(request: HttpRequest) -> HttpResponse:
    return HttpResponse("not looked at")


def upload(request: HttpRequest) -> HttpResponse:
    """What a form's file holds, read part by part."""
    digest = hashlib.sha256()
    for part in request.FILES["file"].chunks():
        digest.update(part)
    return JsonResponse({"hash": digest.hexdigest()})


def blocks(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(BLOCK for _ in range(32))


async def stream(request: HttpRequest) -> StreamingHttpResponse:
    async def blocks() -> AsyncIterator[bytes]:
        for _ in range(32):
            yield BLOCK

    return StreamingHttpResponse(blocks())


async def wait(request: HttpRequest) -> HttpResponse:
    """Django cancels a view whose client has left."""
    entered.set()
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        left.set()
        raise
    return HttpResponse()


async def events(request: HttpRequest) -> StreamingHttpResponse:
    async def endless() -> AsyncIterator[bytes]:
        try:
            yield b"data: first\n\n"
            entered.set()
            await asyncio.sleep(3600)
        finally:
            left.set()

    return StreamingHttpResponse(endless(), content_type="text/event-stream")


urlpatterns = [
    path("greet/<name>", greet, name="greet"),
    path("link", link),
    path("post", post),
    path("body", body),
    path("unread", unread),
    path("upload", upload),
    path("blocks", blocks),
    path("stream", stream),
    path("wait", wait),
    path("events", events),
]

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="only for tests",
    LOGGING_CONFIG=None,
    DATABASES={},
)
django.setup(set_prefix=False)
_django = get_asgi_application()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Django's handler knows HTTP only, and raises ValueError for a lifespan scope, as servers expect."""
    await _django(scope, receive, send)
