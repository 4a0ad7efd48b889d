"""Where settings come from, which source wins, and how each is called in an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asgiserve.config import OPTIONS
from asgiserve.errors import ConfigError
from asgiserve.sources import Gathered, Given, gathered, with_origin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Gather = Callable[..., Gathered]


@pytest.fixture
def gather(tmp_path: Path) -> Gather:
    """Gathers with the test's directory as the current one, and nothing in the environment."""

    def run(flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> Gathered:
        return gathered(flags or {}, environ or {}, str(tmp_path))

    return run


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], str]:
    def run(name: str, text: str) -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return run


def refusal(gather: Gather, *arguments: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        gather(*arguments)
    return str(caught.value)


# --- what wins --------------------------------------------------------------------------------

ORIGINS = {
    "flag": "--port",
    "variable": "ASGISERVE_PORT",
    "env file": "settings.env: ASGISERVE_PORT",
    "file": "asgiserve.toml: port",
}
ORDER = list(ORIGINS)
PAIRS = [(strong, weak) for position, strong in enumerate(ORDER) for weak in ORDER[position + 1 :]]


def port_of(gather: Gather, write: Any, ports: Mapping[str, int]) -> Given:
    """The port that comes out of these sources."""
    flags: dict[str, Any] = {}
    environ: dict[str, str] = {}
    if "flag" in ports:
        flags["port"] = str(ports["flag"])
    if "variable" in ports:
        environ["ASGISERVE_PORT"] = str(ports["variable"])
    if "env file" in ports:
        flags["env_file"] = write("settings.env", f"ASGISERVE_PORT={ports['env file']}\n")
    if "file" in ports:
        flags["config"] = write("asgiserve.toml", f"port = '{ports['file']}'\n")
    return gather(flags, environ).values["port"]


@pytest.mark.parametrize(("strong", "weak"), PAIRS)
def test_a_flag_beats_a_variable_beats_the_env_file_beats_the_file(
    gather: Gather, write: Any, strong: str, weak: str
) -> None:
    assert port_of(gather, write, {strong: 1001, weak: 1002}) == Given("1001", ORIGINS[strong])


@pytest.mark.parametrize("source", ORDER)
def test_each_source_is_enough_by_itself(gather: Gather, write: Any, source: str) -> None:
    assert port_of(gather, write, {source: 1001}) == Given("1001", ORIGINS[source])


def test_sources_add_up(gather: Gather, write: Any) -> None:
    config = write("asgiserve.toml", "backlog = 5\nport = 1\n")

    values = gather({"config": config, "host": "::1"}, {"ASGISERVE_PORT": "2"}).values

    assert values == {
        "host": Given("::1", "--host"),
        "port": Given("2", "ASGISERVE_PORT"),
        "backlog": Given(5, "asgiserve.toml: backlog"),
    }


def test_a_flag_that_is_off_beats_a_variable_that_is_on(gather: Gather) -> None:
    found = gather({"access_log": False}, {"ASGISERVE_ACCESS_LOG": "true"})

    assert found.values["access_log"] == Given(False, "--no-access-log")


def test_a_repeatable_option_replaces_the_weaker_source(gather: Gather, write: Any) -> None:
    config = write("asgiserve.toml", 'bind = ["a:1", "b:2"]')

    assert gather({"config": config, "bind": ["c:3"]}).values["bind"].value == ["c:3"]


@pytest.mark.parametrize("weak", ["variable", "env file"])
def test_a_configuration_file_is_chosen_by_the_strongest_source_too(gather: Gather, write: Any, weak: str) -> None:
    strong, other = write("strong.toml", "port = 1"), write("weak.toml", "port = 2")
    flags = {"config": strong}
    environ = {"ASGISERVE_CONFIG": other} if weak == "variable" else {}
    if weak == "env file":
        flags["env_file"] = write("settings.env", f"ASGISERVE_CONFIG={other}\n")

    values = gather(flags, environ).values

    assert values["port"] == Given(1, "strong.toml: port")
    assert "config" not in values


@pytest.mark.parametrize(
    ("environ", "value"),
    [
        ({"WEB_CONCURRENCY": "1", "ASGISERVE_FORWARDED_ALLOW_IPS": "::2"}, "::2"),
        ({"FORWARDED_ALLOW_IPS": "::1", "ASGISERVE_FORWARDED_ALLOW_IPS": "::2"}, "::2"),
        ({"ASGISERVE_FORWARDED_ALLOW_IPS": "::2", "FORWARDED_ALLOW_IPS": "::1"}, "::2"),
        ({"FORWARDED_ALLOW_IPS": "::1"}, "::1"),
        ({"FORWARDED_ALLOW_IPS": ""}, ""),
        ({"FORWARDED_ALLOW_IPS": "::1", "ASGISERVE_FORWARDED_ALLOW_IPS": ""}, ""),
    ],
)
def test_a_variable_of_ours_beats_the_one_that_platforms_know(
    gather: Gather, environ: Mapping[str, str], value: str
) -> None:
    assert gather({}, environ).values["forwarded_allow_ips"].value == value


def test_a_variable_that_platforms_know_beats_a_file(gather: Gather, write: Any) -> None:
    config = write("asgiserve.toml", 'forwarded_allow_ips = "::3"')

    given = gather({"config": config}, {"FORWARDED_ALLOW_IPS": "::1"}).values["forwarded_allow_ips"]

    assert given == Given("::1", "FORWARDED_ALLOW_IPS")


# --- the environment --------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIONS)
def test_every_setting_has_a_variable(gather: Gather, name: str) -> None:
    variable = f"ASGISERVE_{name.upper()}"

    assert gather({}, {variable: "1"}).values[name].origin == variable


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *[(word, True) for word in ("true", "1", "Yes", "ON", "t", "Y")],
        *[(word, False) for word in ("false", "0", "no", "off ", "f", "n")],
    ],
)
def test_a_variable_of_a_flag_is_a_word(gather: Gather, word: str, value: bool) -> None:
    assert gather({}, {"ASGISERVE_ACCESS_LOG": word}).values["access_log"].value is value
    assert gather({}, {"ASGISERVE_USE_COLORS": word}).values["use_colors"].value is value


