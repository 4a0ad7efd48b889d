"""Settings: what is accepted under which name, what is refused with which words."""

from __future__ import annotations

import math
import ssl
from dataclasses import FrozenInstanceError, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from asgiserve import setting_values as values
from asgiserve.backend import run_options
from asgiserve.config import LAUNCH_NAMES, OPTIONS, PROCESS_NAMES, Launch, Processes, Settings, Timeouts, split_launch
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
        ("ssl_certfile", Path("a.pem"), "a.pem"),
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
        pytest.param("timeout_head", 10**309, id="no float"),
        pytest.param("timeout_head", -(10**309), id="no negative float"),
        ("shutdown_delay", 1e10),
        ("backlog", 0),
        ("backlog", 2**31),
        ("limit_request_line", 0),
        ("limit_request_line", "none"),
        ("limit_request_body", 1.5),
        ("root_path", "api"),
        ("header", "no colon"),
        ("header", [(b"a", b"b")]),
        ("header", [()]),
        ("header", [("X-A", "b", "c")]),
        ("header", [("X-A", 1)]),
        ("header", [{"X-Frame-Options": "DENY"}]),
        ("header", {"X-Frame-Options": "DENY"}),
        ("access_log", "yes"),
        ("access_log_format", 1),
        ("access_log_exclude", "health"),
        ("access_log_exclude", [1]),
        ("request_id_header", "a b"),
        ("lifespan", "maybe"),
        ("app_dir", 3),
        ("ssl_certfile", ""),
        ("ssl_certfile", "a\0b"),
        ("pid_file", "a\0b"),
        ("user", "a\0b"),
        ("uds_group", "a\0b"),
        ("ssl_version", 3),
        ("ssl_version", "16"),
        ("ssl_version", True),
        ("ssl_minimum_version", "1.1"),
        ("ssl_cert_reqs", 3),
        ("ssl_cert_reqs", False),
        ("ssl_sni", "two.test"),
        ("ssl_sni", "two.test="),
        ("ssl_sni", "=cert.pem"),
        ("ssl_sni", "two.test=cert.pem,"),
        ("ssl_sni", [("two.test",)]),
        ("ssl_sni", [("two.test", "c", "k", "more")]),
        ("ssl_sni", [{"two.test": 1, "cert.pem": 2}]),
        ("ssl_sni", [("x" * 64 + "é", "cert.pem")]),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_with_setting_expectation_and_value(name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        setting(name, value)

    text = str(caught.value)
    assert text.startswith(f"{name}: expected ")
    assert text.endswith(f", but got {value!r}")


def test_a_value_that_cannot_be_shown_is_told_by_its_type() -> None:
    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError

    with pytest.raises(ConfigError, match=r", but got a value of type Mute that cannot be shown$"):
        setting("port", Mute())
    with pytest.raises(ConfigError, match=r", but got a value of type int that cannot be shown$"):
        setting("limit_request_line", 10**5000)


_TEXTS = {
    values.host,
    values.logging_config,
    values.name_or_number,
    values.optional_path,
    values.optional_text,
    values.path_patterns,
    values.root_path,
    values.secret,
    values.text,
    values.texts,
}


_COUNTS = {values.count, values.whole, values.optional_count, values.optional_size, values.descriptor}


@pytest.mark.parametrize(
    ("value", "takers"),
    [
        pytest.param(Decimal("Infinity"), {values.seconds}, id="infinite"),
        pytest.param(Decimal("NaN"), set(), id="NaN"),
        pytest.param(Decimal("sNaN"), set(), id="sNaN"),
        pytest.param(Fraction(10**400), _COUNTS, id="no float"),
        pytest.param(10**5000, set(), id="no text"),
    ],
)
@pytest.mark.parametrize("name", OPTIONS)
def test_a_number_of_any_kind_is_taken_or_refused_with_a_sentence(name: str, value: Any, takers: set[Any]) -> None:
    convert = OPTIONS[name].convert
    if convert in takers:
        setting(name, value)
        return
    with pytest.raises(ConfigError, match=f"^{name}: expected "):
        setting(name, value)


@pytest.mark.parametrize(
    ("value", "takers"),
    [
        (-7, set()),
        (0.5, {values.seconds, values.finite_seconds}),
        (True, {values.flag, values.optional_flag}),
        (date(2026, 1, 1), set()),
        ("/", _TEXTS),
        (["/"], {values.path_patterns, values.texts}),
        ([7], set()),
        ([True], set()),
        ([[]], set()),
        ([["/"]], set()),
        ([[7, "/"]], set()),
        ([["a", 7]], set()),
        ([{}], set()),
        ([{"a": "b"}], set()),
        ({"a": "b"}, {values.logging_config}),
    ],
)
@pytest.mark.parametrize("name", OPTIONS)
def test_a_value_of_another_kind_is_refused_by_every_setting(name: str, value: Any, takers: set[Any]) -> None:
    """The kinds are those of TOML, whose values come here as they are."""
    convert = OPTIONS[name].convert
    if convert in takers:
        convert(value)
        return
    with pytest.raises(ConfigError, match=f"^{name}: expected ") as caught:
        setting(name, value)
    assert repr(value) in str(caught.value) or name == "ssl_keyfile_password"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("two.test=c", (("two.test", "c", None),)),
        ("two.test=c,k", (("two.test", "c", "k"),)),
        (r"two.test=C:\a=b\c.pem,C:\k.pem", (("two.test", r"C:\a=b\c.pem", r"C:\k.pem"),)),
        (["A.test.=c", "*.b.test=d"], (("a.test", "c", None), ("*.b.test", "d", None))),
        ([("a.test", Path("c,d.pem")), ("b.test", "c", "k")], (("a.test", "c,d.pem", None), ("b.test", "c", "k"))),
        ([("a.test", "c", None)], (("a.test", "c", None),)),
        ("café.test=c", (("xn--caf-dma.test", "c", None),)),
    ],
)
def test_a_hosts_certificate_is_named_by_a_text_or_a_tuple(given: Any, kept: Any) -> None:
    assert Settings.of({"ssl_certfile": "c", "ssl_sni": given}).tls.ssl_sni == kept


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (17, "any"),
        (ssl.PROTOCOL_TLS_SERVER, "any"),
        ("5", "1.2"),
        ("1.3", "1.3"),
        (1.2, "1.2"),  # from a configuration file
    ],
)
def test_a_version_of_tls_is_a_word_or_uvicorns_number(given: Any, kept: str) -> None:
    assert Settings.of({"ssl_certfile": "c", "ssl_version": given}).tls.ssl_version == kept


