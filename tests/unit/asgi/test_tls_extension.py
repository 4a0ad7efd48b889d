"""The `tls` extension: names as RFC 4514 writes them, and what an application may do with its copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asgiserve.asgi.scope import Mount, Peer, http_scope
from asgiserve.asgi.tls import TlsFacts, distinguished_name
from asgiserve.asgi.websocket import websocket_scope
from asgiserve.events import RequestHead

if TYPE_CHECKING:
    from asgiserve.asgi.tls import DistinguishedName

FACTS = TlsFacts(
    server_cert="server", client_cert_chain=("leaf", "above"), client_cert_name="CN=me", tls_version=772, cipher_suite=1
)
EXTENSION = {
    "server_cert": "server",
    "client_cert_chain": ["leaf", "above"],
    "client_cert_name": "CN=me",
    "client_cert_error": None,
    "tls_version": 772,
    "cipher_suite": 1,
}
HEAD = RequestHead("GET", b"/", b"", "1.0", [], 0, keep_alive=True, expects_continue=False, upgrade=b"")
PEER = Peer(None, None, "https", FACTS)


def scopes(peer: Peer) -> list[Any]:
    return [http_scope(HEAD, peer, Mount(), {}), websocket_scope(HEAD, peer, Mount(), {}, [])]


def test_scopes_of_a_connection_over_tls_have_the_extension() -> None:
    assert [scope["extensions"]["tls"] for scope in scopes(PEER)] == [EXTENSION, EXTENSION]


def test_a_connection_without_tls_has_no_tls_extension() -> None:
    assert ["tls" in scope["extensions"] for scope in scopes(Peer(None, None, "https"))] == [False, False]


def test_what_one_application_writes_into_the_extension_is_not_in_the_next() -> None:
    for scope in scopes(PEER):
        scope["extensions"]["tls"]["client_cert_chain"].append("x")
        scope["extensions"]["tls"]["tls_version"] = 0
    assert [scope["extensions"]["tls"] for scope in scopes(PEER)] == [EXTENSION, EXTENSION]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        # RFC 4514 4
        ((("UID", "jsmith"),), "UID=jsmith"),
        ((("userId", "jsmith"),), "UID=jsmith"),
        ((("commonName", 'James "Jim" Smith, III'),), 'CN=James \\"Jim\\" Smith\\, III'),
        ((("commonName", "Before\rAfter"),), "CN=Before\\0dAfter"),
        ((("1.3.6.1.4.1.1466.0", "\x48\x69"),), "1.3.6.1.4.1.1466.0=#0c024869"),
        ((("commonName", "Lučić"),), "CN=Lučić"),
        # 2.4
        ((("commonName", "#x"),), "CN=\\#x"),
        ((("commonName", "a#"),), "CN=a#"),
        ((("commonName", " x "),), "CN=\\ x\\ "),
        ((("commonName", " "),), "CN=\\ "),
        ((("commonName", "a b"),), "CN=a b"),
        ((("commonName", "a+b;c<d>e\\f=g"),), "CN=a\\+b\\;c\\<d\\>e\\\\f=g"),
        ((("commonName", "a\0b\x7f\n"),), "CN=a\\00b\\7f\\0a"),
        ((("commonName", ""),), "CN="),
        ((("emailAddress", "a@b.test"),), "emailAddress=a@b.test"),
        ((("x500UniqueIdentifier", b"\x02"),), "x500UniqueIdentifier=#03020002"),
    ],
)
def test_a_value_is_written_as_rfc_4514_says(name: tuple[tuple[str, str | bytes], ...], text: str) -> None:
    assert distinguished_name((name,)) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ((), ""),
        (
            ((("domainComponent", "net"),), (("domainComponent", "example"),), (("userId", "jsmith"),)),
            "UID=jsmith,DC=example,DC=net",
        ),
        (
            ((("countryName", "DE"),), (("organizationalUnitName", "Sales"), ("commonName", "J.  Smith"))),
            "OU=Sales+CN=J.  Smith,C=DE",
        ),
    ],
)
def test_the_most_special_name_comes_first(name: DistinguishedName, text: str) -> None:
    assert distinguished_name(name) == text


@pytest.mark.parametrize(("size", "length"), [(0x7F, "7f"), (0x80, "8180"), (0x100, "820100")])
def test_a_long_value_of_an_attribute_without_a_name_has_its_length_encoded(size: int, length: str) -> None:
    assert distinguished_name(((("1.2.3", "a" * size),),)) == f"1.2.3=#0c{length}{'61' * size}"
