"""Settings: what is accepted under which name, what is refused with which words."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from asgiserve.backend import run_options
from asgiserve.config import LAUNCH_NAMES, OPTIONS, Launch, Settings, Timeouts, split_launch
from asgiserve.errors import ConfigError


def setting(name: str, value: Any) -> Any:
    """The value as the server sees it, when a user gives it by its flat name."""
    option = OPTIONS[name]
    group = option.group(**{option.attribute: value})
    return getattr(group, option.attribute)


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("port", "8080", 8080),
        ("port", 0, 0),
        ("host", None, None),
        ("bind", "unix:/run/a.sock", ("unix:/run/a.sock",)),
        ("bind", ["a:1", "b:2"], ("a:1", "b:2")),
        ("timeout_head", "2.5", 2.5),
        ("timeout_head", 0, 0.0),
        ("timeout_request", None, math.inf),
        ("timeout_request", "None ", math.inf),
        ("limit_request_body", "none", None),
        ("limit_request_body", "1024", 1024),
        ("root_path", "/api/", "/api"),
        ("root_path", "/", ""),
        ("header", "X-A:  b ", (("X-A", "b"),)),
        ("header", [("X-A", "b"), "X-C: d:e"], (("X-A", "b"), ("X-C", "d:e"))),
        ("access_log", False, False),
        ("use_colors", None, None),
        ("backend", "trio", "trio"),
    ],
)
def test_a_value_is_converted_once(name: str, given: Any, kept: Any) -> None:
    assert setting(name, given) == kept


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", 65536),
        ("port", -1),
        ("port", True),
        ("port", "http"),
        ("fd", -1),
        ("bind", [1]),
        ("timeout_head", -1),
        ("timeout_head", "nan"),
        ("timeout_head", True),
        ("timeout_head", "soon"),
        ("limit_request_line", 0),
        ("limit_request_line", "none"),
        ("limit_request_body", 1.5),
        ("root_path", "api"),
        ("header", "no colon"),
        ("header", [(b"a", b"b")]),
        ("header", [()]),
        ("access_log", "yes"),
        ("lifespan", "maybe"),
        ("app_dir", 3),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_with_setting_expectation_and_value(name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        setting(name, value)

    text = str(caught.value)
    assert text.startswith(f"{name}: expected ")
    assert text.endswith(f", but got {value!r}")


def test_an_unknown_setting_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"^timeout_keepalive: .* did you mean timeout_keep_alive\?$"):
        Settings.of({"timeout_keepalive": 5})


@pytest.mark.parametrize("name", sorted(LAUNCH_NAMES))
def test_a_setting_of_whoever_starts_the_loop_is_refused_by_serve(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{name}: is for run\(\)"):
        Settings.of({name: OPTIONS[name].default})


def test_flat_names_arrive_in_their_groups() -> None:
    settings = Settings.of({"port": 1, "timeout_head": 2, "limit_request_line": 3, "lifespan": "off"})

    assert settings.bind.port == 1
    assert settings.timeouts.head == 2
    assert settings.limits.request_line == 3
    assert settings.application.lifespan == "off"
    assert settings.http == Settings().http


def test_launch_settings_are_divided_from_the_rest() -> None:
    launch, rest = split_launch({"backend": "trio", "port": 1})

    assert launch == Launch(backend="trio")
    assert rest == {"port": 1}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_default_is_a_value_that_is_accepted_and_kept(name: str) -> None:
    assert setting(name, OPTIONS[name].default) == OPTIONS[name].default


@pytest.mark.parametrize("name", OPTIONS)
def test_every_default_text_means_the_default(name: str) -> None:
    option = OPTIONS[name]
    if option.form is None:
        assert option.default_text == {True: "on", False: "off", None: None}[option.default]
    elif option.default_text is not None:
        assert setting(name, option.default_text) == option.default


@pytest.mark.parametrize("name", OPTIONS)
def test_every_text_is_a_sentence(name: str) -> None:
    assert OPTIONS[name].text.partition(" [default:")[0].endswith(".")


def test_groups_cannot_be_changed_but_copied_with_a_change() -> None:
    timeouts = Timeouts()

    with pytest.raises(FrozenInstanceError):
        timeouts.head = 1.0  # type: ignore[misc]
    assert replace(timeouts, head=1).head == 1.0


# --- what starts the loop ---------------------------------------------------------------------


def test_asyncios_own_loop_needs_no_options() -> None:
    assert run_options(Launch(loop="asyncio")) == ("asyncio", {})


def test_trio_needs_no_options() -> None:
    assert run_options(Launch(backend="trio")) == ("trio", {})


@pytest.mark.parametrize("loop", ["auto", "uvloop"])
def test_uvloop_is_taken_where_it_is_installed(loop: str) -> None:
    uvloop = pytest.importorskip("uvloop")

    assert run_options(Launch(loop=loop)) == ("asyncio", {"loop_factory": uvloop.new_event_loop})


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_loop_of_asyncio_is_refused_for_trio_with_the_reason(loop: str) -> None:
    with pytest.raises(ConfigError, match=rf"^loop: {loop} is an event loop for asyncio and cannot run trio"):
        run_options(Launch(backend="trio", loop=loop))


def test_an_empty_host_is_kept_and_means_all_interfaces() -> None:
    assert Settings.of({"host": ""}).bind.host == ""