def test_another_word_is_refused_with_the_variable(gather: Gather) -> None:
    text = refusal(gather, {}, {"ASGISERVE_ACCESS_LOG": "maybe"})

    assert text == "ASGISERVE_ACCESS_LOG: expected true or false, but got 'maybe'"


def test_names_of_uvicorns_variables_are_known_too(gather: Gather) -> None:
    values = gather({}, {"ASGISERVE_RELOAD_DIRS": "a\nb", "ASGISERVE_RELOAD": "no"}).values

    assert values == {
        "reload_dir": Given(["a", "b"], "ASGISERVE_RELOAD_DIRS"),
        "reload": Given(False, "ASGISERVE_RELOAD"),
    }


@pytest.mark.parametrize("variable", ["ASGISERVE_HEADER", "ASGISERVE_HEADERS"])
def test_a_variable_of_a_repeatable_option_has_a_value_a_line(gather: Gather, variable: str) -> None:
    given = gather({}, {variable: "X-A: b c\n\n X-D: e\n"}).values["header"]

    assert given == Given(["X-A: b c", "X-D: e"], variable)


def test_an_empty_variable_is_none(gather: Gather) -> None:
    assert gather({}, {"ASGISERVE_PORT": "", "WEB_CONCURRENCY": "", "ASGISERVE_ACCESS_LOG": ""}).values == {}


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("ASGISERVE_TIMEOUT_KEEPALIVE", "; did you mean ASGISERVE_TIMEOUT_KEEP_ALIVE?"),
        ("ASGISERVE_port", "; did you mean ASGISERVE_PORT?"),
        ("ASGISERVE_QQQQ", ""),
        ("ASGISERVE_", ""),
    ],
)
def test_an_unknown_variable_is_an_error_with_the_nearest_name(gather: Gather, variable: str, hint: str) -> None:
    assert refusal(gather, {}, {variable: "1"}) == f"{variable}: there is no such setting{hint}"


def test_variables_of_others_are_left_alone(gather: Gather) -> None:
    found = gather({}, {"PORT": "1", "HOST": "h", "_ASGISERVE_COMPLETE": "x", "asgiserve_port": "1", "UVICORN_X": "1"})

    assert found == Gathered({}, {}, ())


