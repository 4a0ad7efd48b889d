"""WSGI applications that are served by import string, by the command line in a process of its own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from tests.live.saying import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["any_arguments", "app", "endless", "stuck", "writes_elsewhere"]


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode("latin-1")]


def any_arguments(*args: Any) -> Iterable[bytes]:
    """Its signature says nothing."""
    return app(*args)


def endless(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """A stream that never ends by itself, and says when it is ended."""
    start_response("200 OK", [])
    try:
        while True:
            yield b"tick\n"
            threading.Event().wait(0.05)
    except GeneratorExit:
        say("stream: closed")
        raise


def writes_elsewhere(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Waits for another thread, which waits for a client that does not read."""
    write = start_response("200 OK", [])

    def blocks() -> None:
        try:
            while True:
                write(b"x" * 65_536)
        except BaseException as error:
            say(f"write: {type(error).__name__}")
            raise

    say("request: entered")
    with ThreadPoolExecutor(1) as pool:
        pool.submit(blocks).result()
    return []


def stuck(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Waits for what never comes, and asks nothing of the server meanwhile."""
    say("request: entered")
    threading.Event().wait()
    return []
