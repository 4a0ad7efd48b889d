"""The pytest plugin, in suites of its users: with plain pytest, and with every plugin for asynchronous tests."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tomllib
from pathlib import Path
from textwrap import dedent

import pytest

from tests.support.processes import ran

pytestmark = pytest.mark.live

ROOT = Path(__file__).parent.parent.parent

APPLICATION = """
import sniffio

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    if scope["path"] == "/broken":
        raise KeyError("broken")
    body = sniffio.current_async_library().encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""


class Suite:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        (directory / "application.py").write_text(APPLICATION)

    def run(self, tests: str, *words: str, plugins: tuple[str, ...] = ()) -> str:
        """What pytest prints for these tests; its last line counts them."""
        (self._directory / "test_it.py").write_text(dedent(tests))
        loaded = [word for name in ("asgiserve_pytest", *plugins) for word in ("-p", name)]
        command = [sys.executable, "-m", "pytest", "-v", "-W", "error", "-p", "no:cacheprovider", *loaded, *words]
        own = {"PYTHONPATH": str(ROOT / "src"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
        done = ran([*command, "test_it.py"], cwd=self._directory, env={**os.environ, **own, "NO_COLOR": "1"})
        assert not done.stderr, done.stderr
        return done.stdout


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path)


def counted(output: str) -> str:
    """ "2 passed", "1 passed, 1 error" out of the last line."""
    found = re.search(r"=+ (.+) in [0-9.]+s.* =+\s*$", output)
    assert found, output
    return found[1]


PLAIN = """
    import httpx
    from application import app

    def test_it(asgi_server, asgi_backend):
        assert httpx.get(asgi_server(app).url, trust_env=False).text == asgi_backend
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_option_says_which_event_loop_servers_run_on(suite: Suite, backend: str) -> None:
    output = suite.run(PLAIN, "--asgi-backend", backend)

    assert counted(output) == "1 passed", output
    assert "test_it PASSED" in output


def test_both_backends_run_each_test_twice(suite: Suite) -> None:
    output = suite.run(PLAIN, "--asgi-backend", "both")

    assert counted(output) == "2 passed", output
    assert "test_it[asyncio]" in output
    assert "test_it[trio]" in output


def test_the_ini_file_has_the_same_option(suite: Suite) -> None:
    output = suite.run(PLAIN, "-o", "asgi_backend=both")

    assert counted(output) == "2 passed", output


REPLACED = {
    "fixture": """
        @pytest.fixture
        def asgi_backend():
            return "trio"
    """,
    "fixture of a wider scope": """
        @pytest.fixture(scope="module")
        def asgi_backend():
            return "trio"
    """,
    "fixture with parameters": """
        @pytest.fixture(params=["trio"])
        def asgi_backend(request):
            return request.param
    """,
    "mark": """
        pytestmark = pytest.mark.parametrize("asgi_backend", ["trio"])
    """,
    "mark by keywords": """
        pytestmark = pytest.mark.parametrize(argnames="asgi_backend", argvalues=["trio"])
    """,
    "mark of several": """
        pytestmark = pytest.mark.parametrize(("other", "asgi_backend"), [(1, "trio")])

        @pytest.fixture(autouse=True)
        def uses_it(other):
            pass
    """,
}


@pytest.mark.parametrize("way", REPLACED)
@pytest.mark.parametrize("option", ["asyncio", "both"])
def test_a_module_may_choose_for_itself_whatever_the_option_says(suite: Suite, way: str, option: str) -> None:
    tests = f"""
import httpx, pytest
from application import app
{dedent(REPLACED[way])}
def test_it(asgi_server):
    assert httpx.get(asgi_server(app).url, trust_env=False).text == "trio"
"""
    output = suite.run(tests, "--asgi-backend", option)

    assert counted(output) == "1 passed", output


def test_a_fixture_that_asks_for_the_one_it_replaces_has_both_backends(suite: Suite) -> None:
    tests = """
        import pytest

        @pytest.fixture
        def asgi_backend(asgi_backend):
            return f"<{asgi_backend}>"

        def test_it(asgi_backend, request):
            assert asgi_backend in ("<asyncio>", "<trio>")
    """

    output = suite.run(tests, "--asgi-backend", "both")

    assert counted(output) == "2 passed", output


def test_a_value_of_the_ini_file_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "asgiserve_pytest", "-o", "asgi_backend=curio"]
    own = {"PYTHONPATH": str(ROOT / "src"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    done = ran(command, cwd=tmp_path, env={**os.environ, **own})

    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "asgi_backend: expected asyncio, trio or both, but got 'curio'" in done.stderr


def test_a_test_that_uses_no_server_does_not_import_it(suite: Suite) -> None:
    tests = """
        import sys

        def test_it():
            assert "asgiserve_pytest" in sys.modules
            assert "asgiserve" not in sys.modules
    """

    assert counted(suite.run(tests)) == "1 passed"


def test_an_error_of_the_application_is_one_of_the_test_if_asked_for(suite: Suite) -> None:
    tests = """
        import httpx
        from application import app

        def test_it(asgi_server):
            server = asgi_server(app, raise_app_exceptions=True)
            assert httpx.get(server.url + "/broken", trust_env=False).status_code == 500
    """

    output = suite.run(tests)

    assert counted(output) == "1 passed, 1 error", output
    assert "KeyError: 'broken'" in output


def test_several_servers_end_with_their_test(suite: Suite) -> None:
    tests = """
        import httpx, pytest, threading
        from application import app

        urls = []

        def test_first(asgi_server):
            urls.extend(asgi_server(app).url for _ in range(3))
            assert len(set(urls)) == 3

        def test_second():
            assert threading.active_count() == 1
            for url in urls:
                with pytest.raises(httpx.ConnectError):
                    httpx.get(url, trust_env=False)
    """

    assert counted(suite.run(tests)) == "2 passed"


ASYNCHRONOUS = """
    import httpx, pytest
    from application import app
    from asgiserve.testing import async_live_server
    {imports}

    {async_fixture}
    async def same_loop():
        async with async_live_server(app) as server:
            yield server

    {mark}
    async def test_in_a_thread(asgi_server, asgi_backend):
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(asgi_server(app).url)).text == asgi_backend

    {mark}
    async def test_in_the_same_loop(same_loop):
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(same_loop.url)).text == "{library}"
"""


@pytest.mark.parametrize(
    ("plugin", "imports", "async_fixture", "mark", "library"),
    [
        (
            "anyio",
            "anyio_backend = pytest.fixture(lambda: 'asyncio')",
            "@pytest.fixture",
            "@pytest.mark.anyio",
            "asyncio",
        ),
        (
            "anyio.pytest_plugin",
            "anyio_backend = pytest.fixture(lambda: 'trio')",
            "@pytest.fixture",
            "@pytest.mark.anyio",
            "trio",
        ),
        ("pytest_trio.plugin", "", "@pytest.fixture", "@pytest.mark.trio", "trio"),
        (
            "pytest_asyncio.plugin",
            "import pytest_asyncio",
            "@pytest_asyncio.fixture",
            "@pytest.mark.asyncio",
            "asyncio",
        ),
    ],
    ids=["anyio-asyncio", "anyio-trio", "pytest-trio", "pytest-asyncio"],
)
def test_it_works_with_the_plugins_for_asynchronous_tests(
    suite: Suite, plugin: str, imports: str, async_fixture: str, mark: str, library: str
) -> None:
    pytest.importorskip(plugin.partition(".")[0])
    tests = dedent(ASYNCHRONOUS).format(imports=imports, async_fixture=async_fixture, mark=mark, library=library)

    # pytest-asyncio wants to be told; the others do not know the option.
    told = ["-o", "asyncio_default_fixture_loop_scope=function"] if "asyncio" in plugin else []

    output = suite.run(tests, "--asgi-backend", "both", *told, plugins=(plugin,))

    assert counted(output) == "3 passed", output


def test_virtual_time_makes_waiting_free(suite: Suite) -> None:
    tests = """
        import anyio, httpx, pytest, time
        from asgiserve.testing import memory_server
        from asgiserve.testing.transport import MemoryTransport

        @pytest.fixture
        def anyio_backend(asgi_virtual_time):
            return asgi_virtual_time

        async def app(scope, receive, send):
            if scope["type"] != "http":
                raise NotImplementedError
            await anyio.sleep(3600)
            await send({"type": "http.response.start", "status": 204})
            await send({"type": "http.response.body"})

        @pytest.mark.anyio
        async def test_it():
            began = time.monotonic()
            async with memory_server(app) as server:
                transport = MemoryTransport(server)
                async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=None) as client:
                    assert (await client.get("/")).status_code == 204
            assert time.monotonic() - began < 5
    """

    output = suite.run(tests, "--asgi-backend", "both", plugins=("anyio.pytest_plugin",))

    assert counted(output) == "2 passed", output


def test_pytest_finds_the_plugin_by_its_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["entry-points"]["pytest11"] == {"asgiserve_pytest": "asgiserve_pytest"}
    assert importlib.util.find_spec("asgiserve_pytest") is not None