@pytest.mark.parametrize(
    ("given", "kept"),
    [("0", "none"), (1, "optional"), ("2", "required"), (ssl.CERT_REQUIRED, "required"), ("optional", "optional")],
)
def test_whether_clients_need_certificates_is_a_word_or_uvicorns_number(given: Any, kept: str) -> None:
    settings = Settings.of({"ssl_certfile": "c", "ssl_ca_certs": "a", "ssl_cert_reqs": given})
    assert settings.tls.ssl_cert_reqs == kept


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("100", 100),
        (100, 100),
        ("64k", 65_536),
        ("512M", 512 << 20),
        ("2G", 2 << 30),
        ("1 GiB", None),
        ("1GiB", 1 << 30),
        ("none", None),
        (None, None),
    ],
)
def test_memory_is_a_number_of_bytes_or_of_their_multiples(given: Any, kept: int | None) -> None:
    if given == "1 GiB":
        with pytest.raises(ConfigError, match=r"^limit_worker_memory: expected a number of bytes"):
            Processes(limit_worker_memory=given)
    else:
        assert Processes(limit_worker_memory=given).limit_worker_memory == kept


@pytest.mark.parametrize("name", ["limit_max_requests_jitter", "limit_worker_lifetime_jitter", "reload_delay"])
@pytest.mark.parametrize("value", ["none", None, -1])
def test_a_jitter_is_a_number_without_an_end_of_none(name: str, value: Any) -> None:
    assert getattr(Processes(**{name: "3"}), name) == 3
    with pytest.raises(ConfigError, match=rf"^{name}: expected "):
        Processes(**{name: value})


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, ""),
        ({"workers": 1, "timeout_worker_healthcheck": 5, "reload_dir": ["src"]}, ""),
        ({"workers": 2}, "workers"),
        ({"reload": True, "workers": 2}, "reload"),
        ({"limit_max_requests": 1}, "limit_max_requests"),
        ({"limit_worker_memory": "1G"}, "limit_worker_memory"),
        ({"limit_worker_lifetime": 60}, "limit_worker_lifetime"),
    ],
)
def test_a_supervisor_is_needed_for_several_workers_and_for_one_that_is_to_be_replaced(
    values: dict[str, Any], reason: str
) -> None:
    assert (Processes(**values).supervised, Processes(**values).reason) == (bool(reason), reason)


def test_an_unknown_setting_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"^timeout_keepalive: .* did you mean timeout_keep_alive\?$"):
        Settings.of({"timeout_keepalive": 5})


@pytest.mark.parametrize("name", sorted(LAUNCH_NAMES | PROCESS_NAMES))
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
