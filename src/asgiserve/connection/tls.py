"""TLS at the beginning of a connection: a look at the first bytes, the handshake, and what it agreed on.

Certificates and contexts are made in `server/tls.py`, TLS itself is a stream (`streams/tls.py`). Called by
`opening.py`, before there is a driver.
"""

from __future__ import annotations

import ssl
import sys
from functools import cache
from typing import TYPE_CHECKING, Final, cast

from anyio.streams.tls import TLSAttribute

from asgiserve import logs
from asgiserve.asgi.tls import TlsFacts, distinguished_name
from asgiserve.connection.closing import close_after_drain
from asgiserve.protocols.http1 import begins_like_request, error_response
from asgiserve.streams import handshake

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asgiserve.asgi.scope import Peer
    from asgiserve.asgi.tls import DistinguishedName
    from asgiserve.connection.service import Service
    from asgiserve.streams import Stream

__all__ = ["ServerContext", "facts_of", "secure"]

_HINT: Final = b"This port speaks TLS, and the request came without it: use https://\n"


class ServerContext(ssl.SSLContext):
    """A context that knows its certificate. OpenSSL does, but tells no one."""

    certificate: str | None = None
    """In PEM, without its chain."""


async def secure(
    service: Service, stream: Stream, ssl_context: ssl.SSLContext, peer: Peer, received: bytes
) -> Stream | None:
    """TLS over the stream, of which these bytes have come; None if the peer spoke HTTP without TLS, which is answered.

    Raises like `handshake`, and EndOfStream; closing the stream is left to the caller.
    """
    while not received or (plain := begins_like_request(received)) is None:
        received += await stream.receive()
    if plain:
        await _refuse(service, stream, peer, head_only=received.startswith(b"HEAD "))
        return None
    return await handshake(stream, ssl_context, received=received)


async def _refuse(service: Service, stream: Stream, peer: Peer, *, head_only: bool) -> None:
    client = "" if peer.client is None else f"{peer.client[0]}:{peer.client[1]}"
    logs.log_refusal(client, 400, "plain HTTP on a port that speaks TLS")
    answer = error_response(400, service.default_fields, service.date(), head_only=head_only, text=_HINT)
    await stream.send(answer)
    await close_after_drain(stream)


# --- what was agreed on -----------------------------------------------------------------------

_VERSIONS: Final[Mapping[str | None, int]] = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}
"""Their numbers on the wire (RFC 8446 4.2.1)."""


def facts_of(stream: Stream) -> TlsFacts | None:
    """What applications are told of this TLS connection; None if the stream is none of our own."""
    tls = stream.extra(TLSAttribute.ssl_object, None)
    if not isinstance(tls, ssl.SSLObject):
        return None
    cipher = tls.cipher()
    chain = _client_chain(tls)
    return TlsFacts(
        server_cert=tls.context.certificate if isinstance(tls.context, ServerContext) else None,
        client_cert_chain=tuple(ssl.DER_cert_to_PEM_cert(one) for one in chain),
        client_cert_name=_client_name(tls) if chain else None,
        tls_version=_VERSIONS.get(tls.version()),
        cipher_suite=None if cipher is None else _cipher_suites().get(cipher[0]),
    )


def _client_chain(tls: ssl.SSLObject) -> list[bytes]:
    """The certificates that the client sent, its own first."""
    leaf = tls.getpeercert(binary_form=True)
    if leaf is None:
        return []  # Python 3.13 fails to give the chain of a client that sent none
    if sys.version_info >= (3, 13):
        return tls.get_unverified_chain()
    return [leaf]  # the rest has no public name before


def _client_name(tls: ssl.SSLObject) -> str | None:
    try:
        certificate = tls.getpeercert()
    except (ssl.SSLError, ValueError):
        return None  # it has passed the verification, but a value in it is no text
    # typeshed gives all of the certificate's fields one type.
    return None if not certificate else distinguished_name(cast("DistinguishedName", certificate["subject"]))


@cache
def _cipher_suites() -> Mapping[str, int]:
    """The numbers of all cipher suites that this OpenSSL has, by its names for them."""
    everything = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    everything.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    # The number that IANA has given is in the lower half of OpenSSL's.
    return {one["name"]: one["id"] & 0xFFFF for one in everything.get_ciphers()}
