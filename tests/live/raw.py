"""A client of one connection that sends exactly the bytes it is given, and can leave in every way."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import h11

from tests.live.servers import PATIENCE

if TYPE_CHECKING:
    from contextlib import ExitStack
    from types import TracebackType

__all__ = ["Answer", "RawClient", "connected"]


@dataclass
class Answer:
    """One response."""

    status: int
    headers: dict[str, str]
    body: bytes


class RawClient:
    """One TCP connection; a context manager that closes it."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def get(self, target: str = "/", *fields: str) -> Answer:
        """Send a GET and read its response."""
        self.send(request(target, *fields))
        return self.answer()

    def read(self) -> bytes:
        """Whatever comes next; b"" at the server's FIN."""
        return self.socket.recv(65536)

    def read_until(self, end: bytes) -> bytes:
        """All bytes up to and including `end`; what comes behind stays for the next call."""
        data, self._rest = self._rest, b""
        while end not in data:
            more = self.read()
            assert more, f"the server closed after {data!r}"
            data += more
        found, _, self._rest = data.partition(end)
        return found + end

    def read_all(self) -> bytes:
        """Every byte until the server closes."""
        data, self._rest = self._rest, b""
        while more := self.read():
            data += more
        return data

    def answer(self, method: str = "GET") -> Answer:
        """Read one response, as strictly as h11 does; what comes after it stays for the next call."""
        connection = h11.Connection(h11.CLIENT)
        connection.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        connection.send(h11.EndOfMessage())
        if self._rest:
            connection.receive_data(self._rest)
        answer = Answer(0, {}, b"")
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(self.read())
            elif isinstance(event, h11.Response):
                answer.status = event.status_code
                answer.headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
            elif isinstance(event, h11.Data):
                answer.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self._rest = connection.trailing_data[0]
                return answer
            else:
                assert isinstance(event, h11.InformationalResponse), event

    def reset(self) -> None:
        """Close with a RST: a linger time of zero throws away what is unsent and unread."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def request(target: str = "/", *fields: str, method: str = "GET") -> bytes:
    """The head of a request."""
    lines = [f"{method} {target} HTTP/1.1", "Host: test", *fields, "", ""]
    return "\r\n".join(lines).encode()


def connected(stack: ExitStack, port: int, count: int) -> list[RawClient]:
    """So many connections at once, closed with the stack."""
    return [stack.enter_context(RawClient(port)) for _ in range(count)]