def test_what_kubernetes_sets_for_a_service_of_our_name_is_no_setting(gather: Gather) -> None:
    environ = {
        "ASGISERVE_SERVICE_HOST": "10.0.0.1",
        "ASGISERVE_SERVICE_PORT": "80",
        "ASGISERVE_SERVICE_PORT_HTTP": "80",
        "ASGISERVE_PORT": "tcp://10.0.0.1:80",
        "ASGISERVE_PORT_80_TCP": "tcp://10.0.0.1:80",
        "ASGISERVE_PORT_80_TCP_ADDR": "10.0.0.1",
        "ASGISERVE_WEB_SERVICE_HOST": "10.0.0.1",
        "ASGISERVE_WEB_SERVICE_PORT": "80",
        "ASGISERVE_WEB_PORT": "tcp://10.0.0.1:80",
        "ASGISERVE_WEB_PORT_80_TCP_PROTO": "tcp",
    }

    assert gather({}, environ).values == {}


def test_a_variable_of_uvicorns_is_noted_with_its_name_here(gather: Gather) -> None:
    found = gather({}, {"UVICORN_PORT": "80", "UVICORN_APP": "a:b"})

    assert found.values == {}
    assert found.notes == (
        "UVICORN_APP: is not read; the variable here is ASGISERVE_APP",
        "UVICORN_PORT: is not read; the variable here is ASGISERVE_PORT",
    )


# --- workers ----------------------------------------------------------------------------------


def test_web_concurrency_is_the_number_of_workers(gather: Gather) -> None:
    found = gather({}, {"WEB_CONCURRENCY": "4"})

    assert found.values["workers"] == Given("4", "WEB_CONCURRENCY")
    assert found.notes == ()


@pytest.mark.parametrize(
    ("flags", "environ", "origin"),
    [
        ({"workers": "2"}, {"WEB_CONCURRENCY": "4"}, "--workers"),
        ({}, {"WEB_CONCURRENCY": "4", "ASGISERVE_WORKERS": "2"}, "ASGISERVE_WORKERS"),
    ],
)
def test_workers_that_somebody_asks_for_stay(
    gather: Gather, flags: Mapping[str, Any], environ: Mapping[str, str], origin: str
) -> None:
    found = gather(flags, environ)

    assert found.values["workers"] == Given("2", origin)
    assert found.notes == ()


def test_a_web_concurrency_that_is_no_count_stays_as_it_is(gather: Gather) -> None:
    assert gather({}, {"WEB_CONCURRENCY": "auto"}).values["workers"] == Given("auto", "WEB_CONCURRENCY")


# --- files ------------------------------------------------------------------------------------


def test_a_configuration_file_has_toml_s_own_kinds_of_values(gather: Gather, write: Any) -> None:
    text = 'timeout-head = 2.5\naccess_log = false\nheader = ["X-A: b"]\napp = "pkg:app"\nlimit_connections = "none"'

    values = gather({"config": write("asgiserve.toml", text)}).values

    assert {name: one.value for name, one in values.items()} == {
        "timeout_head": 2.5,
        "access_log": False,
        "header": ["X-A: b"],
        "app": "pkg:app",
        "limit_connections": "none",
    }
    assert values["timeout_head"].origin == "asgiserve.toml: timeout-head"


def test_pyproject_is_read_without_being_named(gather: Gather, write: Any) -> None:
    write("pyproject.toml", "[project]\nname = 'x'\n[tool.asgiserve]\nport = 1")

    assert gather().values["port"] == Given(1, "pyproject.toml: port")


def test_a_pyproject_without_our_table_says_nothing(gather: Gather, write: Any) -> None:
    write("pyproject.toml", "port = 'x'\n[tool.other]\nport = 1")

    assert gather().values == {}


def test_a_file_that_is_named_replaces_pyproject(gather: Gather, write: Any) -> None:
    write("pyproject.toml", "[tool.asgiserve]\nport = 1\nbacklog = 1")

    assert gather({"config": write("other.toml", "port = 2")}).values == {"port": Given(2, "other.toml: port")}


def test_a_pyproject_that_is_named_has_its_settings_in_our_table(gather: Gather, write: Any) -> None:
    path = write("pyproject.toml", "[tool.asgiserve]\nport = 1")

    assert gather({}, {"ASGISERVE_CONFIG": path}).values == {"port": Given(1, "pyproject.toml: port")}


