"""Every way in which a connection can end: one function each, from the client's first byte to its last.

Each takes what opens a connection, plain or with TLS, to a server of `leak_site.py`.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Final

from tests.live.raw import RawClient, request
from tests.live.websocket_raw import upgrade
from tests.support.websocket import TEXT, close_frame, frame

if TYPE_CHECKING:
    from collections.abc import Callable

    Connect = Callable[[], RawClient]
    Ending = Callable[[Connect], None]

__all__ = [
    "ABORTED",
    "ERRORS",
    "FINISHED",
    "HANDSHAKES",
    "TIMED_OUT",
    "UPGRADED",
    "TlsClient",
    "client_hello",
    "read_to_the_end",
    "slow_client_hello",
]


class TlsClient(RawClient):
    """A connection behind its handshake."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        super().__init__(port)
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")


def read_to_the_end(client: RawClient) -> bytes:
    """Whatever comes until the server has closed, in good order or not."""
    data = b""
    try:
        while more := client.read():
            data += more
    except (ConnectionError, ssl.SSLError):
        pass
    return data


# --- in good order ----------------------------------------------------------------------------


def answered(connect: Connect) -> None:
    with connect() as client:
        assert client.get("/", "Connection: close").body == b"hello"
        assert client.read_all() == b""


def kept_and_left(connect: Connect) -> None:
    with connect() as client:
        for _ in range(2):
            assert client.get("/").body == b"hello"


def uploaded(connect: Connect) -> None:
    with connect() as client:
        client.send(request("/read", "Content-Length: 70000", "Connection: close", method="POST") + bytes(70_000))
        assert client.answer("POST").body == b"read"
        assert client.read_all() == b""


def answered_before_its_body(connect: Connect) -> None:
    with connect() as client:
        client.send(request("/", "Content-Length: 70000", method="POST") + bytes(1000))
        assert client.answer("POST").body == b"hello"


def refused(connect: Connect) -> None:
    with connect() as client:
        client.send(b"SSH-2.0-OpenSSH_9.6\r\n")
        assert client.read_all().startswith(b"HTTP/1.1 400 ")


def lingering(connect: Connect) -> None:
    with connect() as client:
        assert client.get("/linger").body == b"done"
        assert client.get("/linger", "Connection: close").body == b"done"


FINISHED: Final = [answered, kept_and_left, uploaded, answered_before_its_body, refused, lingering]


# --- by a reset, in every phase ---------------------------------------------------------------


def reset_before_a_byte(connect: Connect) -> None:
    connect().reset()


def reset_before_it_is_accepted(connect: Connect) -> None:
    client = connect()
    client.send(request())
    client.reset()


def reset_in_a_head(connect: Connect) -> None:
    client = connect()
    client.send(request()[:20])
    client.reset()


def reset_between_requests(connect: Connect) -> None:
    client = connect()
    client.get("/")
    client.reset()


def reset_in_a_body(connect: Connect) -> None:
    client = connect()
    client.send(request() + request("/read", "Content-Length: 70000", method="POST") + bytes(1000))
    client.answer()  # the one before: the server is at the second one
    client.reset()


def reset_while_the_application_waits(connect: Connect) -> None:
    client = connect()
    client.send(request() + request("/wait"))
    client.answer()
    client.reset()


def reset_in_a_response(connect: Connect) -> None:
    client = connect()
    client.send(request("/stream"))
    client.read_until(b"\r\n\r\n")
    client.reset()


def reset_in_a_pipeline(connect: Connect) -> None:
    client = connect()
    client.send(request() * 20 + request("/stream"))
    client.answer()
    client.reset()


def reset_behind_a_lingering_application(connect: Connect) -> None:
    client = connect()
    client.get("/linger")
    client.reset()


ABORTED: Final = [
    reset_before_a_byte,
    reset_before_it_is_accepted,
    reset_in_a_head,
    reset_between_requests,
    reset_in_a_body,
    reset_while_the_application_waits,
    reset_in_a_response,
    reset_in_a_pipeline,
    reset_behind_a_lingering_application,
]


# --- as a WebSocket ---------------------------------------------------------------------------


def _opened(connect: Connect) -> RawClient:
    client = connect()
    client.send(upgrade())
    assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
    return client


