"""What uvicorn's users bring along: each of its options and values has an answer here.

uvicorn is installed for the tests, and its command line is read: a new option of it fails a test of this file.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from uvicorn import config as uvicorn_config
from uvicorn.main import main as uvicorn_main
from uvicorn.main import run as uvicorn_run

from asgiserve.config import OPTIONS, Launch, Processes, Settings, split
from asgiserve.errors import ConfigError
from asgiserve.from_uvicorn import FOREIGN, RENAMED, VALUED_FLAGS, accepted, renamed

if TYPE_CHECKING:
    from collections.abc import Iterable

PAGE = Path(__file__).parent.parent / "docs/how-to/run-from-uvicorn.md"

OWN = {"env_file", "version", "help"}
"""What our command line has beside the settings."""

THEIRS = {one.opts[0].removeprefix("--").replace("-", "_"): one for one in uvicorn_main.params if one.opts[0] != "app"}


def flag(name: str) -> bool:
    return bool(getattr(THEIRS[name], "is_flag", False))


# --- drift ------------------------------------------------------------------------------------


def test_the_options_that_uvicorn_has_are_read() -> None:
    assert {"port", "workers", "ws_max_queue", "reload_dir", "header"} <= THEIRS.keys()


@pytest.mark.parametrize("name", sorted(THEIRS))
def test_every_option_of_uvicorn_is_one_here(name: str) -> None:
    assert name in {*OPTIONS, *FOREIGN, *OWN}


@pytest.mark.parametrize("name", sorted(THEIRS.keys() - OWN))
def test_an_option_takes_a_value_here_where_it_does_in_uvicorn(name: str) -> None:
    option = OPTIONS.get(name) or FOREIGN[name]

    assert (option.form is None) == (flag(name) or name in VALUED_FLAGS)
    assert option.repeatable == bool(getattr(THEIRS[name], "multiple", False))


def test_an_option_that_only_uvicorn_has_is_still_there() -> None:
    assert FOREIGN.keys() <= THEIRS.keys()
    assert not FOREIGN.keys() & OPTIONS.keys()


SIGNATURES = [inspect.signature(uvicorn_run), inspect.signature(uvicorn_config.Config)]
DEFAULTS = [{name: one.default for name, one in each.parameters.items() if name != "app"} for each in SIGNATURES]
KEYWORDS = sorted({*DEFAULTS[0], *DEFAULTS[1]})
ONLY_KEYWORDS = {"env_file", "timeout_notify", "callback_notify", "ssl_context_factory"}
"""Keywords that are no settings here: their defaults are accepted."""


@pytest.mark.parametrize("name", KEYWORDS)
def test_every_keyword_of_uvicorn_is_one_here(name: str) -> None:
    assert name in {*OPTIONS, *FOREIGN, *RENAMED, *ONLY_KEYWORDS}


@pytest.mark.parametrize("defaults", DEFAULTS, ids=["run", "Config"])
@pytest.mark.parametrize("name", [*KEYWORDS, "all"])
def test_the_default_of_uvicorns_keyword_is_accepted(defaults: dict[str, Any], name: str) -> None:
    keywords = {each: one for each, one in defaults.items() if name in (each, "all")}

    launch, processes, rest = split(accepted(keywords)[0])

    assert isinstance(launch, Launch)
    assert not processes.supervised
    assert isinstance(Settings.of(rest), Settings)


def test_a_file_of_variables_is_for_the_command_line() -> None:
    with pytest.raises(ConfigError, match=r"^env_file: is for the command line"):
        accepted({"env_file": ".env"})


def test_the_page_for_uvicorns_users_has_a_row_for_each_of_its_options() -> None:
    rows = re.findall(r"^\| `--([a-z0-9-]+)` \|", PAGE.read_text(), re.MULTILINE)

    assert sorted(rows) == sorted(name.replace("_", "-") for name in {*THEIRS, "help"})


def values_of(name: str, words: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, word) for word in words]


ANSWERS = [
    *values_of("http", get_args(uvicorn_config.HTTPProtocolType)),
    *values_of("ws", get_args(uvicorn_config.WSProtocolType)),
    *values_of("lifespan", get_args(uvicorn_config.LifespanType)),
    *values_of("loop", get_args(uvicorn_config.LoopFactoryType)),
    *values_of("interface", get_args(uvicorn_config.InterfaceType)),
    *values_of("log_level", uvicorn_config.LOG_LEVELS),
]


@pytest.mark.parametrize(("name", "word"), ANSWERS)
def test_every_word_of_uvicorns_options_is_accepted(name: str, word: str) -> None:
    def result() -> object:
        launch, _, rest = split(accepted({name: word})[0])
        return launch, Settings.of(rest)

    assert result()


# --- values that name an engine ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "word", "note"),
    [
        ("http", "httptools", "asgiserve's own reader and h11 serve instead, as for auto"),
        ("http", "zttp", "asgiserve's own reader and h11 serve instead, as for auto"),
        ("ws", "websockets", "asgiserve's own reader and wsproto serve instead, as for auto"),
        ("ws", "websockets-sansio", "asgiserve's own reader and wsproto serve instead, as for auto"),
        ("ws", "wsproto", "asgiserve's own reader and wsproto serve instead, as for auto"),
        ("loop", "none", "asyncio's own loop serves instead, as for asyncio"),
        ("loop", "zuvloop", "auto serves instead: uvloop where it is installed, or else asyncio's own loop"),
    ],
)
def test_a_value_that_names_an_engine_is_accepted_and_says_what_serves(name: str, word: str, note: str) -> None:
    kept, notes = accepted({name: word})

    assert kept == {name: "asyncio" if word == "none" else "auto"}
    assert notes == (f"{name}: {word} is a choice of uvicorn's; {note}",)


@pytest.mark.parametrize(("name", "word"), [("http", "h11"), ("ws", "none"), ("loop", "uvloop"), ("http", ["x"])])
def test_a_value_of_ours_passes_without_a_note(name: str, word: Any) -> None:
    assert accepted({name: word}) == ({name: word}, ())


def test_a_loop_factory_is_refused_with_a_way_out() -> None:
    with pytest.raises(ConfigError, match=r"^loop: expected .* 'pkg:make', a loop of yours: start that yourself"):
        accepted({"loop": "pkg:make"})


# --- options that only uvicorn has ------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("http2", True, "HTTP/2 is not there yet; leave it out, or let a proxy in front speak it"),
        ("callback_notify", print, "is not there; a task of the application's lifespan can do the same"),
        ("ssl_context_factory", print, "is ssl_context here, which takes the context itself"),
    ],
)
def test_an_option_that_would_change_an_effect_is_refused_with_a_sentence(name: str, value: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        accepted({name: value})

    assert str(caught.value) == f"{name}: {sentence}"


@pytest.mark.parametrize(
    ("name", "value"),
    [("http2", "true"), ("reset_contextvars", 1)],
)
def test_a_value_that_uvicorn_would_not_take_either_is_refused_as_one(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{name}: expected .*, but got {value!r}$"):
        accepted({name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("workers", 0), ("workers", "two"), ("reload", "true"), ("limit_max_requests_jitter", -1)],
)
def test_so_is_a_value_of_its_processes(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{name}: expected .*, but got {value!r}$"):
        split({name: value})


def test_no_workers_by_keyword_is_the_default() -> None:
    assert accepted({"workers": None}) == ({}, ())


@pytest.mark.parametrize("name", sorted(FOREIGN.keys() - RENAMED.keys()))
def test_its_default_asks_for_nothing_and_is_accepted(name: str) -> None:
    assert accepted({name: FOREIGN[name].default}) == ({}, ())


def test_its_default_may_be_a_text() -> None:
    assert split({"workers": " 1", "limit_max_requests": "none"})[1] == Processes()


def test_reset_contextvars_is_accepted_and_explained() -> None:
    kept, notes = accepted({"reset_contextvars": True, "port": 1})

    assert kept == {"port": 1}
    assert notes == (
        "reset_contextvars: every request has a context of its own anyway; what the lifespan has set is seen in it",
    )


# --- other names ------------------------------------------------------------------------------


def test_h11_max_incomplete_event_size_sets_the_limit_of_a_head() -> None:
    assert accepted({"h11_max_incomplete_event_size": 7}) == ({"limit_request_head": 7}, ())
    assert accepted({"h11_max_incomplete_event_size": None}) == ({}, ())


def test_uvicorns_keyword_headers_is_header() -> None:
    kept, _ = accepted({"headers": [("X-A", "b")]})

    assert Settings.of(kept).http.header == (("X-A", "b"),)


@pytest.mark.parametrize(("theirs", "ours"), RENAMED.items())
def test_both_names_of_one_setting_are_refused(theirs: str, ours: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{theirs}: is {ours} here, which is given too"):
        renamed({theirs: 1, ours: 2})


def test_launch_settings_pass_too() -> None:
    kept, _ = accepted({"loop": "zuvloop", "backend": "trio"})

    assert split(kept)[0] == Launch(backend="trio")
