"""From "module:attribute" to the application object.

`load()` is called by the command line and by `run()`, inside the running event loop, so that an application may make
its locks and groups at import; `made_by()` by `run()`, for a factory that it was handed. Whatever goes wrong becomes an
`AppLoadError` whose text says what was looked for, where, and what to write instead. If the application's own code
raised, that exception is the error's `__cause__`, its traceback cut down to the application's frames; otherwise there
is no cause.

Whether the application speaks ASGI 3, ASGI 2 or WSGI is not asked here; only what is certainly none of them is refused.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import sys
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from asgiserve.errors import AppLoadError, Terminated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from asgiserve.types import ASGIApplication

__all__ = ["load", "made_by"]

USUAL_NAMES = ("app", "application", "api")
"""What applications are called in most projects; tried only to make a suggestion."""


def load(target: str, *, app_dir: str = "", factory: bool = False) -> ASGIApplication:
    """The application that `target` names; with `factory`, what the callable that it names returns.

    `app_dir` is put first in `sys.path`; empty means the current directory. Raises AppLoadError.
    """
    directory = _put_first(app_dir)
    module_name, colon, attributes = target.partition(":")
    if not colon or not module_name or not attributes:
        raise AppLoadError(_wrong_form(target, directory))
    module = _module(module_name, attributes, directory)
    found = _attribute(module, module_name, attributes)
    if factory:
        return made_by(found, target)
    _check(found, target, _of_factory, _of_application)
    return cast("ASGIApplication", found)


def made_by(factory: Any, name: str = "") -> ASGIApplication:
    """What the factory returns; `name` is what errors call it. Raises AppLoadError."""
    name = name or getattr(factory, "__qualname__", None) or _kind(factory)
    _check(factory, name, _of_no_factory)
    with _blamed(f"the factory {name}"):
        made = factory()
    _check(made, f"what {name} returned", _of_application)
    return cast("ASGIApplication", made)


# --- finding ----------------------------------------------------------------------------------


def _put_first(app_dir: str) -> str:
    try:
        directory = os.path.abspath(app_dir)
    except OSError:
        raise AppLoadError("the current directory is gone; --app-dir names one to import from") from None
    if not os.path.isdir(directory):
        raise AppLoadError(f"the directory to import from does not exist: {directory}")
    if sys.path[:1] != [directory]:
        sys.path.insert(0, directory)
    return directory


def _wrong_form(target: str, directory: str) -> str:
    name, _, attributes = target.partition(":")
    name, hint = _of_file(name) if _is_file(name) else (name, "")
    usual = _usual_name(name) if name and not hint and not attributes else None
    example = f"{name or 'module'}:{attributes or usual or 'app'}{hint}"
    return f"{target!r} does not name an application: write module:attribute, for example {example}"


def _is_file(name: str) -> bool:
    return "/" in name or name.startswith(".") or name.endswith(".py")


def _of_file(path: str) -> tuple[str, str]:
    """The module that a file is, and what else is to be said for it to be found."""
    path = os.path.normpath(path).removesuffix(".py")
    if not path.startswith(("/", "../")):
        return path.replace("/", ".").strip(".") or "module", ""
    directory, name = os.path.split(path)
    return name, f" --app-dir {directory}"


def _usual_name(module_name: str) -> str | None:
    """The usual name of an application that the module has, if the module can be imported at all."""
    try:
        module = importlib.import_module(module_name)
        return next((name for name in USUAL_NAMES if callable(getattr(module, name, None))), None)
    except Terminated:
        raise
    except (Exception, SystemExit):  # the module's own trouble is told when it is asked for by its right name
        return None


def _module(name: str, attributes: str, directory: str) -> ModuleType:
    with _blamed(f"importing {name}"):
        try:
            return importlib.import_module(name)
        except (ModuleNotFoundError, TypeError, ValueError) as error:
            # An import that failed before any line of the application ran is one that we asked for.
            if _application_frames(error.__traceback__) is not None:
                raise
            missing = error
    raise AppLoadError(_no_module(name, attributes, directory, missing))


def _no_module(name: str, attributes: str, directory: str, error: Exception) -> str:
    if _is_file(name):
        module, hint = _of_file(name)
        return f"{name!r} is not the name of a module; write {module}:{attributes}{hint}"
    missing = (error.name if isinstance(error, ModuleNotFoundError) else None) or name
    part = "" if missing == name else f" (for {name})"
    where = f"looked in {directory} and the rest of sys.path"
    return f"there is no module {missing!r}{part}: {where}; --app-dir names another directory"


def _attribute(module: ModuleType, module_name: str, attributes: str) -> Any:
    found: Any = module
    path = module_name
    for position, name in enumerate(attributes.split(".")):
        inner = path + (":" if position == 0 else ".") + name
        with _blamed(f"reading {inner}"):
            value, hint = _value_or_hint(found, name)
        if hint is not None:
            raise AppLoadError(f"{path} has no {name!r}{hint}")
        path, found = inner, value
    return found


def _value_or_hint(owner: Any, name: str) -> tuple[Any, str | None]:
    try:
        return getattr(owner, name), None
    except AttributeError:
        # A property that is there may raise it too.
        if inspect.getattr_static(owner, name, None) is not None:
            raise
        return None, _nearest(owner, name)


def _nearest(owner: Any, name: str) -> str:
    names = [each for each in dir(owner) if not each.startswith("_")]
    near = difflib.get_close_matches(name, names, n=3)
    if not near and isinstance(owner, ModuleType):
        near = [each for each in USUAL_NAMES if each in names]
    return f"; did you mean {' or '.join(near)}?" if near else ""


# --- judging ----------------------------------------------------------------------------------


def _check(found: Any, name: str, *rules: Callable[[Any], str | None]) -> None:
    """Refuse with what the first of the rules says against it. They run the application's code where `found` stands for
    something else, as a proxy does."""
    with _blamed(f"looking at {name}"):
        objection = next((said for rule in rules if (said := rule(found)) is not None), None)
    if objection is not None:
        raise AppLoadError(f"{name} {objection}")


def _of_no_factory(found: Any) -> str | None:
    """Why this is certainly no factory."""
    if not callable(found):
        return f"is {_kind(found)}, not a callable that makes an application"
    if not _accepts(found, 0):
        return "has required parameters, a factory has none; if it is the application itself, leave --factory out"
    if inspect.iscoroutinefunction(found):
        return "is a coroutine function: a factory must be a plain one"
    return None


def _of_factory(found: Any) -> str | None:
    """Why this seems to be a factory, where an application was asked for."""
    if not callable(found) or _accepts(found, 20) or not _accepts(found, 0):
        return None  # what takes any number of arguments may be anything; what needs some is no factory
    if inspect.isclass(found):
        return "is a class, not an instance of it: name an instance, or use --factory to have one made"
    return "takes no arguments, so it seems to make the application: use --factory"


def _of_application(found: Any) -> str | None:
    """Why this is certainly no application."""
    if isinstance(found, ModuleType):
        name = next((name for name in USUAL_NAMES if callable(getattr(found, name, None))), "app")
        return f"is a module: name the application in it, for example {found.__name__}:{name}"
    if inspect.iscoroutine(found):
        found.close()  # or Python warns that it was never awaited
    if not callable(found):
        return f"is {_kind(found)}, which is not callable; an application is"
    if not any(_accepts(found, count) for count in (3, 1, 2)):
        return (
            f"is {_kind(found)} that cannot be called with scope, receive and send (ASGI),"
            " nor with environ and start_response (WSGI)"
        )
    return None


def _accepts(found: Callable[..., Any], count: int) -> bool:
    """Whether a call with `count` positional arguments can work; True where Python cannot tell."""
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):  # some callables written in C have none
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


# --- telling ----------------------------------------------------------------------------------


@contextmanager
def _blamed(what: str) -> Iterator[None]:
    """What the application's own code raises in the block is an AppLoadError that says what failed.

    So is SystemExit: a server that ends in silence since a module has called `sys.exit(0)` would seem to have served.
    """
    try:
        yield
    except Terminated:
        raise
    except (Exception, SystemExit) as error:
        trace = _application_frames(error.__traceback__)
        raise AppLoadError(f"{what} failed: {_summary(error)}") from error.with_traceback(trace)


def _application_frames(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the application's first frame on: what is between it and us is left out."""
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        if module != __name__ and module.partition(".")[0] not in ("importlib", "inspect"):
            return trace
        trace = trace.tb_next
    return None


def _summary(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _kind(found: Any) -> str:
    name = type(found).__qualname__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
