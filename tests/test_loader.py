"""`load()`: every way to name an application wrongly gets a sentence that helps."""

from __future__ import annotations

import asyncio
import sys
import textwrap
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from asgiserve.errors import AppLoadError, Terminated
from asgiserve.loader import load, made_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Write = Callable[..., str]

APPLICATIONS = """
    import json as sub

    async def app(scope, receive, send): ...

    class Holder:
        app = staticmethod(app)
    holder = Holder()

    class ByInstance:
        async def __call__(self, scope, receive, send): ...
    instance = ByInstance()

    class ByClass:
        def __init__(self, scope, receive, send): ...

    def older(scope): ...

    def anything(*args): ...

    def create_app(settings=None): return app
    def create_text(): return "no application"
    async def create_later(): return app
    def create_coroutine(): return app({}, None, None)
    def create_with(settings): return app
    def create_broken(): raise TypeError("from inside the factory")

    text = "no application"
    def wrong(a, b, c, d): ...

    class Flask:
        def wsgi_app(self, environ, start_response): ...
        def __call__(self, environ, start_response): ...
    flask = Flask()
    def wsgi(environ, start_response): ...
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module into the directory that applications are loaded from."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def write_module(path: str, source: str) -> str:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(source))
        return str(tmp_path)

    yield write_module
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def directory(write: Write) -> str:
    return write("apps.py", APPLICATIONS)


def refusal(target: str, directory: str, *, factory: bool = False) -> str:
    with pytest.raises(AppLoadError) as caught:
        load(target, app_dir=directory, factory=factory)
    return str(caught.value)


@pytest.mark.parametrize("name", ["app", "holder.app", "instance", "ByClass", "older", "anything", "flask", "wsgi"])
def test_what_may_be_an_application_is_loaded(directory: str, name: str) -> None:
    found = load(f"apps:{name}", app_dir=directory, factory=False)

    module: Any = sys.modules["apps"]
    for part in name.split("."):
        module = getattr(module, part)
    assert found is module


def test_a_factory_is_called(directory: str) -> None:
    assert load("apps:create_app", app_dir=directory, factory=True) is sys.modules["apps"].app


def test_the_directory_is_first_in_the_path(directory: str) -> None:
    load("apps:app", app_dir=directory, factory=False)
    load("apps:app", app_dir=directory, factory=False)

    assert sys.path[0] == directory
    assert sys.path.count(directory) == 1


def test_no_directory_means_the_current_one(directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(directory)

    assert callable(load("apps:app", app_dir="", factory=False))


def test_a_directory_that_does_not_exist_is_named() -> None:
    assert "/no/such/place" in refusal("apps:app", "/no/such/place")


@pytest.mark.parametrize(
    ("target", "example"),
    [
        ("apps", "apps:app"),
        ("apps:", "apps:app"),
        (":api", "module:api"),
        ("", "module:app"),
        ("no_module", "no_module:app"),
        ("apps.py", "apps:app"),
        ("./apps.py", "apps:app"),
        ("shop/web.py", "shop.web:app"),
        ("../shop/web.py", "web:app --app-dir ../shop"),
        ("/srv/web.py:", "web:app --app-dir /srv"),
        (".", "module:app"),
    ],
)
def test_a_target_without_both_parts_gets_an_example(directory: str, target: str, example: str) -> None:
    assert refusal(target, directory).endswith(f", for example {example}")


def test_the_example_uses_the_name_that_the_module_has(write: Write) -> None:
    directory = write("served.py", "async def application(scope, receive, send): ...")

    assert refusal("served", directory).endswith("served:application")


@pytest.mark.parametrize("target", ["absent:app", "absent.deeper:app", "apps.deeper:app"])
def test_a_missing_module_is_named_with_the_directory_searched(directory: str, target: str) -> None:
    text = refusal(target, directory)

    assert repr(target.partition(":")[0].removesuffix(".deeper" if "absent" in target else "")) in text
    assert directory in text


@pytest.mark.parametrize("target", ["apps.py:app", "./apps.py:app", "./apps:app", ".apps:app"])
def test_a_file_name_is_answered_with_the_module_name(directory: str, target: str) -> None:
    assert refusal(target, directory).endswith("; write apps:app")


def test_a_file_that_is_elsewhere_is_answered_with_the_directory_too(directory: str) -> None:
    assert refusal("/srv/shop/web.py:app", directory).endswith("; write web:app --app-dir /srv/shop")


@pytest.mark.parametrize(
    ("source", "raised"),
    [
        ("import a_module_that_is_absent", ModuleNotFoundError),
        ("from json import a_name_that_is_absent", ImportError),
        ("1 / 0", ZeroDivisionError),
        ("def broken(:", SyntaxError),
    ],
)
def test_an_error_inside_the_application_is_chained_with_its_own_frames_only(
    write: Write, source: str, raised: type[Exception]
) -> None:
    directory = write("broken.py", source)

    with pytest.raises(AppLoadError, match="importing broken failed") as caught:
        load("broken:app", app_dir=directory, factory=False)

    cause = caught.value.__cause__
    assert isinstance(cause, raised)
    shown = "".join(traceback.format_exception(cause))
    assert "broken.py" in shown
    assert "loader.py" not in shown
    assert "importlib" not in shown


def test_a_missing_part_of_the_applications_own_package_is_an_error_inside_it(write: Write) -> None:
    directory = write("package/__init__.py", "import package.main")

    with pytest.raises(AppLoadError) as caught:
        load("package.main:app", app_dir=directory, factory=False)

    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


@pytest.mark.parametrize(
    ("name", "nearest"), [("ap", "app"), ("creat_app", "create_app"), ("holder.apps", "app"), ("xyz", "app")]
)
def test_a_missing_attribute_gets_the_nearest_names(directory: str, name: str, nearest: str) -> None:
    text = refusal(f"apps:{name}", directory)

    assert repr(name.split(".")[-1]) in text
    assert nearest in text.partition("did you mean")[2]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("text", "is a str, which is not callable"),
        ("sub", "is a module"),
        ("wrong", "cannot be called with scope, receive and send (ASGI), nor with environ and start_response (WSGI)"),
        ("create_app", "use --factory"),
        ("ByInstance", "is a class, not an instance"),
    ],
)
def test_what_is_no_application_is_refused_with_its_kind(directory: str, name: str, hint: str) -> None:
    assert hint in refusal(f"apps:{name}", directory)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("text", "is a str, not a callable"),
        ("app", "leave --factory out"),
        ("create_with", "has required parameters"),
        ("create_later", "is a coroutine function"),
        ("create_text", "what apps:create_text returned is a str"),
        ("create_coroutine", "what apps:create_coroutine returned is a coroutine"),
    ],
)
def test_what_is_no_factory_is_refused_with_its_kind(directory: str, name: str, hint: str) -> None:
    assert hint in refusal(f"apps:{name}", directory, factory=True)


def test_a_factory_that_raises_is_chained(directory: str) -> None:
    with pytest.raises(AppLoadError, match="create_broken failed: TypeError: from inside") as caught:
        load("apps:create_broken", app_dir=directory, factory=True)

    assert isinstance(caught.value.__cause__, TypeError)
    assert "loader.py" not in "".join(traceback.format_exception(caught.value.__cause__))


LAZY = """
    import sys

    class Holder:
        @property
        def broken(self): raise RuntimeError("no settings")
        @property
        def unfinished(self): return self.nothing
    holder = Holder()

    class Proxy:
        def __call__(self, *arguments): ...
        def __getattr__(self, name): raise RuntimeError("outside of everything")
    proxy = Proxy()

    def leave(): sys.exit(0)

    def __getattr__(name):
        if name == "late":
            import a_module_that_is_absent
        raise AttributeError(name)
