"""TLS from settings: which certificate, version and cipher a client gets, and which settings are refused with what."""

from __future__ import annotations

import ssl
import sys
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from anyio.streams.tls import TLSAttribute

from asgiserve.config import Settings, Tls
from asgiserve.errors import ConfigError
from asgiserve.server import serve
from asgiserve.server.tls import server_context
from tests.support.certificates import Authority
from tests.unit.server.apps import hello
from tests.unit.server.running import running
from tests.unit.server.test_tls import ALERT, secured

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.certificates import Pair
    from tests.support.serving import Client
    from tests.unit.server.running import Run

pytestmark = pytest.mark.anyio


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def pair(authority: Authority) -> Pair:
    return authority.pair("localhost")


async def connected(run: Run, context: ssl.SSLContext, host: str | None = "localhost") -> Client:
    return await secured(run.connect().stream, context, host)


def told(client: Client, attribute: Any) -> Any:
    return client.stream.extra(attribute)


# --- what a client gets -----------------------------------------------------------------------


async def test_a_certificate_and_its_key_in_two_files_are_served(authority: Authority, pair: Pair) -> None:
    async with running(hello, **pair.settings) as run:
        client = await connected(run, authority.client())
        assert (await client.get()).body == b"hello"


async def test_one_file_may_hold_certificate_and_key(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(pair.keyfile.read_bytes() + pair.certfile.read_bytes())
    async with running(hello, ssl_certfile=both) as run:
        assert (await (await connected(run, authority.client())).get()).status == 200


async def test_a_key_is_decrypted_with_its_password(authority: Authority) -> None:
    pair = authority.pair(password=b"open sesame")
    async with running(hello, **pair.settings, ssl_keyfile_password="open sesame") as run:
        assert (await (await connected(run, authority.client())).get()).status == 200


def oldest(version: ssl.TLSVersion) -> Callable[[ssl.SSLContext], None]:
    def change(context: ssl.SSLContext) -> None:
        context.minimum_version = version

    return change


def newest(version: ssl.TLSVersion) -> Callable[[ssl.SSLContext], None]:
    def change(context: ssl.SSLContext) -> None:
        context.maximum_version = version

    return change


@pytest.mark.parametrize(
    ("settings", "change", "version"),
    [
        ({}, None, "TLSv1.3"),
        ({}, newest(ssl.TLSVersion.TLSv1_2), "TLSv1.2"),
        ({"ssl_version": "1.2"}, None, "TLSv1.2"),
        ({"ssl_version": ssl.PROTOCOL_TLS_SERVER}, None, "TLSv1.3"),
        ({"ssl_version": "1.3"}, None, "TLSv1.3"),
        ({"ssl_minimum_version": "1.3"}, None, "TLSv1.3"),
    ],
)
async def test_the_newest_version_that_both_allow_is_spoken(
    authority: Authority, pair: Pair, settings: dict[str, Any], change: Any, version: str
) -> None:
    async with running(hello, **pair.settings, **settings) as run:
        client = await connected(run, authority.client(change=change))
        assert told(client, TLSAttribute.tls_version) == version


@pytest.mark.parametrize(
    ("settings", "change"),
    [
        ({"ssl_minimum_version": "1.3"}, newest(ssl.TLSVersion.TLSv1_2)),
        ({"ssl_version": "1.3"}, newest(ssl.TLSVersion.TLSv1_2)),
        ({"ssl_version": "1.2"}, oldest(ssl.TLSVersion.TLSv1_3)),
    ],
)
async def test_a_client_without_an_allowed_version_is_told_so(
    authority: Authority, pair: Pair, settings: dict[str, Any], change: Any
) -> None:
    async with running(hello, **pair.settings, **settings) as run:
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
            await connected(run, authority.client(change=change))


def test_nothing_older_than_tls_1_2_is_spoken_unless_told(pair: Pair) -> None:
    assert server_context(Tls(**pair.settings)).minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_client_cannot_ask_for_another_handshake(pair: Pair) -> None:
    assert server_context(Tls(**pair.settings)).options & ssl.OP_NO_RENEGOTIATION


async def test_the_ciphers_of_tls_1_2_are_a_setting(authority: Authority, pair: Pair) -> None:
    name = "ECDHE-ECDSA-AES128-GCM-SHA256"
    async with running(hello, **pair.settings, ssl_ciphers=name) as run:
        client = await connected(run, authority.client(change=newest(ssl.TLSVersion.TLSv1_2)))
        assert told(client, TLSAttribute.cipher)[0] == name


@pytest.mark.parametrize(
    ("offered", "agreed"), [(["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), (["h2"], None), ([], None)]
)
async def test_http_1_1_is_what_is_spoken_over_tls(
    authority: Authority, pair: Pair, offered: list[str], agreed: str | None
) -> None:
    def offer(context: ssl.SSLContext) -> None:
        if offered:
            context.set_alpn_protocols(offered)

    async with running(hello, **pair.settings) as run:
        client = await connected(run, authority.client(change=offer))
        assert told(client, TLSAttribute.alpn_protocol) == agreed
        assert (await client.get()).status == 200


# --- several certificates ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", "default"),
        ("two.test", "two"),
        ("TWO.test", "two"),
        ("a.wild.test", "wild"),
        ("exact.wild.test", "exact"),
    ],
)
async def test_a_client_gets_the_certificate_of_the_host_that_it_asks_for(
    authority: Authority, host: str, expected: str
) -> None:
    pairs = {
        "default": authority.pair("localhost", name="default"),
        "two": authority.pair("two.test", name="two"),
        "wild": authority.pair("*.wild.test", name="wild"),
        "exact": authority.pair("exact.wild.test", name="exact"),
    }
    sni = [pairs["two"].sni("Two.Test"), pairs["wild"].sni("*.wild.test"), pairs["exact"].sni("exact.wild.test")]
    async with running(hello, **pairs["default"].settings, ssl_sni=sni) as run:
        client = await connected(run, authority.client(), host)
        sent = ssl.DER_cert_to_PEM_cert(told(client, TLSAttribute.peer_certificate_binary))
        assert (await client.get()).status == 200
    assert sent == pairs[expected].certificate


def unchecked(context: ssl.SSLContext) -> None:
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE


@pytest.mark.parametrize("host", ["other.test", "deep.a.wild.test", "wild.test", None])
async def test_a_client_that_asks_for_another_host_or_none_gets_the_first_certificate(
    authority: Authority, pair: Pair, host: str | None
) -> None:
    wild = authority.pair("*.wild.test", name="wild")
    async with running(hello, **pair.settings, ssl_sni=[wild.sni("*.wild.test")]) as run:
        client = await connected(run, authority.client(change=unchecked), host)
        sent = told(client, TLSAttribute.peer_certificate_binary)
    assert ssl.DER_cert_to_PEM_cert(sent) == pair.certificate


def client_hello(name: bytes) -> bytes:
    """A client's first words that ask for this name."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    client = context.wrap_bio(incoming, outgoing, server_hostname="x" * len(name))
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read().replace(b"x" * len(name), name)


async def test_a_name_that_is_not_ascii_is_refused_and_nothing_is_written_of_it(
    authority: Authority, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = authority.pair("two.test", name="two")
    said: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    async with running(hello, **pair.settings, ssl_sni=[other.sni("two.test")]) as run:
        client = run.connect()
        await client.send(client_hello(b"caf\xe9.two.test"))
        assert (await client.read())[0] == ALERT
        assert (await (await connected(run, authority.client(), "two.test")).get()).status == 200
    assert said == []
    assert sys.unraisablehook == said.append


async def test_an_international_name_is_asked_for_in_its_ascii_form(authority: Authority, pair: Pair) -> None:
    other = authority.pair("café.test", name="other")
    async with running(hello, **pair.settings, ssl_sni=f"café.test={other.certfile},{other.keyfile}") as run:
        client = await connected(run, authority.client(), "xn--caf-dma.test")
        assert (await client.get()).status == 200


async def test_clients_are_asked_for_certificates_whatever_host_they_ask_for(authority: Authority, pair: Pair) -> None:
    other = authority.pair("two.test", name="two")
    verify = {"ssl_cert_reqs": "required", "ssl_ca_certs": str(authority.file)}
    async with running(hello, **pair.settings, **verify, ssl_sni=[other.sni("two.test")]) as run:
        for host in ("localhost", "two.test"):
            own = authority.issue("me@two.test")
            assert (await (await connected(run, authority.client(own), host)).get()).status == 200
            with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
                await (await connected(run, authority.client(), host)).get()


# --- settings that are refused ----------------------------------------------------------------


def refusal(**settings: Any) -> str:
    """What is said of these settings."""
    with pytest.raises(ConfigError) as caught:
        server_context(Settings.of({key: str(value) for key, value in settings.items()}).tls)
    return str(caught.value)


def test_a_file_that_is_missing_is_named(pair: Pair, authority: Authority, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    reason = f"cannot read {str(missing)!r}: no such file or directory"
    files = pair.settings

    assert refusal(ssl_certfile=missing) == f"ssl_certfile: {reason}"
    assert refusal(ssl_certfile=pair.certfile, ssl_keyfile=missing) == f"ssl_keyfile: {reason}"
    assert refusal(**files, ssl_ca_certs=missing) == f"ssl_ca_certs: {reason}"
    assert refusal(**files, ssl_sni=f"two.test={missing}") == f"ssl_sni: {reason}"
    assert refusal(ssl_certfile=tmp_path) == f"ssl_certfile: cannot read {str(tmp_path)!r}: is a directory"


def test_a_file_with_something_else_in_it_is_named(pair: Pair, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_text("something else")
    certfile = pair.certfile

    assert refusal(ssl_certfile=other) == f"ssl_certfile: there is no certificate in PEM in {str(other)!r}"
    assert refusal(ssl_certfile=certfile, ssl_keyfile=other) == (
        f"ssl_keyfile: there is no private key in PEM in {str(other)!r}"
    )
    assert refusal(ssl_certfile=certfile) == (
        f"ssl_keyfile: there is no private key in PEM in {str(certfile)!r}; which file has it?"
    )
    assert refusal(**pair.settings, ssl_ca_certs=other) == f"ssl_ca_certs: no certificates in PEM in {str(other)!r}"


def test_a_certificate_that_is_damaged_is_named(pair: Pair) -> None:
    pair.certfile.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")

    assert refusal(**pair.settings).startswith(f"ssl_certfile: {str(pair.certfile)!r} or its key cannot be used: ")


@pytest.mark.parametrize("kind", ["RSA", "ECDSA"])
def test_a_key_of_another_certificate_is_refused(authority: Authority, kind: str) -> None:
    server = authority.pair(key_type=trustme.KeyType.RSA)
    other = authority.pair(name="other", key_type=trustme.KeyType[kind])

    assert refusal(ssl_certfile=server.certfile, ssl_keyfile=other.keyfile) == (
        f"ssl_keyfile: the key in {str(other.keyfile)!r} is not that of {str(server.certfile)!r}"
    )


def test_an_encrypted_key_needs_its_password(authority: Authority) -> None:
    pair = authority.pair(password=b"right")

    assert refusal(**pair.settings) == (
        f"ssl_keyfile_password: is missing, and the key in {str(pair.keyfile)!r} is encrypted"
    )
    for wrong in ("wrong", "x" * 2000):
        assert refusal(**pair.settings, ssl_keyfile_password=wrong) == (
            f"ssl_keyfile_password: does not decrypt the key in {str(pair.keyfile)!r}"
        )


@pytest.mark.parametrize("ciphers", ["SECRET", "a\0b", "ü"])
def test_ciphers_that_openssl_does_not_know_are_refused(pair: Pair, ciphers: str) -> None:
    assert refusal(**pair.settings, ssl_ciphers=ciphers) == f"ssl_ciphers: OpenSSL finds no cipher in {ciphers!r}"


async def test_a_path_that_cannot_be_one_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^ssl_certfile: expected the path of a file, but got 'a\\x00b'"):
        await serve(hello, port=0, lifespan="off", ssl_certfile="a\0b")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"ssl_keyfile": "k"}, "ssl_keyfile: is for TLS, which needs ssl_certfile"),
        ({"ssl_version": "1.3"}, "ssl_version: is for TLS, which needs ssl_certfile"),
        ({"ssl_sni": "a=b"}, "ssl_sni: is for TLS, which needs ssl_certfile"),
        ({"ssl_cert_reqs": "2"}, "ssl_cert_reqs: is for TLS, which needs ssl_certfile"),
        (
            {"ssl_certfile": "c", "ssl_cert_reqs": "optional"},
            "ssl_cert_reqs: optional needs ssl_ca_certs, to verify certificates with",
        ),
        (
            {"ssl_certfile": "c", "ssl_version": "1.2", "ssl_minimum_version": "1.3"},
            "ssl_version: 1.2 is older than ssl_minimum_version",
        ),
        ({"ssl_certfile": "c", "ssl_sni": "a=b"}, None),
    ],
)
def test_settings_that_need_each_other_are_refused_without(settings: dict[str, str], text: str | None) -> None:
    if text is None:
        Settings.of(settings)
    else:
        with pytest.raises(ConfigError) as caught:
            Settings.of(settings)
        assert str(caught.value) == text


def test_a_host_has_one_certificate() -> None:
    with pytest.raises(ConfigError, match=r"^ssl_sni: expected certificates .* each host once, but got"):
        Settings.of({"ssl_certfile": "c", "ssl_sni": ["A.test=b", "a.test=c"]})


async def test_a_context_of_ones_own_and_files_are_too_much(pair: Pair) -> None:
    with pytest.raises(ConfigError, match=r"^ssl_certfile: is no use beside an ssl_context"):
        await serve(hello, port=0, lifespan="off", ssl_context=server_context(Tls(**pair.settings)), **pair.settings)


async def test_authorities_that_verify_nobody_are_warned_of(
    authority: Authority, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(hello, **pair.settings, ssl_ca_certs=str(authority.file)) as run:
        assert (await (await connected(run, authority.client())).get()).status == 200
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "No client is asked for a certificate: ssl_ca_certs does nothing without ssl_cert_reqs."
    ]


def test_the_password_is_in_no_text_of_the_settings() -> None:
    settings = Settings.of({"ssl_certfile": "c", "ssl_keyfile_password": "secret"})
    assert "secret" not in f"{settings!r}"
    with pytest.raises(ConfigError) as caught:
        Tls(ssl_certfile="c", ssl_keyfile_password=b"secret")  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)
