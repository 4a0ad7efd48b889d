"""What proxies tell of a request: lists walked from their end, garbage that says nothing, RFC 7239."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asgiserve.protocols.proxy import Forwarding, read_forwarding, split_host
from asgiserve.setting_values import trusted

PROXIES = trusted("10.0.0.0/8,2001:db8:ffff::/48")
X_FORWARDED = ("for", "proto", "host", "port", "prefix")


def told(*lines: tuple[str, str], believed: tuple[str, ...] = X_FORWARDED, names: str | None = None) -> Forwarding:
    fields = [(name.encode(), value.encode("latin-1")) for name, value in lines]
    return read_forwarding(fields, believed, PROXIES if names is None else trusted(names))


def client(*values: str, names: str | None = None) -> Any:
    return told(*(("x-forwarded-for", value) for value in values), names=names).client


def forwarded(*values: str, names: str | None = None) -> Forwarding:
    return told(*(("forwarded", value) for value in values), believed=("forwarded",), names=names)


# --- X-Forwarded-For --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("203.0.113.7", ("203.0.113.7", 0)),
        ("203.0.113.7:5678", ("203.0.113.7", 5678)),
        ("2001:DB8::0:7", ("2001:db8::7", 0)),
        ("[2001:db8::7]", ("2001:db8::7", 0)),
        ("[2001:db8::7]:5678", ("2001:db8::7", 5678)),
        ("::ffff:203.0.113.7", ("203.0.113.7", 0)),
        ("\t203.0.113.7 ", ("203.0.113.7", 0)),
        ("198.51.100.1, 203.0.113.7", ("203.0.113.7", 0)),
        ("198.51.100.1,203.0.113.7,10.0.0.1 ,10.0.0.2", ("203.0.113.7", 0)),
        ("198.51.100.1, 203.0.113.7, 2001:db8:ffff::1, [2001:db8:ffff::2]:80", ("203.0.113.7", 0)),
        ("198.51.100.1, ::ffff:10.0.0.1", ("198.51.100.1", 0)),
        ("10.0.0.3, 10.0.0.2, 10.0.0.1", ("10.0.0.3", 0)),
    ],
)
def test_the_client_is_the_last_that_is_no_trusted_proxy(value: str, expected: tuple[str, int]) -> None:
    assert client(value) == expected


@pytest.mark.parametrize(
    "invented",
    ["198.51.100.1", "unknown", '"', ",,,", "10.0.0.9", "198.51.100.1:99999", "\xff\xfe", "_hidden", "x" * 5000],
)
def test_nothing_that_a_client_invents_changes_what_its_proxy_says(invented: str) -> None:
    assert client(f"{invented}, 203.0.113.7") == ("203.0.113.7", 0)
    assert client(invented, "203.0.113.7, 10.0.0.1") == ("203.0.113.7", 0)


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        ",",
        "203.0.113.7,",
        "unknown",
        "203.0.113.7, unknown",
        "203.0.113.7, unknown, 10.0.0.1",
        "203.0.113.7, , 10.0.0.1",
        "_hidden",
        "localhost",
        "client.example",
        "203.0.113.7 198.51.100.1",
        "203.0.113.7;198.51.100.1",
        "203.0.113.07",
        "203.0.113",
        "203.0.113.7:",
        "203.0.113.7:x",
        "203.0.113.7:-1",
        "203.0.113.7:65536",
        "203.0.113.7:_p",
        "[203.0.113.7]",
        "[203.0.113.7]:80",
        "2001:db8::7:",
        "2001:db8::g",
        "[2001:db8::7",
        "2001:db8::7]",
        "[2001:db8::7]80",
        "[2001:db8::7]:",
        "[]",
        "fe80::1%eth0",
        "[fe80::1%eth0]",
        '"203.0.113.7"',
        "unix:",
        "203.0.113.7\xa0",
        "\xb2.0.113.7",
        "*",
    ],
)
def test_garbage_is_no_client(garbage: str) -> None:
    assert client(garbage) is None


def test_repeated_fields_are_one_list() -> None:
    assert client("198.51.100.1", "203.0.113.7, 10.0.0.1", "10.0.0.2") == ("203.0.113.7", 0)
    assert client("203.0.113.7", "") is None


def test_behind_everyone_the_client_is_whom_the_peer_names() -> None:
    assert client("198.51.100.1, 203.0.113.7, 10.0.0.1", names="*") == ("10.0.0.1", 0)
    assert client("198.51.100.1, 203.0.113.7, 10.0.0.1", names="*,10.0.0.0/8") == ("203.0.113.7", 0)


HOPS = st.sampled_from(["10.0.0.1", "10.9.9.9:80", "2001:db8:ffff::1", "[2001:db8:ffff::1]:1"])


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=40), st.ip_addresses(), st.lists(HOPS, max_size=4))
@example('", "', ip_address("203.0.113.7"), [])
def test_the_client_that_the_first_proxy_names_is_always_found(invented: str, address: Any, hops: list[str]) -> None:
    named = getattr(address, "ipv4_mapped", None) or address
    if PROXIES.names_proxy(named):
        return
    assert client(", ".join([invented, str(address), *hops])) == (str(named), 0)


@given(st.lists(st.sampled_from(["10.0.0.1", "unknown", "", "1.2.3.4", ":", "[", "]", "::1", "1", "."]), max_size=6))
def test_a_client_is_always_an_address(parts: list[str]) -> None:
    for separator in (",", "", " "):
        found = client(separator.join(parts))
        assert found is None or str(ip_address(found[0])) == found[0]


# --- the others -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "scheme"),
    [
        ("https", "https"),
        ("http", "http"),
        ("wss", "https"),
        ("ws", "http"),
        ("HTTPS", "https"),
        ("http, https", "https"),
        ("https,http", "http"),
        ("https,", None),
        ("", None),
        ("ftp", None),
        ("https://", None),
        ("https http", None),
        ("http\xc5\xbf", None),
    ],
)
def test_the_scheme_is_the_last_that_is_named(value: str, scheme: str | None) -> None:
    assert told(("x-forwarded-proto", value)).scheme == scheme
    assert told(("x-forwarded-proto", "gopher"), ("x-forwarded-proto", value)).scheme == scheme


@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("example.com", b"example.com"),
        ("example.com:8443", b"example.com:8443"),
        ("[::1]:80", b"[::1]:80"),
        ("evil.example, example.com", b"example.com"),
        ("", None),
        ("example.com,", None),
        ("a/b", None),
        ("a b", None),
        ("user@example.com", None),
        ("example.com:99999", None),
        ("[::g]", None),
        ("exämple.com", None),
        ("example.com#", None),
        ('"example.com"', None),
    ],
)
def test_a_host_is_as_strict_as_the_field(value: str, host: bytes | None) -> None:
    assert told(("x-forwarded-host", value)).host == host


@pytest.mark.parametrize(
    ("value", "port"),
    [
        ("443", 443),
        ("80, 8443", 8443),
        ("65535", 65535),
        ("0", None),
        ("65536", None),
        ("+1", None),
        ("-1", None),
        ("1e3", None),
        ("", None),
        ("\xb2", None),
    ],
)
def test_a_port_is_a_number(value: str, port: int | None) -> None:
    assert told(("x-forwarded-port", value)).port == port


@pytest.mark.parametrize(
    ("value", "prefix"),
    [
        ("/api", "/api"),
        ("/api/", "/api"),
        ("/api/v1", "/api/v1"),
        ("/caf%C3%A9", "/café"),
        ("/a, /b", "/b"),
        ("/", ""),
        ("", None),
        ("api", None),
        ("//evil.example", None),
        ("/a//b", None),
        ("/%2Fevil.example", None),
        ("/a/../b", None),
        ("/..", None),
        ("/%2E%2E/b", None),
        ("/.", None),
        ("/a\\b", None),
        ("/a%5Cb", None),
        ("/a?b", None),
        ("/a%0D%0Ab", None),
        ("/a%00", None),
        ("/a%FF", None),
        ("/a b", None),
        ("/a<b>", None),
        ("/a#b", None),
        ("https://evil.example/", None),
    ],
)
def test_a_prefix_is_a_path_of_plain_segments(value: str, prefix: str | None) -> None:
    assert told(("x-forwarded-prefix", value)).prefix == prefix


def test_only_what_is_believed_is_read() -> None:
    lines = [
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-port", "666"),
        ("x-forwarded-prefix", "/evil"),
        ("forwarded", "for=198.51.100.1;host=evil.example"),
    ]
    assert told(*lines, believed=("for", "proto")) == Forwarding(client=("203.0.113.7", 0), scheme="https")
    assert told(*lines, believed=("forwarded",)) == Forwarding(client=("198.51.100.1", 0), host=b"evil.example")
    assert told(*lines, believed=()) == Forwarding()


# --- RFC 7239 ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("for=203.0.113.7", ("203.0.113.7", 0)),
        ("For=203.0.113.7", ("203.0.113.7", 0)),
        ('for="203.0.113.7:5678"', ("203.0.113.7", 5678)),
        ('for="203.0.113.7:_port"', ("203.0.113.7", 0)),
        ('for="[2001:DB8::7]"', ("2001:db8::7", 0)),
        ('for="[2001:db8::7]:5678"', ("2001:db8::7", 5678)),
        ('for="[2001:db8::7]:_p"', ("2001:db8::7", 0)),
        ("for=198.51.100.1, for=203.0.113.7", ("203.0.113.7", 0)),
        ("for=203.0.113.7;proto=http;by=10.0.0.1, for=10.0.0.1", ("203.0.113.7", 0)),
        ("for=203.0.113.7 ; proto=http;, for=10.0.0.1", ("203.0.113.7", 0)),
        (r'for="203.\0.113.7"', ("203.0.113.7", 0)),
        ('for=203.0.113.7;x="a, \\", b", for=10.0.0.1', ("203.0.113.7", 0)),
        (r'x="\\", for=203.0.113.7', ("203.0.113.7", 0)),
        ("for=10.0.0.2, for=10.0.0.1", ("10.0.0.2", 0)),
    ],
)
def test_forwarded_names_the_client(value: str, expected: tuple[str, int]) -> None:
    assert forwarded(value).client == expected


@pytest.mark.parametrize(
    "garbage",
    [
        "for=unknown",
        "for=_hidden",
        'for="_hidden:80"',
        "for=203.0.113.7, for=unknown",
        "for=203.0.113.7, for=unknown, for=10.0.0.1",
        "for=203.0.113.7,",
        "for=203.0.113.7, proto=https",
        "for=203.0.113.7:80",
        "for=[2001:db8::7]",
        'for="2001:db8::7"',
        'for="2001:db8::7:_p"',
        "for",
        "for=",
        'for=""',
        "=203.0.113.7",
        "for =203.0.113.7",
        "for= 203.0.113.7",
        "for=203.0.113.7 proto=http",
        "for=203.0.113.7;for=203.0.113.7",
        "for=203.0.113.7;FOR=198.51.100.1",
        'for="203.0.113.7',
        'for=203.0.113.7"',
        'for="203.0.113.7"x',
        "for='203.0.113.7'",
        "203.0.113.7",
        'for="203.0.113.7\\"',
        "",
        ";",
    ],
)
def test_a_forwarded_that_is_not_understood_names_nobody(garbage: str) -> None:
    assert forwarded(garbage).client is None


@pytest.mark.parametrize(
    "invented",
    ['for="', 'x="a', '"', 'for="198.51.100.1, x="', "for=198.51.100.1;", 'x="\\', "\\", ';"', 'a="b";c="'],
)
@pytest.mark.parametrize(
    "said", ["for=203.0.113.7", 'for="203.0.113.7:1";proto="https"', 'proto=https;for="203.0.113.7";host="a.b"']
)
def test_no_open_quote_of_a_client_swallows_what_its_proxy_says(invented: str, said: str) -> None:
    for found in (forwarded(f"{invented}, {said}"), forwarded(f"{invented},{said}", "for=10.0.0.1")):
        assert found.client is not None
        assert found.client[0] == "203.0.113.7"


def test_scheme_and_host_are_those_that_the_outermost_trusted_proxy_saw() -> None:
    found = forwarded("for=198.51.100.1;host=evil.example", 'for=203.0.113.7;proto=https;host="example.com:8443"')
    inner = "for=10.0.0.1;proto=http;host=internal"
    assert found == Forwarding(client=("203.0.113.7", 0), scheme="https", host=b"example.com:8443")
    assert forwarded(f"for=203.0.113.7;proto=https;host=example.com, {inner}").host == b"example.com"
    assert forwarded(f"for=unknown;proto=https;host=example.com, {inner}") == Forwarding(
        scheme="https", host=b"example.com"
    )
    assert forwarded('for=203.0.113.7;proto=ftp;host="a/b"') == Forwarding(client=("203.0.113.7", 0))


def test_behind_everyone_the_last_element_counts() -> None:
    assert forwarded("for=203.0.113.7, for=10.0.0.1", names="*").client == ("10.0.0.1", 0)


@given(st.text(alphabet='for=;," \\_ab10.[]:\t', max_size=40))
def test_whatever_a_client_writes_the_proxy_has_the_last_word(invented: str) -> None:
    said = 'for="203.0.113.7:5";proto=https;host="example.com"'
    expected = Forwarding(client=("203.0.113.7", 5), scheme="https", host=b"example.com")
    assert forwarded(f"{invented}, {said}") == expected
    assert forwarded(f"{invented}, {said}, for=10.0.0.1;by=_x") == expected


@given(st.text(alphabet='for=;," \\_ab10.[]:\t', max_size=60))
def test_forwarded_of_any_shape_names_an_address_or_nobody(value: str) -> None:
    found = forwarded(value).client
    assert found is None or str(ip_address(found[0])) == found[0]


@pytest.mark.parametrize(
    "value",
    [
        '"' * 60_000,
        '\\"' * 30_000,
        '"\\' * 30_000,
        "," * 60_000,
        '="' * 30_000,
        ';x="' * 15_000,
        ";" * 60_000 + "@",
        ";" + " " * 60_000 + "@",
        "; " * 30_000 + "@",
        " \t;\t " * 12_000 + "@",
    ],
    ids=lambda value: repr(value[:4]),
)
def test_what_a_client_writes_at_length_is_read_and_says_nothing(value: str) -> None:
    assert forwarded(value).client is None
    assert forwarded(value + ", for=203.0.113.7").client == ("203.0.113.7", 0)
    assert forwarded(value + ", for=10.0.0.1").client is None


def test_white_space_around_semicolons_is_no_part_of_a_pair() -> None:
    blanks = " \t" * 30_000
    element = forwarded(f"for=203.0.113.7{blanks};{blanks};proto=https{blanks};")
    assert (element.client, element.scheme) == (("203.0.113.7", 0), "https")


@pytest.mark.parametrize(
    ("host", "parts"),
    [
        (b"example.com", ("example.com", None)),
        (b"example.com:80", ("example.com", 80)),
        (b"example.com:", ("example.com", None)),
        (b"[::1]", ("::1", None)),
        (b"[::1]:8443", ("::1", 8443)),
        (b"", ("", None)),
    ],
)
def test_a_host_is_divided_at_its_port(host: bytes, parts: tuple[str, int | None]) -> None:
    assert split_host(host) == parts