@pytest.mark.parametrize("text", ["", "[tool]", "tool = 3", "[tool]\nasgiserve = 3"])
def test_a_pyproject_that_is_named_must_have_our_table(gather: Gather, write: Any, text: str) -> None:
    path = write("pyproject.toml", text)

    assert refusal(gather, {"config": path}) == f"--config: {path} has no [tool.asgiserve]"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("timeout_keepalive = 5", "timeout_keepalive: there is no such setting; did you mean timeout_keep_alive?"),
        ("qqqq = 5", "qqqq: there is no such setting"),
        ("check = true", "check: there is no such setting"),
        ("config = 'x.toml'", "config: there is no such setting"),
        ("[timeouts]\nhead = 5", "timeouts: there is no such setting; did you mean "),
        ("timeout_head = 1\ntimeout-head = 2", "timeout-head: is there twice, with hyphens and with underscores"),
        ("app = 3", "app: expected a text, but got 3"),
        (r'env_file = "a\u0000b"', r"env_file: expected a text, but got 'a\x00b'"),
        ("port = ", "is not TOML: "),
        ("h11_max_incomplete_event_size = 1\nlimit_request_head = 2", "h11_max_incomplete_event_size: is limit_"),
    ],
)
def test_a_file_that_makes_no_sense_is_named_with_its_key(gather: Gather, write: Any, text: str, sentence: str) -> None:
    assert refusal(gather, {"config": write("asgiserve.toml", text)}).startswith(f"asgiserve.toml: {sentence}")


def test_a_file_that_is_not_utf_8_is_no_toml(gather: Gather, tmp_path: Path) -> None:
    (tmp_path / "asgiserve.toml").write_bytes(b"app = '\xff'")

    assert refusal(gather, {"config": str(tmp_path / "asgiserve.toml")}).startswith("asgiserve.toml: is not TOML: ")


def test_a_file_that_is_nested_too_deeply_is_told(gather: Gather, write: Any) -> None:
    path = write("asgiserve.toml", f"port = {'[' * 100_000}")

    assert refusal(gather, {"config": path}) == "asgiserve.toml: is nested too deeply to be read"


def test_a_number_that_nobody_could_read_is_told_without_it(gather: Gather, write: Any) -> None:
    path = write("asgiserve.toml", f"app = 0x{'F' * 5000}")

    text = refusal(gather, {"config": path})

    assert text == "asgiserve.toml: app: expected a text, but got a value of type int that cannot be shown"


@pytest.mark.parametrize(("line", "name"), [("'A=B'=c", "A=B"), ("FOO='a\0b'", "FOO"), ("'F\0O'=a", "F\0O")])
def test_a_variable_that_no_system_takes_is_named_with_its_file(
    gather: Gather, write: Any, line: str, name: str
) -> None:
    text = refusal(gather, {"env_file": write("settings.env", f"GOOD=1\n{line}\n")})

    assert text.startswith(f"settings.env: {name}: cannot be set: a variable has a name without")


