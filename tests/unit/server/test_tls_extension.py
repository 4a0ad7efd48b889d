"""ASGI's `tls` extension through the whole server: what an application is told of the connection it serves."""

from __future__ import annotations

import ssl
import sys
from typing import TYPE_CHECKING, Any

import pytest
from anyio.streams.tls import TLSAttribute
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from asgiserve.config import Tls
from asgiserve.server.tls import server_context
from tests.support.certificates import Authority, self_signed
from tests.support.websocket import WebSocketClient
from tests.unit.connection.applications import errors_in, reply
from tests.unit.server.running import running
from tests.unit.server.test_tls import secured
from tests.unit.streams.conftest import CONTEXTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import trustme

    from asgiserve.types import Receive, Scope, Send
    from tests.support.certificates import Pair
    from tests.unit.server.running import Run

pytestmark = pytest.mark.anyio


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def pair(authority: Authority) -> Pair:
    return authority.pair("localhost")


class Listening:
    """An application that keeps what it is told of TLS."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.told.append(scope["extensions"].get("tls"))
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close"})
        else:
            await reply(send)


async def told(run: Run, app: Listening, context: ssl.SSLContext, host: str = "localhost") -> Any:
    """What the application is told of a request of this client."""
    client = await secured(run.connect().stream, context, host)
    assert (await client.get()).status == 200
    return app.told.pop()


def verifying(authority: Authority, reqs: str = "optional") -> dict[str, str]:
    return {"ssl_cert_reqs": reqs, "ssl_ca_certs": str(authority.file)}


async def test_an_application_is_told_of_the_connection_that_its_request_came_over(
    authority: Authority, pair: Pair
) -> None:
    app = Listening()
    async with running(app, **pair.settings) as run:
        extension = await told(run, app, authority.client())
    suite = extension.pop("cipher_suite")
    assert suite in {0x1301, 0x1302, 0x1303}
    assert extension == {
        "server_cert": pair.certificate,
        "client_cert_chain": [],
        "client_cert_name": None,
        "client_cert_error": None,
        "tls_version": 0x0304,
    }


@pytest.mark.parametrize(
    ("version", "cipher", "number"),
    [
        ("1.2", "ECDHE-ECDSA-AES128-GCM-SHA256", (0x0303, 0xC02B)),
        ("1.2", "ECDHE-ECDSA-CHACHA20-POLY1305", (0x0303, 0xCCA9)),
        ("1.3", None, (0x0304, None)),
    ],
)
async def test_version_and_cipher_suite_have_the_numbers_that_they_have_on_the_wire(
    authority: Authority, pair: Pair, version: str, cipher: str | None, number: tuple[int, int | None]
) -> None:
    names = {"TLS_AES_128_GCM_SHA256": 0x1301, "TLS_AES_256_GCM_SHA384": 0x1302, "TLS_CHACHA20_POLY1305_SHA256": 0x1303}
    app = Listening()
    async with running(app, **pair.settings, ssl_version=version, ssl_ciphers=cipher) as run:
        client = await secured(run.connect().stream, authority.client())
        assert (await client.get()).status == 200
        suite = number[1] or names[client.stream.extra(TLSAttribute.cipher)[0]]
    assert (app.told[0]["tls_version"], app.told[0]["cipher_suite"]) == (number[0], suite)


async def test_a_websocket_is_told_as_well(authority: Authority, pair: Pair) -> None:
    app = Listening()
    async with running(app, **pair.settings) as run:
        client = WebSocketClient((await secured(run.connect().stream, authority.client())).stream)
        await client.open()
        assert await client.closed_with() == (1000, "")
    assert app.told[0]["server_cert"] == pair.certificate


async def test_the_server_certificate_is_that_of_the_host_that_was_asked_for(authority: Authority, pair: Pair) -> None:
    other = authority.pair("two.test", name="two")
    app = Listening()
    async with running(app, **pair.settings, ssl_sni=[other.sni("two.test")]) as run:
        extension = await told(run, app, authority.client(), "two.test")
    assert extension["server_cert"] == other.certificate


async def test_of_a_context_of_ones_own_the_server_certificate_is_not_known() -> None:
    app = Listening()
    async with running(app, ssl_context=CONTEXTS.server) as run:
        extension = await told(run, app, CONTEXTS.client)
    assert (extension["server_cert"], extension["tls_version"]) == (None, 0x0304)


def pem(certificate: trustme.LeafCert, index: int = 0) -> str:
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[index].bytes().decode()))


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_a_client_is_told_by_its_certificate_and_its_name(authority: Authority, pair: Pair, version: str) -> None:
    own = authority.issue("me@x.test", common_name="Me, myself", organization_name="O", organization_unit_name="U")
    app = Listening()
    async with running(app, **pair.settings, **verifying(authority, "required"), ssl_version=version) as run:
        extension = await told(run, app, authority.client(own))
    assert extension["client_cert_chain"][0] == pem(own)
    assert extension["client_cert_name"] == "CN=Me\\, myself,OU=U,O=O"
    assert extension["client_cert_error"] is None


_BITS: Any = x509.NameAttribute(NameOID.X500_UNIQUE_IDENTIFIER, b"\0\x05", _type=_ASN1Type.BitString)


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ([], ""),
        ([_BITS], "x500UniqueIdentifier=#03020005"),
        ([x509.NameAttribute(NameOID.COMMON_NAME, "a\0b,c")], "CN=a\\00b\\,c"),
        ([x509.NameAttribute(x509.ObjectIdentifier("1.2.3.4"), "hi")], "1.2.3.4=#0c026869"),
        ([x509.NameAttribute(NameOID.EMAIL_ADDRESS, "me@x.test")], "emailAddress=me@x.test"),
    ],
)
async def test_whatever_a_certificate_is_called_its_client_is_served(
    authority: Authority, pair: Pair, tmp_path: Path, subject: list[Any], name: str
) -> None:
    own = self_signed(tmp_path, x509.Name(subject))
    context = authority.client()
    context.load_cert_chain(own.certfile, own.keyfile)
    app = Listening()
    async with running(app, **pair.settings, ssl_cert_reqs="required", ssl_ca_certs=own.certfile) as run:
        extension = await told(run, app, context)
    assert (extension["client_cert_chain"], extension["client_cert_name"]) == ([own.certificate], name)


async def test_a_name_that_is_no_text_is_none(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    """Nobody verifies the signature of an authority's own certificate, so this one may be falsified here.

    Its name is a sequence of something then."""
    own = self_signed(tmp_path, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "no text")]))
    der = ssl.PEM_cert_to_DER_cert(own.certfile.read_text()).replace(b"\x0c\x07no text", b"\x30\x07no text")
    own.certfile.write_text(ssl.DER_cert_to_PEM_cert(der))
    context = authority.client()
    context.load_cert_chain(own.certfile, own.keyfile)
    app = Listening()
    async with running(app, **pair.settings, ssl_cert_reqs="required", ssl_ca_certs=own.certfile) as run:
        extension = await told(run, app, context)
    assert (extension["client_cert_chain"], extension["client_cert_name"]) == ([own.certificate], None)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="has no public name before Python 3.13")
async def test_from_python_3_13_on_the_chain_is_all_that_the_client_sent(authority: Authority, pair: Pair) -> None:
    own = authority.below().issue_cert("me@x.test")
    app = Listening()
    async with running(app, **pair.settings, **verifying(authority)) as run:
        extension = await told(run, app, authority.client(own))
    assert extension["client_cert_chain"] == [pem(own), pem(own, 1)]


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="is the whole chain from Python 3.13 on")
async def test_before_python_3_13_the_chain_is_the_client_certificate_alone(authority: Authority, pair: Pair) -> None:
    own = authority.below().issue_cert("me@x.test")
    app = Listening()
    async with running(app, **pair.settings, **verifying(authority)) as run:
        extension = await told(run, app, authority.client(own))
    assert extension["client_cert_chain"] == [pem(own)]


async def test_a_client_may_do_without_an_optional_certificate(authority: Authority, pair: Pair) -> None:
    app = Listening()
    async with running(app, **pair.settings, **verifying(authority)) as run:
        extension = await told(run, app, authority.client())
    assert (extension["client_cert_chain"], extension["client_cert_name"]) == ([], None)


def stranger(authority: Authority, tmp_path: Path) -> Any:
    """A client that trusts the server, with a certificate of another authority."""
    return authority.client(Authority(tmp_path, "another").issue("me@x.test"))


def nameless(authority: Authority, _: Path) -> Any:
    return authority.client()


@pytest.mark.parametrize(
    ("reqs", "client", "alert"),
    [
        ("required", nameless, "CERTIFICATE_REQUIRED"),
        ("required", stranger, "UNKNOWN_CA"),
        ("optional", stranger, "UNKNOWN_CA"),
    ],
)
async def test_a_client_that_is_not_verified_reaches_no_application(
    authority: Authority,
    pair: Pair,
    tmp_path: Path,
    reqs: str,
    client: Callable[[Authority, Path], Any],
    alert: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = Listening()
    async with running(app, **pair.settings, **verifying(authority, reqs)) as run:
        with pytest.raises(ssl.SSLError, match=alert):
            await told(run, app, client(authority, tmp_path))
        own = authority.issue("me@x.test")
        assert (await told(run, app, authority.client(own)))["client_cert_chain"][0] == pem(own)
    assert app.told == []
    assert errors_in(caplog) == []


def shaken(client: ssl.SSLContext, server: ssl.SSLContext, session: ssl.SSLSession | None) -> Any:
    """Both ends of a connection that has carried a byte to the client, and with it the session."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(down, up, server_hostname="localhost", session=session),
        server.wrap_bio(up, down, server_side=True),
    )
    waiting = list(ends)
    while waiting:
        end = waiting.pop(0)
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(end)
    ends[1].write(b"x")
    assert ends[0].read() == b"x"
    return ends


def test_a_client_that_resumes_its_session_is_still_told(authority: Authority, pair: Pair) -> None:
    """Of a session that is resumed no certificate is sent: it is the session's (RFC 8446 2.2)."""
    own = authority.issue("me@x.test", common_name="Me")
    context = authority.client(own)
    server = server_context(Tls(**pair.settings, **verifying(authority, "required")))
    first = shaken(context, server, None)
    again = shaken(context, server, first[0].session)
    assert again[0].session_reused
    assert again[1].getpeercert(True) == first[1].getpeercert(True) is not None