"""


@pytest.mark.parametrize(
    ("name", "factory", "sentence"),
    [
        ("late", False, "reading lazy:late failed: ModuleNotFoundError: No module named 'a_module_that_is_absent'"),
        ("holder.broken", False, "reading lazy:holder.broken failed: RuntimeError: no settings"),
        ("holder.unfinished", False, "reading lazy:holder.unfinished failed: AttributeError: "),
        ("proxy", False, "looking at lazy:proxy failed: RuntimeError: outside of everything"),
        ("proxy", True, "looking at lazy:proxy failed: RuntimeError: outside of everything"),
        ("leave", True, "the factory lazy:leave failed: SystemExit: 0"),
        ("absent", False, "lazy has no 'absent'"),
    ],
)
def test_what_the_application_raises_when_it_is_looked_up_is_chained_with_its_own_frames_only(
    write: Write, name: str, factory: bool, sentence: str
) -> None:
    directory = write("lazy.py", LAZY)

    with pytest.raises(AppLoadError) as caught:
        load(f"lazy:{name}", app_dir=directory, factory=factory)

    assert str(caught.value).startswith(sentence)
    assert (caught.value.__cause__ is None) == (name == "absent")
    if caught.value.__cause__ is not None:
        shown = "".join(traceback.format_exception(caught.value.__cause__)).splitlines()
        assert "lazy.py" in shown[1]


def test_a_module_that_leaves_the_process_is_an_error_too(write: Write) -> None:
    directory = write("leaving.py", "import sys\nsys.exit(0)")

    assert refusal("leaving:app", directory) == "importing leaving failed: SystemExit: 0"
    assert refusal("leaving", directory).endswith("for example leaving:app")


@pytest.mark.parametrize("target", ["ended:app", "ended"])
def test_a_signal_that_ends_the_process_during_the_import_is_none(write: Write, target: str) -> None:
    directory = write("ended.py", "from asgiserve.errors import Terminated\nraise Terminated(143)")

    with pytest.raises(Terminated):
        load(target, app_dir=directory)


def test_a_factory_that_was_handed_over_is_called_and_named_by_its_own_name() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    class Maker:
        def __call__(self) -> Any:
            raise RuntimeError("no application")

    assert made_by(lambda: app) is app
    with pytest.raises(AppLoadError, match=r"<lambda> returned is an int, which is not callable"):
        made_by(lambda: 5)
    with pytest.raises(AppLoadError, match=r"Maker failed: RuntimeError: no application$"):
        made_by(Maker())


def test_a_current_directory_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    assert refusal("apps:app", "") == "the current directory is gone; --app-dir names one to import from"


def test_an_error_whose_text_cannot_be_made_is_told_by_its_type(write: Write) -> None:
    source = "class Bad(Exception):\n    def __str__(self): raise ValueError\nraise Bad"
    directory = write("mute.py", source)

    assert refusal("mute:app", directory).endswith("importing mute failed: Bad")


def test_an_application_may_use_the_running_loop_at_import(write: Write) -> None:
    source = "import asyncio\nloop = asyncio.get_running_loop()\nasync def app(scope, receive, send): ..."
    directory = write("looped.py", source)

    async def load_inside() -> None:
        load("looped:app", app_dir=directory, factory=False)
        assert sys.modules["looped"].loop is asyncio.get_running_loop()

    asyncio.run(load_inside())
