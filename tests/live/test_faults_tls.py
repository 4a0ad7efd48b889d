"""Peers that break off or break the rules in the middle of a TLS handshake: they are cut, and nobody else notices.

Resets in a handshake are among the endings of `test_leaks.py`.
"""

from __future__ import annotations

import random
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.live.applications import report
from tests.live.endings import TlsClient, client_hello, read_to_the_end
from tests.live.raw import RawClient
from tests.unit.streams.conftest import CONTEXTS

if TYPE_CHECKING:
    from tests.live.conftest import LiveServers

pytestmark = pytest.mark.live

ALERT = 21
"""The type of the record that says what is wrong (RFC 8446 B.1)."""

GARBAGE = {
    "zeros": bytes(1000),
    "all bytes": bytes(range(256)) * 400,
    "noise": random.Random(1).randbytes(5000),
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "SSL 2": bytes.fromhex("802e010002001500000010"),
    "a record that is too long": b"\x16\x03\x01\xff\xff" + bytes(70_000),
    "an empty record": b"\x16\x03\x01\x00\x00" * 40,
    "data before the handshake": b"\x17\x03\x03\x00\x05hello",
    "an alert before the handshake": b"\x15\x03\x03\x00\x02\x02\x28",
    "a hello that is cut": b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00" * 2,
    "a hello with noise behind it": client_hello() + random.Random(2).randbytes(5000),
    "two hellos": client_hello() * 2,
}


@pytest.mark.parametrize("garbage", GARBAGE)
def test_whoever_breaks_the_rules_of_a_handshake_is_cut_and_the_next_client_is_served(
    live_server: LiveServers, garbage: str
) -> None:
    server = live_server(report, ssl_context=CONTEXTS.server)

    with RawClient(server.port) as rude:
        with suppress(OSError):  # it may be cut before it has said everything
            rude.send(GARBAGE[garbage])
            rude.socket.shutdown(socket.SHUT_WR)
        assert b"HTTP/1.1" not in read_to_the_end(rude)

    with TlsClient(server.port, CONTEXTS.client) as client:
        assert client.get().status == 200


def test_a_version_that_is_too_old_is_told_so(live_server: LiveServers) -> None:
    server = live_server(report, ssl_context=CONTEXTS.server)

    old = bytearray(client_hello())
    versions = old.index(b"\x00\x2b")  # supported_versions, and the list in it: TLS 1.0 and nothing else
    size = old[versions + 4]
    old[versions + 5 : versions + 5 + size] = b"\x03\x01" * (size // 2)
    with RawClient(server.port) as client:
        client.send(bytes(old))
        assert read_to_the_end(client)[0] == ALERT


def test_a_client_that_does_not_trust_the_certificate_harms_nobody(live_server: LiveServers) -> None:
    server = live_server(report, ssl_context=CONTEXTS.server)

    with RawClient(server.port) as client, pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(client.socket, server_hostname="localhost")

    with TlsClient(server.port, CONTEXTS.client) as client:
        assert client.get().status == 200