def closed_by_the_client(connect: Connect) -> None:
    with _opened(connect) as client:
        client.send(frame(TEXT, b"hello"))
        assert client.read_until(b"hello") == b"\x81\x05hello"
        client.send(close_frame(1000))
        assert client.read_all() == b"\x88\x02\x03\xe8"


def left_without_a_close(connect: Connect) -> None:
    _opened(connect).socket.close()


def reset_in_a_websocket(connect: Connect) -> None:
    _opened(connect).reset()


def reset_in_a_frame(connect: Connect) -> None:
    client = _opened(connect)
    client.send(frame(TEXT, bytes(100))[:50])
    client.reset()


def reset_in_a_handshake(connect: Connect) -> None:
    client = connect()
    client.send(upgrade()[:40])
    client.reset()


UPGRADED: Final = [
    closed_by_the_client,
    left_without_a_close,
    reset_in_a_websocket,
    reset_in_a_frame,
    reset_in_a_handshake,
]


# --- by the application's fault ---------------------------------------------------------------


def failed(connect: Connect) -> None:
    with connect() as client:
        assert client.get("/fail").status == 500
        assert client.read_all() == b""


def closed_by_a_task(connect: Connect) -> None:
    with connect() as client:
        assert client.get("/closed").status == 500
        assert client.read_all() == b""


def left_open(connect: Connect) -> None:
    with connect() as client:
        client.send(request("/leave-open", "Connection: close"))
        assert read_to_the_end(client).endswith(b"open")


ERRORS: Final = [failed, closed_by_a_task, left_open]


# --- in a handshake of TLS: `connect` opens a plain connection --------------------------------


_TRUSTING_NOBODY: Final = ssl.create_default_context()


def client_hello() -> bytes:
    """The first bytes of a client that speaks TLS."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = _TRUSTING_NOBODY.wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def reset_in_a_client_hello(connect: Connect) -> None:
    client = connect()
    client.send(client_hello()[:100])
    client.reset()


def reset_behind_a_server_hello(connect: Connect) -> None:
    client = connect()
    client.send(client_hello())
    assert client.read()
    client.reset()


def ended_in_a_client_hello(connect: Connect) -> None:
    with connect() as client:
        client.send(client_hello()[:100])
        client.socket.shutdown(socket.SHUT_WR)
        read_to_the_end(client)


def certificate_not_trusted(connect: Connect) -> None:
    """The client refuses: its alert comes in the middle of the handshake."""
    with connect() as client:
        try:
            _TRUSTING_NOBODY.wrap_socket(client.socket, server_hostname="localhost")
        except ssl.SSLCertVerificationError:
            return
        raise AssertionError("an unknown authority was trusted")


def no_tls_at_all(connect: Connect) -> None:
    with connect() as client:
        client.send(b"\x00" * 1000)
        read_to_the_end(client)


def http_without_tls(connect: Connect) -> None:
    with connect() as client:
        client.send(request())
        assert client.read_all().startswith(b"HTTP/1.1 400 ")


HANDSHAKES: Final = [
    reset_before_a_byte,
    reset_in_a_client_hello,
    reset_behind_a_server_hello,
    ended_in_a_client_hello,
    certificate_not_trusted,
    no_tls_at_all,
    http_without_tls,
]


# --- by a timeout: what makes a client wait for it; the server ends it -------------------------


def idle(client: RawClient) -> None:
    pass


def idle_after_a_request(client: RawClient) -> None:
    client.get("/")


def slow_head(client: RawClient) -> None:
    client.send(request()[:20])


def slow_body(client: RawClient) -> None:
    client.send(request("/read", "Content-Length: 1000", method="POST") + bytes(10))


def slow_reader(client: RawClient) -> None:
    client.send(request("/whole"))


def no_answer_to_a_close(client: RawClient) -> None:
    client.send(upgrade())
    client.read_until(b"\r\n\r\n")
    client.send(frame(TEXT, b"\xff"))  # no UTF-8: the server closes


def slow_client_hello(client: RawClient) -> None:
    """To be timed out by a server with TLS."""
    client.send(b"\x16\x03\x01")


TIMED_OUT: Final = [idle, idle_after_a_request, slow_head, slow_body, slow_reader, no_answer_to_a_close]
