"""Whose word is taken: addresses, networks, Unix sockets and everyone, however an address is written."""

from __future__ import annotations

import pytest

from asgiserve.config import Settings
from asgiserve.errors import ConfigError
from asgiserve.setting_values import trusted
from asgiserve.trusted import Trusted, address_of

TCP = ("127.0.0.1", 80)
UNIX = ("/run/app.sock", None)


@pytest.mark.parametrize(
    ("setting", "client"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.0/8", "10.255.255.255"),
        (" 10.0.0.1 , 192.168.0.0/16 ,", "192.168.7.7"),
        ("::1", "::1"),
        ("2001:db8::/32", "2001:DB8:0:0::7"),
        ("2001:db8::1", "2001:0db8:0000:0000:0000:0000:0000:0001"),
        ("fe80::/10", "fe80::1%eth0"),
        ("10.0.0.1", "::ffff:10.0.0.1"),
        ("::ffff:10.0.0.0/104", "10.1.2.3"),
        ("*", "203.0.113.7"),
        ("0.0.0.0/0", "203.0.113.7"),
    ],
)
def test_an_address_is_trusted_however_it_is_written(setting: str, client: str) -> None:
    assert trusted(setting).believes((client, 5000), TCP)


@pytest.mark.parametrize(
    ("setting", "client"),
    [
        ("", "127.0.0.1"),
        ("127.0.0.1,::1", "127.0.0.2"),
        ("10.0.0.0/8", "11.0.0.0"),
        ("::1", "127.0.0.1"),
        ("::/0", "10.0.0.1"),
        ("unix", "127.0.0.1"),
        ("10.0.0.1", "10.0.0.1.evil"),
        ("10.0.0.1", "testclient"),
    ],
)
def test_other_addresses_are_not_trusted(setting: str, client: str) -> None:
    assert not trusted(setting).believes((client, 5000), TCP)


def test_peers_of_unix_sockets_are_trusted_by_name() -> None:
    assert trusted("unix").believes(None, UNIX)
    assert trusted("*").believes(None, UNIX)
    assert not trusted("127.0.0.1,::1").believes(None, UNIX)


@pytest.mark.parametrize("server", [TCP, None])
def test_a_peer_that_was_gone_too_soon_is_no_peer_of_a_unix_socket(server: tuple[str, int] | None) -> None:
    assert not trusted("unix").believes(None, server)


def test_everyone_may_speak_and_is_still_no_proxy() -> None:
    address = address_of("203.0.113.7")
    assert address is not None
    assert not trusted("*").names_proxy(address)
    assert trusted("*,203.0.113.0/24").names_proxy(address)


@pytest.mark.parametrize("wrong", ["localhost", "10.0.0.1/8", "10.0.0.0/33", "10.0.0", "1", "**", "fe80::1%", "UNIX"])
def test_what_is_no_address_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match="forwarded_allow_ips: expected addresses and networks"):
        Settings.of({"forwarded_allow_ips": f"127.0.0.1,{wrong}"})


def test_a_setting_may_be_a_list_or_made_already() -> None:
    made = trusted(["10.0.0.1", "unix"])
    assert (made.names, str(made), trusted(made)) == (("10.0.0.1", "unix"), "10.0.0.1,unix", made)
    assert isinstance(made, Trusted)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("::FFFF:1.2.3.4", "1.2.3.4"),
        ("::ffff:102:304", "1.2.3.4"),
        ("01.2.3.4", None),
        ("1.2.3", None),
        ("1.2.3.4 ", None),
        ("1.2.3.4/32", None),
        ("16909060", None),
        ("0x1.2.3.4", None),
        ("\N{FULLWIDTH DIGIT ONE}.2.3.4", None),
        ("[::1]", None),
        ("fe80::1%eth0", None),
        ("unknown", None),
        ("", None),
    ],
)
def test_one_address_has_one_text(text: str, address: str | None) -> None:
    assert (None if (found := address_of(text)) is None else str(found)) == address


@pytest.mark.parametrize(
    "words", ["forwarded,for", "for,forwarded", "forwarded,proto,prefix", "forwarded,host", ["port", "forwarded"]]
)
def test_fields_that_say_the_same_are_not_believed_together(words: str | list[str]) -> None:
    with pytest.raises(ConfigError, match="forwarded_fields: expected some of for"):
        Settings.of({"forwarded_fields": words})


@pytest.mark.parametrize("words", ["for;proto", "X-Forwarded-For", "for, protocol", "*"])
def test_fields_have_five_names_and_one(words: str) -> None:
    with pytest.raises(ConfigError, match="forwarded_fields"):
        Settings.of({"forwarded_fields": words})


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        ("for, proto,", "for,proto"),
        ("", ""),
        ("forwarded", "forwarded"),
        (["prefix", "forwarded"], "prefix,forwarded"),
    ],
)
def test_fields_are_given_as_a_text_or_a_list(words: str | list[str], chosen: str) -> None:
    assert Settings.of({"forwarded_fields": words}).proxies.forwarded_fields == chosen


def test_the_defaults_are_those_of_uvicorn() -> None:
    proxies = Settings.of({}).proxies
    assert (proxies.proxy_headers, str(proxies.forwarded_allow_ips)) == (True, "127.0.0.1,::1")
    assert (proxies.forwarded_fields, proxies.proxy_protocol) == ("for,proto", False)
