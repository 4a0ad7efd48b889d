"""Which shape of application a callable is taken for, and what an ASGI 2 application is called with."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from asgiserve.asgi.interface import as_asgi3, is_wsgi
from asgiserve.errors import AppLoadError

if TYPE_CHECKING:
    from asgiserve.types import Message, Receive, Scope, Send

pytestmark = pytest.mark.anyio


async def receive() -> Message:
    return {"type": "http.request"}


async def send(message: Message) -> None:
    raise AssertionError("nobody sends here")


# --- ASGI 3: taken as they are ---


async def function(scope: Scope, receive: Receive, send: Send) -> None:
    pass


async def with_more(app: object, scope: Scope, receive: Receive, send: Send) -> None:
    pass


def plain(scope: Scope, receive: Receive, send: Send) -> Any:
    return function(scope, receive, send)


async def anything(*args: Any, **kwargs: Any) -> None:
    pass


class Callable3:
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        pass

    async def method(self, scope: Scope, receive: Receive, send: Send) -> None:
        pass


class Plain3:
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        return function(scope, receive, send)


class Awaitable3:
    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.arguments = scope, receive, send

    def __await__(self) -> Any:
        return function(*self.arguments).__await__()


@pytest.mark.parametrize(
    "app",
    [
        function,
        plain,
        anything,
        Callable3(),
        Callable3().method,
        Plain3(),
        Awaitable3,
        partial(with_more, None),
        lambda scope, receive, send: function(scope, receive, send),
        lambda *args: function(*args),
    ],
)
async def test_an_asgi_3_application_is_taken_as_it_is(app: Any) -> None:
    assert as_asgi3(app, "auto") is app
    await app({"type": "http"}, receive, send)


# --- ASGI 2: wrapped ---

calls: list[Any] = []


class Class2:
    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(self, receive: Receive, send: Send) -> None:
        calls.append((self.scope, receive, send))


def function2(scope: Scope) -> Any:
    return Class2(scope)


class Factory2:
    def __call__(self, scope: Scope) -> Any:
        return partial(self.serve, scope)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        calls.append((scope, receive, send))


@pytest.mark.parametrize("app", [Class2, function2, Factory2(), partial(Class2), lambda scope: Class2(scope)])
async def test_an_asgi_2_application_is_called_twice(app: Any) -> None:
    calls.clear()
    scope: Scope = {"type": "http"}
    await as_asgi3(app, "auto")(scope, receive, send)
    assert calls == [(scope, receive, send)]


# --- what was said beats what was guessed ---


async def test_the_interface_that_was_named_is_not_guessed() -> None:
    named: Any = as_asgi3(Class2, "asgi3")
    assert named is Class2
    calls.clear()

    def any_number(*args: Any) -> Any:
        return Class2(*args)

    assert as_asgi3(any_number, "auto") is any_number
    await as_asgi3(any_number, "asgi2")({"type": "http"}, receive, send)
    assert calls == [({"type": "http"}, receive, send)]


def test_a_callable_that_hides_its_signature_is_taken_for_asgi_3() -> None:
    class Hidden:
        @property
        def __signature__(self) -> Any:
            raise ValueError("no signature")

        def __call__(self, *args: Any) -> Any:
            return function(*args)

    app = Hidden()
    assert as_asgi3(app, "auto") is app


@pytest.mark.parametrize("interface", ["auto", "asgi2", "asgi3"])
@pytest.mark.parametrize("app", [None, 5, "module:app", [], object()])
def test_what_cannot_be_called_is_no_application(app: object, interface: str) -> None:
    with pytest.raises(AppLoadError, match="is not an ASGI application"):
        as_asgi3(app, interface)


# --- WSGI ---


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    return []


def wsgi_by_other_names(env: Any, start: Any) -> list[bytes]:
    return []


def wsgi_with_more(environ: Any, start_response: Any, extra: Any = None) -> list[bytes]:
    return []


class Instance:
    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        return []

    def method(self, environ: Any, start_response: Any) -> list[bytes]:
        return []


class Class:
    def __init__(self, environ: Any, start_response: Any) -> None:
        pass

    def __iter__(self) -> Any:
        return iter([b""])


async def coroutine(environ: Any, start_response: Any) -> None:
    pass


def flask_application() -> Any:
    import flask

    return flask.Flask("site")


def django_application() -> Any:
    from django.core.handlers.wsgi import WSGIHandler  # type: ignore[import-untyped]

    return WSGIHandler.__call__.__get__(object())


@pytest.mark.parametrize(
    "app",
    [
        wsgi,
        wsgi_by_other_names,
        wsgi_with_more,
        Instance(),
        Instance().method,
        Class,
        partial(wsgi),
        lambda e, s: wsgi(e, s),
        flask_application(),
        django_application(),
    ],
)
def test_a_wsgi_application_is_known_by_its_signature(app: Any) -> None:
    assert is_wsgi(app, "auto")
    assert is_wsgi(app, "wsgi")
    for interface in ("asgi2", "asgi3"):
        with pytest.raises(AppLoadError, match="is a WSGI application"):
            is_wsgi(app, interface)


@pytest.mark.parametrize(
    "app",
    [function, plain, anything, Callable3(), Callable3, Plain3(), Awaitable3, Class2, function2, Factory2(), coroutine],
)
def test_an_asgi_application_is_not_taken_for_one_of_wsgi(app: Any) -> None:
    assert not is_wsgi(app, "auto")
    assert not is_wsgi(app, "asgi3")


def test_wsgi_that_was_named_is_not_guessed() -> None:
    assert is_wsgi(lambda *args: wsgi(*args), "wsgi")


@pytest.mark.parametrize("app", [None, "module:app", function, coroutine, Callable3()])
def test_what_certainly_is_no_wsgi_application_is_refused(app: Any) -> None:
    with pytest.raises(AppLoadError, match="is not a WSGI application"):
        is_wsgi(app, "wsgi")