def test_a_variable_that_the_locale_cannot_write_is_named(
    gather: Gather, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsencode", lambda text: text.encode("latin-1"))

    text = refusal(gather, {"env_file": write("settings.env", "EURO=€\n")})

    assert text == "settings.env: EURO: cannot be set: it has characters that the locale has not"


def test_what_of_the_file_of_variables_something_stronger_gave_is_known(gather: Gather, write: Any) -> None:
    path = write("settings.env", "ASGISERVE_PORT=1\nASGISERVE_HOST=::1\nASGISERVE_BACKLOG=5\nWEB_CONCURRENCY=2")
    table = write("asgiserve.toml", "backlog = 6")

    found = gather({"env_file": path, "port": "3", "config": table}, {"ASGISERVE_WORKERS": "4"})

    assert sorted(found.beaten) == ["port", "workers"]


@pytest.mark.parametrize(
    ("flags", "environ", "origin"),
    [
        ({"config": "/no/such.toml"}, {}, "--config"),
        ({}, {"ASGISERVE_CONFIG": "/no/such.toml"}, "ASGISERVE_CONFIG"),
        ({"env_file": "/no/such.toml"}, {}, "--env-file"),
        ({}, {"ASGISERVE_ENV_FILE": "/no/such.toml"}, "ASGISERVE_ENV_FILE"),
    ],
)
def test_a_file_that_is_not_there_is_told_with_who_named_it(
    gather: Gather, flags: Mapping[str, Any], environ: Mapping[str, str], origin: str
) -> None:
    assert refusal(gather, flags, environ) == f"{origin}: cannot read /no/such.toml: No such file or directory"


# --- the file of variables --------------------------------------------------------------------


def test_a_file_of_variables_is_for_the_application_and_for_settings(gather: Gather, write: Any) -> None:
    text = "# comment\nexport DATABASE='postgres://x'\nASGISERVE_PORT=1\nNOTHING\nWEB_CONCURRENCY=2\n"

    found = gather({"env_file": write("prod.env", text)})

    assert found.variables == {"DATABASE": "postgres://x", "ASGISERVE_PORT": "1", "WEB_CONCURRENCY": "2"}
    assert found.values["port"] == Given("1", "prod.env: ASGISERVE_PORT")
    assert found.values["workers"] == Given("2", "prod.env: WEB_CONCURRENCY")
    assert found.notes == ()


@pytest.mark.parametrize("by", ["variable", "configuration file"])
def test_a_file_of_variables_may_be_named_elsewhere_too(gather: Gather, write: Any, by: str) -> None:
    path = write("prod.env", "ASGISERVE_PORT=1\n")
    config = write("asgiserve.toml", f"port = 2\nenv_file = '{path}'" if by != "variable" else "port = 2")

    found = gather({"config": config}, {"ASGISERVE_ENV_FILE": path} if by == "variable" else {})

    assert found.values["port"] == Given("1", "prod.env: ASGISERVE_PORT")


def test_the_strongest_file_of_variables_is_the_only_one(gather: Gather, write: Any) -> None:
    config = write("asgiserve.toml", f"env_file = '{write('weak.env', 'ASGISERVE_PORT=1')}'")

    found = gather({"config": config, "env_file": write("strong.env", "ASGISERVE_BACKLOG=2")})

    assert found.values.keys() == {"env_file", "backlog"}
    assert found.variables == {"ASGISERVE_BACKLOG": "2"}


def test_a_configuration_file_that_names_variables_is_not_replaced_by_them(gather: Gather, write: Any) -> None:
    path = write("prod.env", "ASGISERVE_CONFIG=other.toml\nASGISERVE_BACKLOG=2")

    found = gather({"config": write("asgiserve.toml", f"port = 1\nenv_file = '{path}'")})

    assert found.values.keys() == {"port", "env_file", "backlog"}


def test_a_file_of_variables_may_name_the_configuration_file(gather: Gather, write: Any) -> None:
    config = write("asgiserve.toml", "port = 2")

    found = gather({"env_file": write("prod.env", f"ASGISERVE_CONFIG={config}\n")})

    assert found.values["port"] == Given(2, "asgiserve.toml: port")


def test_an_unknown_variable_in_a_file_is_named_with_it(gather: Gather, write: Any) -> None:
    path = write("prod.env", "ASGISERVE_PROT=1\n")

    assert refusal(gather, {"env_file": path}).startswith("prod.env: ASGISERVE_PROT: there is no such setting; did ")


def test_a_file_of_variables_that_is_not_utf_8_is_refused(gather: Gather, tmp_path: Path) -> None:
    path = tmp_path / "prod.env"
    path.write_bytes(b"A=\xff\n")

    assert refusal(gather, {"env_file": str(path)}) == f"--env-file: {path} is not UTF-8"


def test_without_python_dotenv_the_way_to_it_is_told(
    gather: Gather, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "dotenv", None)

    text = refusal(gather, {"env_file": write("prod.env", "A=1")})

    assert text == "--env-file: needs python-dotenv: pip install 'asgiserve[dotenv]'"


# --- how errors call them ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("port: expected a port", "asgiserve.toml: port: expected a port"),
        ("backlog: expected", "--backlog: expected"),
        ("nonsense: expected", "nonsense: expected"),
        ("no colon", "no colon"),
    ],
)
def test_an_error_begins_with_the_place_instead_of_the_name(text: str, shown: str) -> None:
    assert with_origin(text, {"port": Given(1, "asgiserve.toml: port")}) == shown


def test_a_name_of_uvicorns_is_noted_with_its_name_here(gather: Gather) -> None:
    found = gather({"h11_max_incomplete_event_size": "7"})

    assert found.values == {"limit_request_head": Given("7", "--h11-max-incomplete-event-size")}
    assert found.notes == ("--h11-max-incomplete-event-size: is --limit-request-head here, and sets it",)


def test_both_names_of_one_setting_are_refused_with_the_place(gather: Gather) -> None:
    text = refusal(gather, {"h11_max_incomplete_event_size": "7", "limit_request_head": "8"})

    assert text.startswith("--h11-max-incomplete-event-size: is limit_request_head here, which is given too")


def test_both_names_in_two_places_are_decided_by_the_place(gather: Gather) -> None:
    found = gather({"limit_request_head": "8"}, {"ASGISERVE_H11_MAX_INCOMPLETE_EVENT_SIZE": "7"})

    assert found.values == {"limit_request_head": Given("8", "--limit-request-head")}
    assert found.notes == ()
